"""Which artifacts contain a document: corpora by decisions, later stages by their inputs and their own tables."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.audit.holders import holders, main
from corpus.increment.removals import read_selection
from pipeline.errors import ConfigError, CorruptArtifact, MissingInput

ONE, TWO = "1" * 32, "2" * 32


def seal(root: Path, stage: str, run: str, **inputs: str) -> Path:
    """A manifest with this much of a sealed artifact; its digest is <stage>/<run>."""
    folder = root / stage / run
    (folder / "data").mkdir(parents=True)
    named = {name: f"sha256:{value}" for name, value in inputs.items()}
    (folder / "manifest.json").write_text(json.dumps({"digest": f"sha256:{stage}/{run}", "inputs": named}), "utf-8")
    return folder / "data"


def decide(data: Path, *rows: tuple[str, str, str | None]) -> None:
    """(doc_id, url, rule that dropped it)."""
    (data / "decisions").mkdir()
    table = [
        {"doc_id": doc_id, "source": "s", "url": url, "verdict": "dropped" if rule else "kept", "rule": rule}
        for doc_id, url, rule in rows
    ]
    schema = pa.schema([(name, pa.string()) for name in ("doc_id", "source", "url", "verdict", "rule")])
    pq.write_table(pa.Table.from_pylist(table, schema), data / "decisions" / "s-00000.parquet")


def pack(data: Path, *doc_ids: str) -> None:
    (data / "s").mkdir()
    pq.write_table(pa.table({"doc_id": list(doc_ids)}), data / "s" / "train.parquet")


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    """Run a: holds both documents, packs the first only; run b: dropped the first; run c: packs nothing of either."""
    decide(seal(tmp_path, "corpus", "a"), (ONE, "https://www.x.jp/1", None), (TWO, "https://y.jp/", None))
    decide(seal(tmp_path, "corpus", "b"), (ONE, "https://www.x.jp/1", "near"))
    pack(seal(tmp_path, "pack", "a", corpus="corpus/a", tokenizer="tokenizer/b"), ONE)
    pack(seal(tmp_path, "pack", "b", corpus="corpus/b", tokenizer="tokenizer/b"), ONE)
    seal(tmp_path, "tokenizer", "b", corpus="corpus/b")
    seal(tmp_path, "pretrain", "a", pack="pack/a", tokenizer="tokenizer/b")
    seal(tmp_path, "pretrain", "b", pack="pack/b", tokenizer="tokenizer/b")
    seal(tmp_path, "finetune", "a", pretrain="pretrain/a")
    index = seal(tmp_path, "index", "a", pretrain="pretrain/a", pack="pack/a", corpus="corpus/a") / "passages" / "00000"
    index.mkdir(parents=True)
    table = pa.table({"doc_id": [TWO, ONE]})
    with pa.OSFile(str(index / "documents.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    return tmp_path


def found(artifacts: Path, entry: str) -> dict[str, tuple[bool, tuple[str, ...]]]:
    return {f"{h.stage}/{h.run}": (h.certain, h.documents) for h in holders(artifacts, read_selection([entry]))}


@pytest.mark.parametrize("entry", [f"doc:{ONE}", "url:https://www.x.jp/1", "host:www.x.jp", "host:*.x.jp"])
def test_a_document_is_followed_to_everything_made_from_it(entry: str, artifacts: Path) -> None:
    assert found(artifacts, entry) == {
        "corpus/a": (True, (ONE,)),
        "corpus/b": (True, ()),  # came in there, and was dropped
        "pack/a": (True, (ONE,)),
        "pretrain/a": (False, ()),
        "finetune/a": (False, ()),
        "index/a": (True, (ONE,)),
    }


def test_what_was_not_packed_was_not_learned(artifacts: Path) -> None:
    assert found(artifacts, "host:y.jp") == {"corpus/a": (True, (TWO,)), "index/a": (True, (TWO,))}


def test_answers_for_people_and_programs(artifacts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--artifacts", str(artifacts), "--doc", ONE])
    out = capsys.readouterr().out
    assert "コーパス corpus/a" in out and "除外済み" in out and "含む可能性があります (pack から作成)" in out
    main(["--artifacts", str(artifacts), "--doc", ONE, "--json"])
    rows = {f"{row['stage']}/{row['run']}": row for row in json.loads(capsys.readouterr().out)}
    assert {name: row["holds"] for name, row in rows.items()} == {
        "corpus/a": "yes", "corpus/b": "no", "pack/a": "yes", "pretrain/a": "may", "finetune/a": "may", "index/a": "yes",
    }  # fmt: skip
    assert rows["corpus/b"]["dropped"] == [
        {"doc_id": ONE, "source": "s", "url": "https://www.x.jp/1", "verdict": "dropped", "rule": "near"}
    ]
    main(["--artifacts", str(artifacts), "--host", "z.jp"])
    assert "どの成果物にも入っていません" in capsys.readouterr().out


def test_what_a_user_can_mend(artifacts: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to look for"):
        main(["--artifacts", str(artifacts)])
    with pytest.raises(MissingInput, match="no sealed corpus"):
        main(["--artifacts", str(tmp_path / "nowhere"), "--doc", ONE])
    (artifacts / "pack" / "a" / "manifest.json").write_text("{}", "utf-8")
    with pytest.raises(CorruptArtifact, match="not a manifest"):
        main(["--artifacts", str(artifacts), "--doc", ONE])
