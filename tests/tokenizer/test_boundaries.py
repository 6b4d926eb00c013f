"""Figures against counting by hand, character by character."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tokenizer.analyzer import WordAnalyzer
from tokenizer.boundaries import find_straddling, measure_boundaries


def by_hand(tokens: list[int], words: list[int], end: int) -> list[bool]:
    """Whether each token has characters of two words, and one of these words also has characters outside the token."""
    word_of = [sum(start <= place for start in words) for place in range(end)]
    found = []
    for begin, stop in zip(tokens, [*tokens[1:], end], strict=True):
        inside = set(word_of[begin:stop])
        outside = set(word_of[:begin]) | set(word_of[stop:])
        found.append(len(inside) > 1 and bool(inside & outside))
    return found


@st.composite
def cuts(draw: st.DrawFn) -> tuple[list[int], list[int], int]:
    end = draw(st.integers(1, 14))
    places = st.lists(st.integers(0, end - 1), max_size=12)
    tokens = sorted([0, *draw(places)])  # with bytes: several tokens at one character
    return tokens, sorted({0, *draw(places)}), end


@given(cut=cuts())
def test_straddling_is_what_counting_finds(cut: tuple[list[int], list[int], int]) -> None:
    tokens, words, end = cut
    assert find_straddling(np.array(tokens), np.array(words), end).tolist() == by_hand(tokens, words, end)


@given(both=st.lists(cuts(), min_size=1, max_size=4))
def test_lines_laid_end_to_end_are_the_lines(both: list[tuple[list[int], list[int], int]]) -> None:
    tokens, words, apart, place = [], [], [], 0
    for one, other, end in both:
        apart += by_hand(one, other, end)
        tokens += [place + start for start in one]
        words += [place + start for start in other]
        place += end
    assert find_straddling(np.array(tokens), np.array(words), place).tolist() == apart


def test_figures_by_hand() -> None:
    analyzer = WordAnalyzer("spaced", lambda stretch: {"ことができる": ["こと", "が", "できる"], "できる": ["できる"]}[stretch])
    starts = {"ことができる": [0, 2, 4], "できる": [0, 1]}  # こと|がで|きる and で|きる
    figures = measure_boundaries(["ことができる", "", "できる", "できる"], starts.__getitem__, analyzer)
    assert (figures.tokens, figures.straddling) == (7, 1)
    assert (figures.token_starts, figures.word_starts, figures.shared_starts) == (4, 2, 1)
    assert (figures.precision, figures.recall, figures.f1) == (1 / 4, 1 / 2, 1 / 3)
    assert (figures.repeated_words, figures.consistent_words, figures.consistency) == (3, 3, 1.0)  # always で|きる
    starts["できる"] = [0]
    assert (figures.repeated_kinds, figures.constant_kinds, figures.constancy) == (1, 1, 1.0)
    varied = measure_boundaries(["ことができる", "できる", "できる"], starts.__getitem__, analyzer)
    assert (varied.consistency, varied.repeated_kinds, varied.constancy) == (2 / 3, 1, 0.0)


def test_nothing_gives_zeros() -> None:
    figures = measure_boundaries(["", ""], lambda line: [0], WordAnalyzer("none", lambda stretch: [stretch]))
    assert (figures.tokens, figures.f1, figures.straddle_share, figures.consistency) == (0, 0.0, 0.0, 0.0)
