"""Suffix arrays against plain scans of the text."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import CorruptArtifact
from search.exact import kernels, suffix_array
from search.exact.suffix_array import SuffixArray, build, find_character_begins
from tests.tokenizer.helpers.strategies import texts

SPECIAL = st.sampled_from(
    [".*", "[a-z]", "\\", "(", "^$", "か\u3099", "が", "👨‍👩‍👧", "🇯🇵", "\0", "\x7f", "ああ", "あ", "𠮷", "葛\U000e0100"]
)
documents = st.lists(st.one_of(texts, st.lists(SPECIAL, max_size=20).map("".join)), min_size=1, max_size=6)


def indexed(texts: list[str], folder: Path, *, five_bytes: bool | None = None) -> SuffixArray:
    data = bytearray(b"".join(text.encode() + b"\xff" for text in texts))
    build(np.frombuffer(data, np.uint8), folder, five_bytes=five_bytes)
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


@given(documents, st.data(), st.sampled_from([1, 7, 60]), st.booleans())
@settings(max_examples=120, deadline=None)
def test_count_and_places_equal_a_scan(rows: list[str], data: st.DataObject, times: int, five_bytes: bool) -> None:
    rows = [row * times for row in rows]  # more suffixes than are between two fences
    if not any(rows):
        rows = [*rows, "あ"]
    whole = "".join(rows)
    begin = data.draw(st.integers(0, len(whole) - 1))
    inside = whole[begin : begin + data.draw(st.sampled_from([1, 2, 5, 12, 400]))]
    outside = data.draw(st.one_of(SPECIAL, texts.filter(bool)))
    removed = data.draw(st.sets(st.integers(0, len(rows) - 1), max_size=2))
    kept = [row if n not in removed else "\0" * len(row.encode()) for n, row in enumerate(rows)]
    with tempfile.TemporaryDirectory() as name:
        array = indexed(rows, Path(name), five_bytes=five_bytes)
        check(array, rows, [inside, outside, inside + outside])
        ends = np.cumsum([len(row.encode()) + 1 for row in rows])
        ranges = [(int(ends[n]) - len(rows[n].encode()) - 1, int(ends[n])) for n in sorted(removed)]
        without = SuffixArray(Path(name), np.array(ranges, np.int64).reshape(-1, 2))
        check(without, kept, [query for query in (inside, outside, inside + outside) if "\0" not in query])


def check(array: SuffixArray, rows: list[str], queries: list[str]) -> None:
    """Everything that an array says of the queries, by scans of the documents."""
    for query in queries:
        expected = scan(rows, query)
        assert array.count(query.encode()) == len(expected)
        assert array.positions(*array.range(query.encode())).tolist() == expected
        behind = [(rows_at(rows, place, query))[:1] for place in expected]
        assert array.count_following(query.encode()) == {c: behind.count(c) for c in sorted(set(behind) - {""})} | (
            {"": behind.count("")} if "" in behind else {}
        )
        key = query.encode()
        begins = find_character_begins(key)
        lengths = np.zeros(len(begins), np.int64)
        array.extend_matches(key, begins, lengths)
        assert begins.tolist() == [len(query[:n].encode()) for n in range(len(query))]
        for begin, length in zip(range(len(query)), lengths.tolist(), strict=True):
            rest = query[begin:]
            longest = max(k for k in range(len(rest) + 1) if any(rest[:k] in row for row in rows))
            assert length == len(rest[:longest].encode())
        assert array.measure_longest(key) == lengths[0]


def rows_at(rows: list[str], place: int, query: str) -> str:
    """What is in its document after an occurrence of the query at a byte of all documents."""
    before = 0
    for row in rows:
        size = len(row.encode())
        if place < before + size:
            return row.encode()[place - before :].decode()[len(query) :]
        before += size + 1
    raise AssertionError(place)


@pytest.mark.parametrize("five_bytes", [False, True])
def test_every_suffix_is_a_character_and_they_are_sorted(tmp_path: Path, five_bytes: bool) -> None:
    rows = ["東京都の東京タワー。" * 100, "", "🙂𠮷abc" * 70]
    array = indexed(rows, tmp_path, five_bytes=five_bytes)
    text = bytes(array.text)
    assert array.size == sum(map(len, rows))
    assert (tmp_path / suffix_array.SUFFIXES_HIGH).stat().st_size == (array.size if five_bytes else 0)
    places = (np.fromfile(tmp_path / suffix_array.SUFFIXES, "<u4")).tolist()
    assert all(text[p] & 0xC0 != 0x80 and text[p] != 0xFF for p in places)
    suffixes = [text[p:] for p in places]
    assert suffixes == sorted(suffixes)


def test_the_fifth_byte_of_an_offset_counts() -> None:
    """Three suffixes of a text of 12 GiB, of which only the pages that are looked at exist."""
    text = np.lib.stride_tricks.as_strided(np.zeros(1, np.uint8), (3 << 32,), (0,))
    places = np.array([5, (1 << 32) + 7, (2 << 32) + 9])
    arrays = kernels.Arrays(
        text, places.astype(np.uint32), (places >> 32).astype(np.uint8), np.zeros((1, 24), np.uint8), np.zeros(1, np.uint64)
    )
    assert kernels.read_offsets(arrays, 0, 3).tolist() == places.tolist()


def test_more_kinds_of_characters_than_codes(tmp_path: Path) -> None:
    row = "".join(chr(point) for point in range(0x20, 0x12000) if not 0xD800 <= point < 0xE000)
    array = indexed([row, row[::-1]], tmp_path)
    assert array.size == 2 * len(row)
    assert array.count("東京".encode()) == 0 and array.count(row[500:510].encode()) == 1 and array.count("東".encode()) == 2


def test_long_queries_are_exact(tmp_path: Path) -> None:
    row = "".join(chr(0x4E00 + i) for i in range(3000))
    array = indexed([row, row[1:]], tmp_path)
    assert array.count(row[5:1500].encode()) == 2 and array.count((row[5:1500] + "終").encode()) == 0
    assert array.measure_longest((row[5:1500] + "終").encode()) == len(row[5:1500].encode())


@pytest.mark.parametrize("name", [suffix_array.TEXT, suffix_array.SUFFIXES, suffix_array.FENCES])
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
