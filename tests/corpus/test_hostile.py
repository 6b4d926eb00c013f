"""Small versions of the inputs of benchmarks/corpus/hostile.py: each ends as counted drops, and good neighbours stay."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.corpus.hostile import CASES, LIMIT_MB, run_stage, write_run
from corpus import judge
from corpus.__main__ import main
from corpus.dedup.settings import DedupSettings
from corpus.filters.rules import load_preset
from corpus.readers import RawDocument, Shard, SourceSettings
from corpus.storage.tables import GROUP_BYTES
from pipeline.artifact import open_sealed
from tests.corpus.test_stage import decisions

# Case -> documents that stay, reasons of the drops that the input was made for.
EXPECTED: dict[str, tuple[int, set[str]]] = {
    "huge_line": (2, {"too_large"}),
    "huge_html": (1, {"too_large"}),
    "huge_cell": (2, {"too_large"}),
    "bomb": (2, {"too_large"}),
    "lies": (3, {"damaged_record", "truncated_record", "exact"}),
    "deep": (1, {"unparsable"}),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_ends_as_counted_drops(name: str, tmp_path: Path, ray_session: None) -> None:
    (tmp_path / name).mkdir()
    reader = CASES[name](tmp_path / name, 0.001)
    run = write_run(tmp_path, name, reader)
    main(["--run", str(run), "--artifacts", str(tmp_path / "artifacts")])
    root = tmp_path / "artifacts" / "corpus" / name
    stats = open_sealed(root).stats["sources"][name]
    kept, reasons = EXPECTED[name]
    assert stats["kept"] == kept and stats["dropped"].keys() == reasons
    assert stats["in"] == kept + sum(stats["dropped"].values()) == len(decisions(root))


def test_memory_is_watched_and_bounded(tmp_path: Path) -> None:
    (tmp_path / "huge_line").mkdir()
    got = run_stage(
        write_run(tmp_path, "huge_line", CASES["huge_line"](tmp_path / "huge_line", 0.1)), "huge_line", tmp_path / "artifacts"
    )
    assert 50 < got.worker_mb < LIMIT_MB // 2 and got.stats["dropped"] == {"too_large": 1}


def records(sizes: list[int]) -> list[RawDocument]:
    return [RawDocument("s", f"https://a.example/{i}", b"x" * n, "text", text="あ" * (n // 3)) for i, n in enumerate(sizes)]


def task(tmp_path: Path) -> judge.JudgeTask:
    source = SourceSettings("s", "jsonl", "CC0-1.0", "made", str(tmp_path))
    return judge.JudgeTask(Shard("s-00000", source, (), str(tmp_path)), load_preset("minamoto"), DedupSettings(), tmp_path)


def test_batches_are_bounded_by_bytes_and_by_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [30, 50, 20, 200, 10, 10, 10, 10, 10]
    monkeypatch.setattr(judge, "read_shard", lambda _: iter(records(sizes)))
    monkeypatch.setattr(judge, "BATCH_BYTES", 100)
    monkeypatch.setattr(judge, "BATCH_RECORDS", 4)
    seen: list[list[int]] = []
    batches: Any = judge._batches(task(tmp_path).shard, judge.Phases())
    seen += [[len(record.raw) for record in batch] for batch in batches]
    assert seen == [[30, 50, 20], [200], [10, 10, 10, 10], [10]]


def test_a_text_longer_than_any_step_can_hold_is_a_drop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "read_shard", lambda _: iter(records([30, 3000, 30])))
    monkeypatch.setattr(judge, "MAX_CHARACTERS", 900)
    got = judge.judge_shard(task(tmp_path))
    assert got["in"] == 3 and got["dropped"]["too_large"] == 1


def test_row_groups_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from corpus.storage import tables

    assert GROUP_BYTES <= 64 << 20
    monkeypatch.setattr(tables, "GROUP_BYTES", 1000)
    with tables.TableWriter(tmp_path / "t.parquet", pa.schema([("a", pa.string()), ("b", pa.int64())]), 4) as writer:
        writer.add({"a": ["x"] * 9})
        writer.add({"a": ["y" * 2000, "z"], "b": [1, 2]})
    found = pq.ParquetFile(tmp_path / "t.parquet")
    assert [found.metadata.row_group(i).num_rows for i in range(found.num_row_groups)] == [4, 4, 3]
    assert found.read().to_pydict() == {"a": ["x"] * 9 + ["y" * 2000, "z"], "b": [None] * 9 + [1, 2]}
