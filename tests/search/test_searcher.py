"""Hits against scans of the documents, their iterations against what each batch held."""

import shutil
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.artifact import open_sealed
from pipeline.errors import BadInput, ConfigError, CorruptArtifact, MissingInput, RecipeDrift
from search.bm25.rank import find_highlights
from search.hits import Hit, Page
from search.normalized.fold import fold_query
from search.searcher import Searcher
from tests.search.conftest import make_index
from tests.search.helpers.world import World, make_world

QUERIES = (
    "源氏物語", "紫式部の作者", "🙂", "👨‍👩‍👧", "a.*[b]", "か\u3099", "葛\U000e0100", "。", "第7章はaだけの文である。",
    "と言われる。とても長い", "ファイルを実行する。", "文である。\n次の行",
)  # fmt: skip


def every_page(searcher: Searcher, query: str, mode: str, limit: int = 3) -> Iterator[Page]:
    offset = 0
    while page := searcher.search(query, mode, offset=offset, limit=limit):  # type: ignore[arg-type]
        yield page
        if not page.hits:
            return
        offset += limit


def all_hits(searcher: Searcher, query: str, mode: str) -> list[Hit]:
    return [hit for page in every_page(searcher, query, mode) for hit in page.hits]


def occurrences(text: str, query: str) -> list[int]:
    return [i for i in range(len(text)) if text.startswith(query, i)]


def document(world: World, hit: Hit) -> dict[str, str]:
    (row,) = [row for row in world.rows() if row["doc_id"] == hit.doc_id]
    return row


def test_the_index_holds_what_training_read_and_nothing_else(world: World, searcher: Searcher) -> None:
    sealed = open_sealed(world.run.root("index"), verify_all=True)
    rows = world.rows()
    unread = sum(map(len, world.documents.values())) - len(rows)
    assert unread > 0, "the test needs documents that training has not reached"
    assert sealed.stats["documents"] == len(rows)
    assert sealed.stats["unread"] == unread + len(world.held_out)
    assert sealed.stats["bytes"] == searcher.texts.searched_bytes == sum(len(row["text"].encode()) for row in rows)
    assert sealed.stats["characters"] == sum(len(row["text"]) for row in rows)
    assert len(sealed.stats["shards"]) > 1
    assert sealed.inputs == {s: open_sealed(world.run.root(s)).digest for s in ("corpus", "tokenizer", "pack", "pretrain")}
    assert sealed.body["licences"] == [{"source": "a", "licence": "CC0", "attribution": "test"}]


@pytest.mark.parametrize("query", QUERIES)
def test_exact_hits_are_every_occurrence_in_corpus_order(world: World, searcher: Searcher, query: str) -> None:
    folded = unicodedata.normalize("NFC", query)
    truth = [(row["doc_id"], i) for row in world.rows() for i in occurrences(row["text"], folded)]
    assert truth, "the query must occur"
    hits = all_hits(searcher, query, "ngram")
    page = searcher.search(query, "ngram")
    assert (page.total, page.occurrences, searcher.count(query)) == (len(hits), len(truth), len(truth))
    assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
    found: list[tuple[str, int]] = []
    at: dict[str, int] = {}
    for hit in hits:
        row = document(world, hit)
        assert (hit.source, hit.url, hit.title) == (row["source"], row["url"], row["title"])
        start = row["text"].index(hit.text, at.get(hit.doc_id, 0))
        at[hit.doc_id] = start + 1
        marked = {start + i for begin, end in hit.spans for i in range(begin, end)}
        mine = [(hit.doc_id, i) for i in occurrences(row["text"], folded) if set(range(i, i + len(folded))) <= marked]
        found += [place for place in mine if place not in found]
        assert hit.iterations == brute(world, row, [(start + b, start + e) for b, e in hit.spans])
    assert found == truth


def brute(world: World, row: dict[str, str], spans: list[tuple[int, int]]) -> tuple[int, ...]:
    return tuple(sorted({i for begin, end in spans for i in world.iterations(row, begin, end)}))


def test_vector_hits_know_the_iterations_of_their_passage(world: World, searcher: Searcher) -> None:
    seen_unread = False
    for query in QUERIES:
        for hit in all_hits(searcher, query, "vector")[:40]:
            row = document(world, hit)
            places = occurrences(row["text"], hit.text)
            truths = [world.iterations(row, i, i + len(hit.text)) for i in places]
            assert hit.iterations in truths
            assert hit.total_iterations == world.total
            seen_unread |= hit.iterations == ()
            assert all(hit.text[b:e] in query or len(hit.text[b:e]) > 2 for b, e in hit.spans)
    assert seen_unread, "some document of the world was read in part only"


def test_vector_hits_are_the_nearest_of_all_passages(searcher: Searcher) -> None:
    texts = [
        (s, p, t)
        for s, shard in enumerate(searcher.texts.shards)
        for p, t in enumerate(shard.passage_texts(range(shard.passages)))
    ]
    vectors = searcher.embedder.embed([t for _, _, t in texts])
    for query in ("源氏物語の作者", "ファイルの保存", "🙂"):
        cosine = vectors @ searcher.embedder.embed_query(query)
        hits = searcher.search(query, "vector", limit=10).hits
        np.testing.assert_allclose([hit.score for hit in hits], np.sort(cosine)[::-1][:10], atol=2e-3)


def test_a_question_finds_passages_with_its_longest_rare_parts(world: World, searcher: Searcher) -> None:
    query = "第14章はaだけの文ですか、作者は誰？"
    assert searcher.count(query) == 0
    hits = all_hits(searcher, query, "ngram")
    assert "第14章はaだけの文で" in hits[0].text
    for hit in hits[:10]:
        assert hit.spans == find_highlights(query, hit.text) != ()
        assert all(hit.text[b:e] in query for b, e in hit.spans)
        row = document(world, hit)
        starts = occurrences(row["text"], hit.text)
        assert hit.iterations in [brute(world, row, [(s + b, s + e) for b, e in hit.spans]) for s in starts]
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert len({(hit.doc_id, hit.text) for hit in hits}) >= len(hits) * 0.9


@pytest.mark.parametrize(("shard_bytes", "shards"), [(1_000_000, 1), (12_000, 8)])
def test_the_number_of_shards_changes_no_answer(
    world: World, searcher: Searcher, tmp_path: Path, shard_bytes: int, shards: int
) -> None:
    artifacts = tmp_path / "artifacts"
    for stage in ("corpus", "tokenizer", "pack", "pretrain"):
        shutil.copytree(world.run.root(stage), artifacts / stage / world.run.name)
    other = replace(world, run=replace(world.run, artifacts=artifacts))
    make_index(other, "--set", f"index.shard_bytes={shard_bytes}", "--set", "index.normalized=true")
    one = Searcher.open(other.run)
    assert min(len(one.texts.shards), 8) == shards != len(searcher.texts.shards)
    for query in (*QUERIES, "源氏物語を読む人は何を思うのか", "保存の方法"):
        for mode in ("ngram", "vector"):
            ours, theirs = one.search(query, mode, limit=30), searcher.search(query, mode, limit=30)
            assert ours.hits == theirs.hits and (ours.total, ours.occurrences) == (theirs.total, theirs.occurrences)
    for query in ("ﾌｧｲﾙ", "Ａ.*[B]", "源氏物語の作者", "鱻麤龘"):
        check_normalized(world, one, query)
    with pytest.raises(BadInput, match="is empty after folding"):
        one.search("\ufe0f", "normalized")
    with pytest.raises(BadInput, match="normalized = true"):
        searcher.search("ﾌｧｲﾙ", "normalized")


def check_normalized(world: World, searcher: Searcher, query: str) -> None:
    """Hits are the passages with a stretch that folds to the folded query; these texts fold character by character."""
    rows = world.rows()
    counts = {row["doc_id"]: len(occurrences(fold_query(row["text"]), fold_query(query))) for row in rows}
    hits = all_hits(searcher, query, "normalized")
    page = searcher.search(query, "normalized")
    assert (page.occurrences, page.total) == (sum(counts.values()), len(hits))
    assert {hit.doc_id for hit in hits} == {doc_id for doc_id, count in counts.items() if count}
    for hit in hits:
        assert all(fold_query(query) in fold_query(hit.text[begin:end]) for begin, end in hit.spans) and hit.spans
        row = document(world, hit)
        starts = occurrences(row["text"], hit.text)
        assert hit.iterations in [brute(world, row, [(s + b, s + e) for b, e in hit.spans]) for s in starts]


def test_absence_is_an_answer(searcher: Searcher, world: World) -> None:
    page = searcher.search("鱻麤龘", "ngram")
    assert page == Page((), 0, 0, searcher.texts.searched_bytes, open_sealed(world.run.root("index")).digest)
    assert searcher.search("鱻麤龘", "vector").hits == ()
    assert all(searcher.count(row["text"]) == 0 for row in world.held_out if len(row["text"]) > 30)


def test_spelling_is_folded_to_the_corpus_normal_form(searcher: Searcher) -> None:
    assert searcher.search("  源氏物語\n", "ngram").occurrences == searcher.count("源氏物語") > 0
    assert searcher.count("か\u3099") == searcher.count("が") > 0


def test_pages_follow_each_other(searcher: Searcher) -> None:
    for mode in ("ngram", "vector"):
        whole = searcher.search("源氏物語の作者", mode, limit=12).hits
        assert (
            tuple(h for o in range(0, 12, 4) for h in searcher.search("源氏物語の作者", mode, offset=o, limit=4).hits) == whole
        )
        beyond = searcher.search("源氏物語の作者", mode, offset=10_000)
        assert beyond.hits == () and beyond.total >= 12


@pytest.mark.parametrize(("query", "why"), [("", "empty"), (" \n\u3000", "empty"), ("\udcff", "not valid Unicode")])
def test_a_query_that_is_none_is_refused(searcher: Searcher, query: str, why: str) -> None:
    for mode in ("ngram", "vector"):
        with pytest.raises(BadInput, match=why):
            searcher.search(query, mode)


def test_bad_pages_and_modes_are_refused(searcher: Searcher) -> None:
    with pytest.raises(BadInput, match="page of 0 hits"):
        searcher.search("源", "ngram", limit=0)
    with pytest.raises(BadInput, match="from -1"):
        searcher.search("源", "ngram", offset=-1)
    with pytest.raises(ConfigError, match=r"unknown search mode 'fuzzy'; expected one of \['ngram', 'vector', 'normalized'\]"):
        searcher.search("源", "fuzzy")  # type: ignore[arg-type]


def test_an_index_of_another_model_is_refused(world: World, tmp_path: Path) -> None:
    artifacts = tmp_path / "artifacts"
    shutil.copytree(world.run.artifacts, artifacts)
    run = replace(world.run, artifacts=artifacts)
    assert Searcher.open(run).search("源氏", "ngram").hits
    other = make_world(tmp_path / "other", iterations=9)
    shutil.rmtree(artifacts / "pretrain")
    with pytest.raises(MissingInput, match="make pretrain"):
        Searcher.open(run)
    shutil.copytree(other.run.artifacts / "pretrain", artifacts / "pretrain")
    with pytest.raises(RecipeDrift, match="made for pretrain"):
        Searcher.open(run)


@pytest.mark.parametrize(
    "name",
    ["shards/00001/suffixes.u32", "shards/00000/documents.jsonl", "shards/00000/reads.begins.npy", "vector/00000/index.faiss"],
)
def test_damage_is_refused_by_name(world: World, tmp_path: Path, name: str) -> None:
    artifacts = tmp_path / "artifacts"
    shutil.copytree(world.run.artifacts, artifacts)
    path = artifacts / "index" / world.run.name / "data" / name
    whole = path.read_bytes()
    run = replace(world.run, artifacts=artifacts)
    for damaged in (whole[: len(whole) // 2], bytes([whole[0] ^ 1]) + whole[1:]):
        path.write_bytes(damaged)
        with pytest.raises(CorruptArtifact, match=name):
            Searcher.open(run)
    path.unlink()
    with pytest.raises(CorruptArtifact, match=name):
        Searcher.open(run)
