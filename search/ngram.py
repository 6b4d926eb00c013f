"""Exact substrings: a suffix array over UTF-8 that keeps character starts only, with fence keys, read by mmap.

Byte order of UTF-8 is code-point order, and a query begins at a character, so leaving out suffixes that begin inside
a character loses nothing. Byte 0xFF, which UTF-8 never has, stands behind every document: no match crosses it.

    text.u8        the documents' UTF-8, each followed by 0xFF
    suffixes.i32   (S,) little-endian int32: byte offsets in text.u8 where characters begin, in the order of their suffixes
    fences.u8      (ceil(S / 256), 24): the first 24 bytes of every 256th suffix, zeros behind the end of the text
"""

import mmap
from bisect import bisect_left, bisect_right
from pathlib import Path

import numpy as np

from pipeline.errors import CorruptArtifact

SEPARATOR = 0xFF
TEXT, SUFFIXES, FENCES = "text.u8", "suffixes.i32", "fences.u8"
# A binary search over the fences, which stay in memory, and one over 256 suffixes: 14 cold 4-KiB pages a query instead
# of 68 without fences, for 3 % of the text's size (measured on 40 MB of Aozora Bunko).
FENCE_EVERY, FENCE_BYTES = 256, 24
# Suffixes filtered and written at once while building: 16 MiB of int32.
CHUNK = 1 << 22
# divsufsort counts bytes in int32.
MOST_BYTES = (1 << 31) - 1
# No shared span is looked for beyond this many bytes (128 Japanese characters); exact queries may be longer.
LONGEST_BYTES = 384
_CONTINUATION, _TOP_TWO_BITS = 0x80, 0xC0


def build(text: np.ndarray, folder: Path) -> int:
    """Write text.u8, suffixes.i32 and fences.u8 of one shard; 7 bytes of memory a byte of text beside it.

    Args:
        text: (bytes,) uint8, writable (divsufsort asks for it), documents each followed by SEPARATOR; at most MOST_BYTES.
    Returns: how many suffixes are kept, one a character.
    Source: divsufsort, Y. Mori, github.com/y-256/libdivsufsort.
    """
    from pydivsufsort import divsufsort

    text.tofile(folder / TEXT)
    order = divsufsort(text).astype(np.int32, copy=False)
    starts = ((text & _TOP_TWO_BITS) != _CONTINUATION) & (text != SEPARATOR)
    with (folder / SUFFIXES).open("wb") as file:
        for begin in range(0, len(order), CHUNK):
            part = order[begin : begin + CHUNK]
            file.write(part[starts[part]].astype("<i4", copy=False).tobytes())
    kept = int(np.count_nonzero(starts))
    fenced = np.memmap(folder / SUFFIXES, "<i4", "r")[::FENCE_EVERY] if kept else np.empty(0, np.int32)
    places = fenced[:, None].astype(np.int64) + np.arange(FENCE_BYTES)
    np.where(places < len(text), text[np.minimum(places, len(text) - 1)], 0).astype(np.uint8).tofile(folder / FENCES)
    return kept


class SuffixArray:
    """One shard's suffix array, opened by mmap; a lookup costs some 25 microseconds."""

    def __init__(self, folder: Path) -> None:
        """Open what `build` wrote.

        Raises: CorruptArtifact if a file is missing or the files' sizes contradict each other.
        """
        try:
            self.text = _map(folder / TEXT)
            suffixes = _map(folder / SUFFIXES)
            self.suffixes = np.frombuffer(suffixes, "<i4")
            self._fences = (folder / FENCES).read_bytes()
        except (OSError, ValueError) as error:
            raise CorruptArtifact(f"{folder}: not a readable n-gram shard ({error}); make the index again") from error
        self._at = memoryview(suffixes).cast("i")
        fences = -(-len(self.suffixes) // FENCE_EVERY)
        if len(self._fences) != fences * FENCE_BYTES or len(self.suffixes) >= len(self.text):
            raise CorruptArtifact(
                f"{folder}: {len(self._fences)} bytes of fences and {len(self.suffixes)} suffixes do not fit "
                f"{len(self.text)} bytes of text; make the index again"
            )

    def range(self, query: bytes) -> tuple[int, int]:
        """Ranks [low, high) of the suffixes that begin with `query`, whole characters of UTF-8."""
        low, high = self._block(query)
        first = bisect_left(self._at, query, low, high, key=self._head(len(query)))
        return first, bisect_right(self._at, query, first, high, key=self._head(len(query)))

    def count(self, query: bytes) -> int:
        """How often `query` occurs."""
        low, high = self.range(query)
        return high - low

    def positions(self, low: int, high: int) -> np.ndarray:
        """Byte offsets of the suffixes of ranks [low, high), ascending."""
        return np.sort(self.suffixes[low:high])

    def occurrences(self, query: bytes, begin: int, end: int) -> list[int]:
        """Byte offsets in [begin, end) at which `query` begins, ascending, without the suffix array."""
        found, place = [], self.text.find(query, begin, end + len(query) - 1)
        while begin <= place < end:
            found.append(place)
            place = self.text.find(query, place + 1, end + len(query) - 1)
        return found

    def longest(self, query: bytes) -> int:
        """Bytes of the longest prefix of `query`, in whole characters, that occurs; at most LONGEST_BYTES."""
        query = query[:LONGEST_BYTES]
        low, high = self._block(query)
        place = bisect_left(self._at, query, low, high, key=self._head(len(query)))
        best = 0
        for rank in (place - 1, place):
            if 0 <= rank < len(self._at):
                begin = self._at[rank]
                best = max(best, common_prefix(query, self.text[begin : begin + len(query)]))
        while 0 < best < len(query) and query[best] & _TOP_TWO_BITS == _CONTINUATION:
            best -= 1
        return best

    def _head(self, size: int):  # noqa: ANN202 - a closure for bisect, on the hot path
        text = self.text
        return lambda begin: text[begin : begin + size]

    def _block(self, query: bytes) -> tuple[int, int]:
        """Ranks between which every suffix that begins with `query` lies, from the fences alone."""
        fences, key = self._fences, query[:FENCE_BYTES]
        numbers = range(len(fences) // FENCE_BYTES)
        first = bisect_left(numbers, key, key=lambda i: fences[i * FENCE_BYTES : i * FENCE_BYTES + len(key)])
        last = bisect_right(numbers, key, first, key=lambda i: fences[i * FENCE_BYTES : i * FENCE_BYTES + len(key)])
        return max(first - 1, 0) * FENCE_EVERY, min(last * FENCE_EVERY, len(self._at))


def common_prefix(left: bytes, right: bytes) -> int:
    """How many first bytes two strings share."""
    low, high = 0, min(len(left), len(right))
    if left[:high] == right[:high]:
        return high
    while low < high:
        middle = (low + high + 1) // 2
        if left[:middle] == right[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _map(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
