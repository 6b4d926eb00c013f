"""Shared spans against a naive search for them, weights against their definition."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.rank import content, joined, places, shared_spans, weight

letters = st.text(alphabet="あい漢字a。", max_size=18)


def naive(query: str, passage: str) -> list[tuple[int, int]]:
    """Every shared [begin, end) of two characters or more that no other shared one contains."""
    every = [(b, e) for b in range(len(query)) for e in range(b + 2, len(query) + 1) if query[b:e] in passage]
    return [s for s in every if not any(o != s and o[0] <= s[0] and s[1] <= o[1] for o in every)]


@given(letters, letters)
def test_shared_spans_equal_the_naive_ones(query: str, passage: str) -> None:
    assert shared_spans(query, passage) == naive(query, passage)


@given(st.sets(st.text(alphabet="あい漢", min_size=1, max_size=4), max_size=5), letters)
def test_places_mark_every_character_of_every_occurrence(wanted: set[str], passage: str) -> None:
    marked = {i for text in wanted for b in range(len(passage)) if passage.startswith(text, b) for i in range(b, b + len(text))}
    spans = places(wanted, passage)
    assert {i for begin, end in spans for i in range(begin, end)} == marked
    assert all(a[1] < b[0] for a, b in pairwise(spans))


def test_joined_spans_are_ascending_and_apart() -> None:
    assert joined([(5, 8), (0, 2), (1, 4), (4, 5), (10, 11)]) == ((0, 8), (10, 11))


def test_content_counts_what_carries_meaning() -> None:
    assert content("漢カーa1🙂") == 6
    assert content("です") == pytest.approx(0.4)
    assert content("、。 \n") == 0


def test_weight_is_content_times_surprise() -> None:
    assert weight("源氏物語", 5, 5000) == pytest.approx(4 * math.log(1000))
    assert weight("です", 5, 5000) < weight("源氏", 5, 5000) < weight("源氏", 1, 5000)
