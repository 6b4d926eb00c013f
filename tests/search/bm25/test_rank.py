"""Shared spans against a naive search for them, weights and highlights against their definition."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.bm25.rank import count_content, find_highlights, find_shared_spans, find_spans, fold, merge_spans, weigh_span

letters = st.text(alphabet="あい漢字a。", max_size=18)


def naive(query: str, passage: str) -> list[tuple[int, int]]:
    """Every shared [begin, end) of two characters or more that no other shared one contains."""
    every = [(b, e) for b in range(len(query)) for e in range(b + 2, len(query) + 1) if query[b:e] in passage]
    return [s for s in every if not any(o != s and o[0] <= s[0] and s[1] <= o[1] for o in every)]


@given(letters, letters)
def test_shared_spans_equal_the_naive_ones(query: str, passage: str) -> None:
    assert find_shared_spans(query, passage) == naive(query, passage)


@given(st.sets(st.text(alphabet="あい漢", min_size=1, max_size=4), max_size=5), letters)
def test_places_mark_every_character_of_every_occurrence(wanted: set[str], passage: str) -> None:
    marked = {i for text in wanted for b in range(len(passage)) if passage.startswith(text, b) for i in range(b, b + len(text))}
    spans = find_spans(wanted, passage)
    assert {i for begin, end in spans for i in range(begin, end)} == marked
    assert all(a[1] < b[0] for a, b in pairwise(spans))


def test_joined_spans_are_ascending_and_apart() -> None:
    assert merge_spans([(5, 8), (0, 2), (1, 4), (4, 5), (10, 11)]) == ((0, 8), (10, 11))


def test_content_counts_what_carries_meaning() -> None:
    assert count_content("漢カーa1🙂") == 6
    assert count_content("です") == pytest.approx(0.4)
    assert count_content("、。 \n") == 0


def test_weight_is_content_times_surprise() -> None:
    assert weigh_span("源氏物語", 5, 5000) == pytest.approx(4 * math.log(1000))
    assert weigh_span("です", 5, 5000) < weigh_span("源氏", 5, 5000) < weigh_span("源氏", 1, 5000)


mixed = st.text(alphabet="あいう漢字カaAａＡ1１①。 ", max_size=24)


@given(mixed, mixed)
def test_highlights_are_shared_runs_but_for_case_and_width(query: str, passage: str) -> None:
    spans = find_highlights(query, passage)
    assert all(a[1] < b[0] for a, b in pairwise(spans))
    asked = fold(query)
    for begin, end in spans:
        assert 0 <= begin < end <= len(passage)
        # every character of a span is in a run of two that the query has too
        runs = [i for i in range(begin, end - 1) if fold(passage[i]) + fold(passage[i + 1]) in asked]
        assert {i for run in runs for i in (run, run + 1)} == set(range(begin, end))
    pairs = [fold(a) + fold(b) for a, b in pairwise(passage)]
    assert bool(spans) == any(pair in asked for pair in pairs)


def test_highlights_leave_out_what_says_nothing_where_something_says_more() -> None:
    assert find_highlights("光源氏ですか。", "これは光源氏ですか。それですか。") == ((3, 10),)
    assert find_highlights("光源氏でしたか", "光源氏が、どうでしたか") == ((0, 3),)
    assert find_highlights("そうでしたか", "光源氏が、どうでしたか") == ((6, 11),)


def test_highlights_stand_in_the_passage_as_it_is_spelled() -> None:
    assert find_highlights("ＰＫＯとは", "この pko と Pko") == ((3, 6), (9, 12))
