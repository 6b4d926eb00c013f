"""Documents taken out of a base: their text and keys gone, the account balanced, the other files the same files."""

import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.dedup import signatures
from corpus.dedup.base_corpus import BaseCorpus
from corpus.increment import removals
from corpus.storage.references import BASE, split_base
from pipeline.artifact import begin_artifact
from pipeline.errors import BadInput, MissingInput
from tests.corpus.dedup.test_base_corpus import SETTINGS, doc_id, write_base
from tests.helpers import run_file

PAGES = [(f"https://{host}/{number}", f"{host}の{number}番目の頁。" * (number + 1)) for host in "abc" for number in range(4)]
SHARDS = (PAGES[:5], PAGES[5:8], PAGES[8:])
FELL = ("https://a/copy", "")  # a copy of the first page, in the last shard
DECISIONS = pa.schema(
    [(name, pa.string()) for name in ("doc_id", "url", "verdict", "stage", "rule")] + [("kana", pa.float64())]
).with_metadata({"minamoto.rules": json.dumps({"preset": "p"})})


@pytest.fixture
def base(tmp_path: Path) -> BaseCorpus:
    """Twelve documents in three shards; the last has a row for a copy of the first document."""
    manifest = write_base(tmp_path / "base", SHARDS)
    for index, pages in enumerate(SHARDS):
        rows = [{"doc_id": doc_id(page), "url": page[0], "verdict": "kept", "kana": 0.5} for page in pages]
        copies = []
        if index == 2:
            rows.append({"doc_id": doc_id(FELL), "url": FELL[0], "verdict": "dropped", "stage": "dedup", "rule": "exact"})
            copies.append({"doc_id": doc_id(FELL), "survivor": doc_id(PAGES[0]), "kind": "exact", "similarity": 1.0})
        for folder, table in (
            ("decisions", pa.Table.from_pylist(rows, DECISIONS)),
            ("clusters", pa.Table.from_pylist(copies, _clusters())),
        ):
            (manifest.data / folder).mkdir(exist_ok=True)
            pq.write_table(table, manifest.data / folder / f"s-{index:05}.parquet", row_group_size=3)
    return BaseCorpus.open(manifest, SETTINGS)


def _clusters() -> pa.Schema:
    return pa.schema([("doc_id", pa.string()), ("survivor", pa.string()), ("kind", pa.string()), ("similarity", pa.float64())])


def import_base(tmp_path: Path, base: BaseCorpus, *entries: str) -> tuple[Path, dict[str, dict[str, int]]]:
    run = run_file(tmp_path, "")
    with begin_artifact(run, "corpus", SETTINGS, {}, recipe=1) as artifact:
        return artifact.data, removals.import_base(artifact, base, removals.read_selection(entries))


def files(data: Path) -> list[Path]:
    return sorted(path.relative_to(data) for path in data.rglob("*") if path.is_file())


def test_without_a_removal_every_file_is_a_link(tmp_path: Path, base: BaseCorpus, ray_session: None) -> None:
    data, removed = import_base(tmp_path, base)
    assert removed == {"s": {"removed": 0, "characters": 0, "bytes": 0}}
    assert files(data) == files(base.data)
    assert all((data / path).samefile(base.data / path) for path in files(data))


def test_where_nothing_can_be_linked_it_is_copied(tmp_path: Path, base: BaseCorpus, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    old = base.data / "documents" / "s-00000.parquet"
    removals.link(old, tmp_path / "new" / "s.parquet")
    assert not old.samefile(tmp_path / "new" / "s.parquet")
    assert old.read_bytes() == (tmp_path / "new" / "s.parquet").read_bytes()


def test_removed_documents_are_gone_and_accounted_for(tmp_path: Path, base: BaseCorpus, ray_session: None) -> None:
    (tmp_path / "list.txt").write_text(f"# asked for on Monday\n\nurl:{PAGES[9][0]}\n", "utf-8")
    entries = (f"doc:{doc_id(PAGES[0])}", "host:*.B", f"url:{FELL[0]}", f"file:{tmp_path / 'list.txt'}")
    gone = [PAGES[0], *PAGES[4:8], PAGES[9]]
    data, removed = import_base(tmp_path, base, *entries)
    characters, size = (sum(map(measure, (text for _, text in gone))) for measure in (len, lambda text: len(text.encode())))
    assert removed == {"s": {"removed": 6, "characters": characters, "bytes": size}}
    assert files(data) == files(base.data)

    left = [row for path in sorted((data / "documents").iterdir()) for row in pq.read_table(path).to_pylist()]
    assert [(row["url"], row["text"]) for row in left] == [page for page in PAGES if page not in gone]
    grown = BaseCorpus(data, base.names)
    keys = signatures.compute_keys([("s", url) for url, _ in PAGES], [text for _, text in PAGES], SETTINGS)
    for kind in range(len(keys)):
        found, references = grown.lookup(kind, np.unique(keys[kind]))
        names = {(key, grown.text(reference)) for key, reference in zip(found.tolist(), references.tolist(), strict=True)}
        assert names == {(key, page[1]) for key, page in zip(keys[kind].tolist(), PAGES, strict=True) if page not in gone}
    some = np.array([BASE | 2 << 32 | 1], np.uint64)
    high, low = grown.ranks(some)[1][0].tolist()
    assert split_base(int(some[0])) == (2, 1) and f"{high:016x}{low:016x}" == doc_id(PAGES[10])

    for path in sorted((data / "decisions").iterdir()):
        rows, before = pq.read_table(path), pq.read_table(base.data / "decisions" / path.name)
        assert rows.schema.equals(before.schema, check_metadata=True)
        assert rows.drop_columns(["verdict", "stage", "rule"]).equals(before.drop_columns(["verdict", "stage", "rule"]))
        for row, was in zip(rows.to_pylist(), before.to_pylist(), strict=True):
            is_gone = row["doc_id"] in {doc_id(page) for page in gone}
            fate = ("dropped", "remove", "removed") if is_gone else (was["verdict"], was["stage"], was["rule"])
            assert (row["verdict"], row["stage"], row["rule"]) == fate
    assert pq.read_table(data / "clusters" / "s-00002.parquet").num_rows == 0  # its kept representative went
    untouched = Path("clusters") / "s-00000.parquet"
    assert (data / untouched).samefile(base.data / untouched)


def test_shards_that_hold_nothing_of_it_stay_the_same_files(tmp_path: Path, base: BaseCorpus, ray_session: None) -> None:
    data, _ = import_base(tmp_path, base, f"doc:{doc_id(PAGES[1])}")
    changed = {path.as_posix() for path in files(data) if not (data / path).samefile(base.data / path)}
    names = {f"keys/s-00000/{name}.npy" for name in ("keys", "owners", "ids", "sizes")}
    assert changed == names | {"documents/s-00000.parquet", "decisions/s-00000.parquet"}


def test_what_was_never_there_is_an_error(tmp_path: Path, base: BaseCorpus, ray_session: None) -> None:
    with pytest.raises(BadInput, match=r"2 of 3 entries choose no document .* first 'host:nowhere.example'"):
        import_base(tmp_path, base, "host:a", "host:nowhere.example", "url:https://a/")


def test_lists_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="no such file"):
        removals.read_selection([f"file:{tmp_path / 'none.txt'}"])
    (tmp_path / "list.txt").write_text("url:https://a/1\nhttps://a/2\n", "utf-8")
    with pytest.raises(BadInput, match=r"list.txt:2: 'https://a/2' is none of doc:"):
        removals.read_selection([f"file:{tmp_path / 'list.txt'}"])


@pytest.mark.parametrize(
    ("host", "entries"),
    [
        ("example.jp", {"host:example.jp", "host:*.example.jp"}),
        ("www.example.jp", {"host:*.example.jp"}),
        ("myexample.jp", set()),
        ("", set()),
    ],
)
def test_which_hosts_an_entry_means(host: str, entries: set[str]) -> None:
    chosen = removals.read_selection(["host:example.jp", "host:*.Example.jp"])
    assert chosen.of("00", f"https://{host}/", host) == entries
    assert removals.host_of(f"https://u@{host.upper()}:80/x" if host else "a/b.html") == host


def test_removed_documents_count_as_dropped() -> None:
    base = {"a": {"in": 5, "kept": 3, "dropped": {"near": 2}, "characters": 30, "bytes": 90}}
    after = removals.account(base, {"a": {"removed": 1, "characters": 10, "bytes": 30}})
    assert after == {"a": {"in": 5, "kept": 2, "dropped": {"near": 2, "removed": 1}, "characters": 20, "bytes": 60}}
    assert base["a"]["dropped"] == {"near": 2}
