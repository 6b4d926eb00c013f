"""Finds every occurrence of a string: a suffix array over UTF-8, of suffixes that begin at characters, read by mmap.

Byte order of UTF-8 is code-point order, and a query begins at a character, so leaving out suffixes that begin inside
a character loses nothing. Byte 0xFF, which UTF-8 never has, is after every document: no match crosses it.

    text.u8            the documents' UTF-8, each followed by 0xFF
    suffixes.u32       (S,) little-endian uint32: byte offsets in text.u8 where characters begin, in the order of their suffixes
    suffixes.high.u8   (S,) uint8: bits 32 to 39 of those offsets; (0,) where the text is below 4 GiB
    fences.u8          (ceil(S / 256), 24): the first 24 bytes of every 256th suffix, zeros after the end of the text
"""

import mmap
from itertools import pairwise
from pathlib import Path

import numpy as np

from pipeline.errors import CorruptArtifact
from search.exact import kernels
from search.exact.kernels import FENCE_BYTES, FENCE_EVERY, SEPARATOR
from search.exact.short_codes import shorten

TEXT, SUFFIXES, SUFFIXES_HIGH, FENCES = "text.u8", "suffixes.u32", "suffixes.high.u8", "fences.u8"
# Suffixes filtered and written at once while building: 16 MiB of uint32.
CHUNK = 1 << 22
# Offsets have five bytes at most.
MAX_BYTES = 1 << 40
NO_RANGES = np.empty((0, 2), np.int64)
_FOUR_BYTES = 1 << 32
_CONTINUATION, _TOP_TWO_BITS = 0x80, 0xC0


def build(text: np.ndarray, folder: Path, *, five_bytes: bool | None = None) -> int:
    """Write the four files of one shard; 4 bytes of memory a byte of Japanese text beside it.

    Args:
        text: (bytes,) uint8, writable (divsufsort asks for it), documents each followed by SEPARATOR; at most MAX_BYTES.
        five_bytes: whether offsets have five bytes; where left out, only if the text needs them.
    Returns: how many suffixes are kept, one a character.
    Source: divsufsort, Y. Mori, github.com/y-256/libdivsufsort.
    """
    from pydivsufsort import divsufsort

    text.tofile(folder / TEXT)
    shorter = shorten(text)
    order = divsufsort(shorter.codes if shorter else text)
    five_bytes = len(text) > _FOUR_BYTES if five_bytes is None else five_bytes
    kept, fences = 0, []
    with (folder / SUFFIXES).open("wb") as low, (folder / SUFFIXES_HIGH).open("wb") as high:
        for begin in range(0, len(order), CHUNK):
            part = order[begin : begin + CHUNK]
            part = shorter.offsets(part) if shorter else kernels.keep_character_starts(text, part)
            low.write(part.astype("<u4").tobytes())  # of int64 the lower four bytes
            if five_bytes:
                high.write((part.astype(np.int64) >> 32).astype(np.uint8).tobytes())
            fences.append(part[-kept % FENCE_EVERY :: FENCE_EVERY].astype(np.int64))
            kept += len(part)
    offsets = np.concatenate(fences)[:, None] + np.arange(FENCE_BYTES)
    np.where(offsets < len(text), text[np.minimum(offsets, len(text) - 1)], 0).astype(np.uint8).tofile(folder / FENCES)
    return kept


class SuffixArray:
    """One shard's suffix array, opened by mmap; a lookup costs some microseconds. Queries are UTF-8, whole characters."""

    def __init__(self, folder: Path, removed: np.ndarray = NO_RANGES) -> None:
        """Open what `build` wrote.

        Args:
            removed: (R, 2) int64 ranges of text.u8, ascending and disjoint, in which nothing is found.
        Raises: CorruptArtifact if a file is missing or the files' sizes contradict each other.
        """
        try:
            self.text = map_file(folder / TEXT)
            low, high = _map_array(folder / SUFFIXES, "<u4"), _map_array(folder / SUFFIXES_HIGH, "u1")
            fences = np.fromfile(folder / FENCES, np.uint8)
        except (OSError, ValueError) as error:
            raise CorruptArtifact(f"{folder}: not a readable n-gram shard ({error}); make the index again") from error
        self.size, rows = len(low), -(-len(low) // FENCE_EVERY)
        if len(fences) != rows * FENCE_BYTES or self.size >= len(self.text) or len(high) not in (0, self.size):
            raise CorruptArtifact(
                f"{folder}: {len(fences)} bytes of fences and {self.size} suffixes ({len(high)} high bytes) do not fit "
                f"{len(self.text)} bytes of text; make the index again"
            )
        self.removed = removed
        text = np.frombuffer(self.text, np.uint8)
        fences = fences.reshape(rows, FENCE_BYTES)
        self._arrays = kernels.Arrays(text, low, high, fences, kernels.make_fence_keys(fences))

    def range(self, query: bytes) -> tuple[int, int]:
        """Ranks [low, high) of the suffixes that begin with `query`, those in `removed` too."""
        return kernels.find_ranks(*self._arrays, query) if query else (0, self.size)

    def count(self, query: bytes) -> int:
        """How often `query` occurs; occurrences may overlap."""
        return self.count_kept(*self.range(query))

    def count_kept(self, low: int, high: int) -> int:
        """How many suffixes of ranks [low, high) are not in `removed`."""
        return kernels.count_kept(self._arrays, self.removed, low, high) if len(self.removed) else high - low

    def positions(self, low: int, high: int) -> np.ndarray:
        """Byte offsets of the suffixes of ranks [low, high) but those in `removed`, ascending."""
        offsets = np.sort(kernels.read_offsets(self._arrays, low, high))
        if not len(self.removed):
            return offsets
        before = np.searchsorted(self.removed[:, 1], offsets, side="right")
        begins = np.append(self.removed[:, 0], np.iinfo(np.int64).max)
        return offsets[begins[before] > offsets]

    def measure_longest(self, query: bytes) -> int:
        """Bytes of the longest prefix of `query`, in whole characters, that occurs."""
        lengths = np.zeros(1, np.int64)
        self.extend_matches(query, np.zeros(1, np.int64), lengths)
        return int(lengths[0])

    def extend_matches(self, query: bytes, begins: np.ndarray, lengths: np.ndarray) -> None:
        """Raise `lengths` to the bytes of the longest match of `query` from each of `begins`: matching statistics.

        Args:
            begins: (m,) int64, where characters of the query begin, ascending.
            lengths: (m,) int64, zeros, or what another shard made of them.
        """
        kernels.extend_matches(self._arrays, self.removed, np.frombuffer(query, np.uint8), begins, lengths)

    def count_following(self, query: bytes) -> dict[str, int]:
        """Which characters are after `query` and how often, "" for the end of a document; in order of code points."""
        low, high = self.range(query)
        begins = [*kernels.find_next_characters(self._arrays, low, high, len(query)).tolist(), high]
        matches: dict[str, int] = {}
        for begin, end in pairwise(begins):
            offset = int(kernels.read_offsets(self._arrays, begin, begin + 1)[0]) + len(query)
            character = self.text[offset : offset + 4].split(bytes([SEPARATOR]))[0].decode(errors="ignore")[:1]
            if count := self.count_kept(begin, end):
                matches[character] = count
        return matches


def find_character_begins(text: bytes) -> np.ndarray:
    """Where characters begin in UTF-8, (characters,) int64."""
    return np.flatnonzero((np.frombuffer(text, np.uint8) & _TOP_TWO_BITS) != _CONTINUATION)


def map_file(path: Path) -> mmap.mmap:
    """A file's bytes, by mmap.

    Raises: OSError if it is missing; ValueError if it is empty.
    """
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _map_array(path: Path, kind: str) -> np.ndarray:
    if not path.stat().st_size:
        return np.empty(0, kind)
    return np.memmap(path, kind, "r").view(np.ndarray)
