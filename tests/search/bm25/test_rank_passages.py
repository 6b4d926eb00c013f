"""Ranking against BM25 written plainly, for any number of shards, spelling and what is removed."""

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.bm25 import kernels, rank
from search.bm25.rank import LENGTH, ORDERS, SATURATION, Ranked, fold
from search.exact import suffix_array

# A document is its passages.
passages = st.text(alphabet="あのを漢字文カ1。𠮷", min_size=1, max_size=12)
corpora = st.lists(st.lists(passages, min_size=1, max_size=4), min_size=1, max_size=8)
queries = st.text(alphabet="あのを漢字文カ1。𠮷見", min_size=1, max_size=8)


class Shard(NamedTuple):
    suffixes: suffix_array.SuffixArray
    passage_begins: np.ndarray


def shard(documents: Sequence[Sequence[str]], folder: Path, removed: np.ndarray = suffix_array.NO_RANGES) -> Shard:
    text, begins = bytearray(), []
    for document in documents:
        for passage in document:
            begins.append(len(text))
            text += passage.encode()
        text.append(suffix_array.SEPARATOR)
    folder.mkdir(exist_ok=True)
    suffix_array.build(np.frombuffer(text, np.uint8), folder)
    return Shard(suffix_array.SuffixArray(folder, removed), np.array(begins, np.uint32))


@contextmanager
def shards(documents: Sequence[Sequence[str]], parts: int = 1) -> Iterator[list[Shard]]:
    """The documents, in order, in so many shards or fewer."""
    size = -(-len(documents) // parts)
    with tempfile.TemporaryDirectory() as folder:
        yield [shard(documents[b : b + size], Path(folder) / str(b)) for b in range(0, len(documents), size)]


def occurrences(gram: str, text: str) -> int:
    return sum(text.startswith(gram, begin) for begin in range(len(text)))


def plainly(documents: Sequence[Sequence[str]], query: str) -> list[tuple[int, float]]:
    """(passage, score) of every passage that shares an n-gram, best first; of texts that folding leaves as they are."""
    every = [passage for document in documents for passage in document]
    mean = sum(map(len, every)) / len(every)
    scores = dict.fromkeys(range(len(every)), 0.0)
    grams = {query[b : b + n] for n in (1, 2, 3) for b in range(len(query) - n + 1)}
    for gram in grams - set("あのを。"):
        corpus = sum(occurrences(gram, "".join(document)) for document in documents)
        if corpus:
            rarity = ORDERS[len(gram) - 1] * math.log(1 + len(every) / corpus)
            for number, passage in enumerate(every):
                count = occurrences(gram, passage)
                damped = SATURATION * (1 - LENGTH + LENGTH * len(passage) / mean)
                scores[number] += rarity * count * (SATURATION + 1) / (count + damped)
    return sorted(((n, s) for n, s in scores.items() if s), key=lambda row: (-row[1], row[0]))


@given(corpora, queries)
@settings(max_examples=150, deadline=None)
def test_every_passage_that_shares_an_ngram_has_its_bm25(documents: list[list[str]], query: str) -> None:
    with shards(documents) as opened:
        found = {row.passage: row.score for row in rank.rank(opened, query)}
    expected = dict(plainly(documents, query))
    assert found.keys() == expected.keys()
    assert found == pytest.approx(expected)


@given(corpora, queries, st.integers(2, 5))
@settings(max_examples=100, deadline=None)
def test_the_number_of_shards_changes_nothing(documents: list[list[str]], query: str, parts: int) -> None:
    with shards(documents) as one, shards(documents, parts) as many:
        before = np.cumsum([0, *(len(part.passage_begins) for part in many)])
        found = [(int(before[row.shard]) + row.passage, row.score) for row in rank.rank(many, query)]
        assert found == [(row.passage, row.score) for row in rank.rank(one, query)]


@given(corpora, queries, st.integers(1, 6), st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_what_little_budget_finds_has_the_score_it_has_with_much(
    documents: list[list[str]], query: str, budget: int, candidates: int
) -> None:
    kept = rank.BUDGET, rank.CANDIDATES
    with shards(documents) as one, shards(documents, 3) as many:
        every = {row.passage: row.score for row in rank.rank(one, query)}
        try:
            rank.BUDGET, rank.CANDIDATES = budget, candidates
            some, split = rank.rank(one, query), rank.rank(many, query)
        finally:
            rank.BUDGET, rank.CANDIDATES = kept
    assert len(some) <= candidates
    assert all(every[row.passage] == row.score for row in some)
    assert [row.score for row in some] == [row.score for row in split]
    assert some == sorted(some, key=lambda row: (-row.score, row.passage))


def test_rare_words_and_whole_words_come_first() -> None:
    documents = [
        ["日本の首都は東京である。", "日本の首相が都に着いた。"],
        ["京都は日本の古い都である。", "日本の日本の日本の日本の日本の。"],
        ["関係のない話である。"],
    ]
    with shards(documents) as opened:
        found = rank.rank(opened, "日本の首都はどこですか？")
        assert [row.passage for row in found][:2] == [0, 1]
        assert 4 not in [row.passage for row in found]
        assert rank.rank(opened, "鱻麤龘") == [] and rank.rank(opened, "?") == []
        assert rank.rank(opened, "日本の首都はどこですか？", 1) == found[:1]


@pytest.mark.parametrize("query", ["PKOとカード10枚", "pkoとカード10枚", "ＰＫＯとカード１０枚", "Pkoとｶｰﾄﾞ①0枚"])
def test_case_and_width_change_no_score(query: str) -> None:
    texts = [
        "国連のPKOとは何か。",
        "国連のＰＫＯとは何か。",
        "国連のpkoとは何か。",
        "カードを10枚引く。",
        "カードを１０枚引く。",
    ]
    with shards([[text] for text in texts]) as opened:
        found = {row.passage: row.score for row in rank.rank(opened, query)}
        assert found.keys() == set(range(5))
        assert found[0] == found[1] == found[2] and found[3] == found[4]
        assert found == {row.passage: row.score for row in rank.rank(opened, fold(query))}


def test_what_is_removed_is_not_found(tmp_path: Path) -> None:
    documents = [["源氏物語の作者。"], ["源氏物語は長い。", "作者は紫式部。"], ["源氏物語と作者。"]]
    first = len("源氏物語の作者。".encode()) + 1
    second = first + len("源氏物語は長い。作者は紫式部。".encode()) + 1
    removed = np.array([[first, second]], np.int64)
    found = rank.rank([shard(documents, tmp_path, removed)], "源氏物語の作者は誰？")
    assert [row.passage for row in found] == [0, 3]


def test_begins_of_a_large_shard_read_only_and_in_eight_bytes_are_the_same(tmp_path: Path) -> None:
    made = shard([["源氏物語の作者。", "紫式部という作者。"], ["平家物語。"]], tmp_path)
    begins = made.passage_begins.astype(np.int64)
    begins.flags.writeable = False
    assert rank.rank([made._replace(passage_begins=begins)], "物語の作者は") == rank.rank([made], "物語の作者は") != []


def test_a_long_query_is_ranked_by_its_beginning(tmp_path: Path) -> None:
    opened = [shard([["源氏物語"], ["平家物語"]], tmp_path)]
    filling = "の" * rank.MAX_QUERY
    assert rank.rank(opened, "源氏" + filling + "平家") == rank.rank(opened, "源氏" + filling)
    assert [row.passage for row in rank.rank(opened, "源氏" + filling + "平家")] == [0]
    assert rank.rank(opened, "源氏")[0] == Ranked(0, 0, rank.rank(opened, "源氏")[0].score)


def test_more_nominated_than_read_are_cut_by_weight_then_order(tmp_path: Path) -> None:
    documents = [[f"{'東京' if n % 3 else '京'}{'。' * (n % 5)}"] for n in range(3 * rank.CANDIDATES)]
    found = rank.rank([shard(documents, tmp_path)], "東京")
    assert len(found) == rank.CANDIDATES
    assert sorted(row.passage for row in found) == [n for n in range(3 * rank.CANDIDATES) if n % 3][: rank.CANDIDATES]


@given(st.dictionaries(st.integers(0, (1 << 60) - 1), st.integers(0, 1 << 30), max_size=60), st.lists(st.integers(0, 1 << 60)))
@settings(max_examples=60, deadline=None)
def test_a_table_holds_what_was_put_in(rows: dict[int, int], others: list[int]) -> None:
    keys, values, bits = kernels.make_table(list(rows), list(rows.values()))
    assert len(keys) == len(values) == 1 << bits >= 4 * len(rows)
    held = {key: value for key, value in zip(keys.tolist(), values.tolist(), strict=True) if key != kernels.EMPTY}
    assert held == rows
    for key in (*rows, *others):
        assert kernels.look_up(keys, values, bits, key, -1) == rows.get(key, -1)
