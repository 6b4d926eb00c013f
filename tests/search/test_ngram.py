"""Suffix arrays against plain scans of the text."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import CorruptArtifact
from search import ngram
from search.ngram import SuffixArray, build, common_prefix
from tests.tokenizer.strategies import texts

SPECIAL = st.sampled_from(
    [".*", "[a-z]", "\\", "(", "^$", "か\u3099", "が", "👨‍👩‍👧", "🇯🇵", "\0", "\x7f", "ああ", "あ", "𠮷", "葛\U000e0100"]
)
documents = st.lists(st.one_of(texts, st.lists(SPECIAL, max_size=20).map("".join)), min_size=1, max_size=6)


def indexed(texts: list[str], folder: Path) -> SuffixArray:
    data = bytearray(b"".join(text.encode() + b"\xff" for text in texts))
    build(np.frombuffer(data, np.uint8), folder)
    return SuffixArray(folder)


def scan(texts: list[str], query: str) -> list[int]:
    """Byte offset of every occurrence, overlapping ones included, by str.find."""
    found, before = [], 0
    for text in texts:
        place = text.find(query)
        while place >= 0:
            found.append(before + len(text[:place].encode()))
            place = text.find(query, place + 1)
        before += len(text.encode()) + 1
    return found


@given(documents, st.data(), st.sampled_from([1, 2, 256]))
@settings(max_examples=120, deadline=None)
def test_count_and_places_equal_a_scan(rows: list[str], data: st.DataObject, fence: int) -> None:
    if not any(rows):
        rows = [*rows, "あ"]
    whole = "".join(rows)
    begin = data.draw(st.integers(0, len(whole) - 1))
    inside = whole[begin : begin + data.draw(st.integers(1, 12))]
    outside = data.draw(st.one_of(SPECIAL, texts.filter(bool)))
    every, ngram.FENCE_EVERY = ngram.FENCE_EVERY, fence
    try:
        with tempfile.TemporaryDirectory() as folder:
            array = indexed(rows, Path(folder))
            for query in (inside, outside, inside + outside):
                expected = scan(rows, query)
                assert array.count(query.encode()) == len(expected)
                assert array.positions(*array.range(query.encode())).tolist() == expected
                size = len(array.text)
                assert array.occurrences(query.encode(), 0, size) == expected
                assert array.occurrences(query.encode(), 3, size // 2) == [p for p in expected if 3 <= p < size // 2]
                longest = max(k for k in range(len(query) + 1) if any(query[:k] in row for row in rows))
                assert array.longest(query.encode()) == len(query[:longest].encode())
    finally:
        ngram.FENCE_EVERY = every


def test_every_suffix_is_a_character_and_they_are_sorted(tmp_path: Path) -> None:
    rows = ["東京都の東京タワー。" * 100, "", "🙂𠮷abc" * 70]
    array = indexed(rows, tmp_path)
    text = bytes(array.text)
    assert len(array.suffixes) == sum(map(len, rows))
    assert all(text[p] & 0xC0 != 0x80 and text[p] != 0xFF for p in array.suffixes.tolist())
    suffixes = [text[p:] for p in array.suffixes.tolist()]
    assert suffixes == sorted(suffixes)


def test_a_query_longer_than_the_longest_shared_span_is_still_exact(tmp_path: Path) -> None:
    row = "".join(chr(0x4E00 + i) for i in range(3000))
    array = indexed([row, row[1:]], tmp_path)
    assert array.count(row[5:1500].encode()) == 2 and array.count((row[5:1500] + "終").encode()) == 0
    assert array.longest(row[5:1500].encode()) == ngram.LONGEST_BYTES


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_common_prefix_equals_the_naive_one(left: bytes, right: bytes) -> None:
    naive = next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))
    assert common_prefix(left, right) == naive


@pytest.mark.parametrize("name", [ngram.TEXT, ngram.SUFFIXES, ngram.FENCES])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut"])
def test_a_damaged_shard_is_refused_by_name(tmp_path: Path, name: str, damage: str) -> None:
    indexed(["東京都の東京タワー。" * 100], tmp_path)
    path = tmp_path / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: 0 if damage == "empty" else 30])
    with pytest.raises(CorruptArtifact, match=str(tmp_path)):
        SuffixArray(tmp_path)
