"""Codes of a text: they tell its characters apart, in their order, and the suffix array by them is that of the text."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydivsufsort import divsufsort

from search.exact import kernels
from search.exact.short_codes import shorten
from tests.tokenizer.helpers.strategies import texts

many = st.lists(st.integers(0x4E00, 0x4E00 + 900).map(chr), max_size=600).map("".join)


def joined(rows: list[str]) -> np.ndarray:
    return np.frombuffer(bytearray(b"".join(row.encode() + b"\xff" for row in rows)), np.uint8)


@given(st.lists(st.one_of(texts, many, st.text()), min_size=1, max_size=5))
@settings(max_examples=150, deadline=None)
def test_the_suffix_array_is_that_of_the_text(rows: list[str]) -> None:
    rows = [row.encode(errors="ignore").decode() for row in rows]
    text = joined(rows)
    made = shorten(text)
    assert made is not None
    plain = kernels.keep_character_starts(text, divsufsort(text))
    assert made.offsets(divsufsort(made.codes)).tolist() == plain.tolist()
    assert len(made.codes) <= 2 * sum(map(len, rows)) + len(rows)


@given(st.lists(st.integers(0, 0x10FFFF).filter(lambda point: not 0xD800 <= point < 0xE000), min_size=1, max_size=2000))
@settings(max_examples=40, deadline=None)
def test_codes_compare_as_characters_and_none_begins_another(points: list[int]) -> None:
    text = "".join(map(chr, points))
    made = shorten(joined([text]))
    assert made is not None
    begins = [*np.flatnonzero(made.origins != np.iinfo(np.uint32).max).tolist(), len(made.codes) - 1]
    codes = {point: made.codes[a:b].tobytes() for point, a, b in zip(points, begins, begins[1:], strict=False)}
    ascending = [codes[point] for point in sorted(codes)]
    assert ascending == sorted(ascending) and len(set(ascending)) == len(ascending)
    assert all(not longer.startswith(shorter) for shorter, longer in pairwise(ascending))
    assert max(made.codes[:-1]) < 0xFF == made.codes[-1]
    if len(codes) <= 255:
        assert len(made.codes) == len(text) + 1


@pytest.mark.parametrize(("kinds", "coded"), [(255, True), (256, True), (255 * 256, True), (255 * 256 + 1, False)])
def test_as_many_kinds_as_there_are_codes(kinds: int, coded: bool) -> None:
    points = [point for point in range(0x4E00, 0x4E00 + 2 * kinds) if not 0xD800 <= point < 0xE000][:kinds]
    text = joined(["".join(map(chr, points))])
    made = shorten(text)
    assert (made is not None) == coded
    if made is not None:
        assert made.offsets(np.arange(len(made.codes))).tolist() == [0, *np.cumsum([len(chr(p).encode()) for p in points])][:-1]


def test_a_text_without_characters() -> None:
    made = shorten(joined(["", ""]))
    assert made is not None and made.codes.tolist() == [0xFF, 0xFF] and not len(made.offsets(np.array([0, 1])))
