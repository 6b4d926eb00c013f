"""What is added to an index and removed from it: the same answers as an index made of the right documents from the start."""

import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.artifact import begin_artifact, open_sealed
from pipeline.errors import BadInput, CorruptArtifact, MissingInput
from pipeline.runfile import RunFile
from search.index import add, remove
from search.searcher import Searcher
from search.shard.catalog import catalog_path, open_catalog
from tests.search.helpers.world import World, new_row
from tests.search.test_searcher import QUERIES, all_hits, occurrences

NEW = 12


@pytest.fixture
def run(world: World, tmp_path: Path) -> RunFile:
    """The world's artifacts, to be changed, and a corpus of another run with some of its documents and some new ones."""
    shutil.copytree(world.run.artifacts, tmp_path / "artifacts")
    made = replace(world.run, artifacts=tmp_path / "artifacts")
    with begin_artifact(replace(made, name="more"), "corpus", None, {}, recipe=1) as artifact:
        (artifact.data / "documents").mkdir()
        rows = [*world.documents["a"][:5], *new_rows(), world.held_out[0]]
        pq.write_table(pa.Table.from_pylist(rows), artifact.data / "documents" / "c-00000.parquet")
        artifact.seal({})
    return made


def new_rows() -> list[dict[str, str]]:
    return [new_row("c", number) for number in range(NEW)]


def check(searcher: Searcher, rows: list[dict[str, str]]) -> None:
    """Counts, spreads and hits are those of the rows."""
    assert searcher.texts.searched_bytes == sum(len(row["text"].encode()) for row in rows)
    for query in (*QUERIES, "鱻麤龘"):
        folded = query.replace("か\u3099", "が")
        counts = [len(occurrences(row["text"], folded)) for row in rows]
        spread = searcher.texts.spread(folded)
        assert searcher.count(query) == spread.occurrences == sum(counts)
        assert spread.documents == sum(count > 0 for count in counts)
        if sum(counts):
            assert {hit.doc_id for hit in all_hits(searcher, query, "ngram")} == {
                row["doc_id"] for row, count in zip(rows, counts, strict=True) if count
            }
        assert {hit.doc_id for hit in all_hits(searcher, query, "vector")} <= {row["doc_id"] for row in rows}


def test_what_is_added_is_found_beside_the_rest(world: World, run: RunFile) -> None:
    searcher = Searcher.open(run)
    before = searcher.texts.digest
    catalog = add.add_corpus(run, "more")
    rows = [*world.rows(), *new_rows(), world.held_out[0]]
    check(searcher, rows)  # the searcher that was open before sees it too
    assert (catalog.added[0].stats["known"], catalog.added[0].stats["documents"]) == (5, NEW + 1)
    assert searcher.texts.digest == catalog.digest != before
    hits = [hit for hit in all_hits(searcher, "源氏物語", "ngram") if hit.source == "c"]
    assert hits and all(hit.iterations == () and "未読" in hit.label() for hit in hits)
    again = add.add_corpus(run, "more")
    assert (again.digest, len(again.added)) == (catalog.digest, 1)
    with pytest.raises(MissingInput, match="corpus"):
        add.add_corpus(run, "nothing")


def test_nothing_new_is_said_and_changes_nothing(world: World, run: RunFile) -> None:
    with begin_artifact(replace(run, name="same"), "corpus", None, {}, recipe=1) as artifact:
        (artifact.data / "documents").mkdir()
        pq.write_table(pa.Table.from_pylist(world.documents["a"][:3]), artifact.data / "documents" / "a-00000.parquet")
        artifact.seal({})
    with pytest.raises(BadInput, match="has all of its documents already"):
        add.add_corpus(run, "same")
    assert not catalog_path(run.root("index")).exists()


def test_what_is_removed_is_found_no_more(world: World, run: RunFile) -> None:
    searcher = Searcher.open(run)
    rows = world.rows()
    gone = rows[3]
    removal = remove.remove_documents(run, {"doc": gone["doc_id"]}, "asked by its author")
    check(searcher, [row for row in rows if row is not gone])
    assert (removal.documents, removal.bytes) == (1, len(gone["text"].encode()))
    assert (removal.before, removal.after) == (open_sealed(run.root("index")).digest, searcher.texts.digest)
    assert open_catalog(open_sealed(run.root("index"))).removed == {gone["doc_id"]: "asked by its author"}
    remove.remove_documents(run, {"source": "b"}, "")
    check(searcher, [row for row in rows if row is not gone and row["source"] != "b"])
    address = next(row["url"] for row in rows if row["source"] == "a" and row is not gone)
    removal = remove.remove_documents(run, {"url": address, "host": "example.jp"}, "")
    assert removal.documents == 1
    check(searcher, [row for row in rows if row is not gone and row["source"] != "b" and row["url"] != address])


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ({}, "give one of --doc"),
        ({"doc": "zz"}, "not a doc_id"),
        ({"doc": "0" * 32}, "no document with"),
        ({"host": "example.com"}, "no document with"),
    ],
)
def test_a_removal_that_fits_nothing_is_refused(run: RunFile, wanted: dict[str, str], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        remove.remove_documents(run, wanted, "")
    assert not catalog_path(run.root("index")).exists()


def test_commands_say_what_they_did(run: RunFile, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["--run", str(run.path), "--artifacts", str(run.artifacts)]
    add.main([*line, "--from", "more", "--dry-run"])
    remove.main([*line, "--source", "c", "--dry-run"])
    assert not catalog_path(run.root("index")).exists()
    add.main([*line, "--from", "more"])
    assert f"索引への追加: {NEW + 1} 文書" in capsys.readouterr().out
    remove.main([*line, "--source", "c", "--json"])
    assert json.loads(capsys.readouterr().out)["documents"] == NEW
    remove.main([*line, "--source", "a", "--why", "x"])
    assert "索引からの除外: " in capsys.readouterr().out


def test_a_search_never_sees_half_of_an_addition(world: World, run: RunFile) -> None:
    """Threads that search while shards are added and documents removed see one of the states between, whole."""
    searcher = Searcher.open(run)
    states = {searcher.texts.digest: searcher.count("源氏物語")}
    seen: list[tuple[str, int, int]] = []
    failures: list[BaseException] = []
    done = threading.Event()

    def ask() -> None:
        try:
            while not done.is_set():
                page = searcher.search("源氏物語", "ngram", limit=1000)
                seen.append((page.index, page.occurrences, sum(len(hit.spans) for hit in page.hits)))
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test has failed
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for digest in changes(run):
        states[digest] = Searcher.open(run).count("源氏物語")
    done.set()
    for thread in threads:
        thread.join()
    assert not failures and {digest for digest, _, _ in seen} <= states.keys()
    for digest, occurred, _ in seen:
        assert occurred == states[digest]


def changes(run: RunFile) -> Iterator[str]:
    yield add.add_corpus(run, "more").digest
    for number in range(NEW):
        yield remove.remove_documents(run, {"doc": new_row("c", number)["doc_id"]}, "").after


def test_a_damaged_or_foreign_catalog_is_refused_by_name(world: World, run: RunFile) -> None:
    addition = add.add_corpus(run, "more").added[0]
    path = catalog_path(run.root("index"))
    whole = path.read_text("utf-8")
    for text, why in (
        (whole[:40], "not a catalog"),
        ("[]", "not a catalog"),
        (whole.replace('"format":1', '"format":9').replace('"format": 1', '"format": 9'), "format 9"),
        (whole.replace(open_sealed(run.root("index")).digest, "sha256:" + "0" * 64), "of index 00000000"),
        (whole.replace(addition.digest, "sha256:" + "0" * 64), "the catalog names 00000000"),
    ):
        assert text != whole
        path.write_text(text, "utf-8")
        with pytest.raises(CorruptArtifact, match=why):
            Searcher.open(run)
    path.write_text(whole, "utf-8")
    Searcher.open(run)
    damaged = next(addition.data.rglob("suffixes.u32"))
    damaged.write_bytes(damaged.read_bytes()[:-4])
    with pytest.raises(CorruptArtifact, match=r"suffixes\.u32"):
        Searcher.open(run)
    shutil.rmtree(addition.root)
    with pytest.raises(MissingInput, match=addition.root.parent.name):
        Searcher.open(run)
