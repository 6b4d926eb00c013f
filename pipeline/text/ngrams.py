"""Where runs of code points of a fixed width are in a text: rolling hash, then exact comparison."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.compiled import compiled

# Bases of the polynomial hash modulo 2**64 (Karp and Rabin 1987): odd, from splitmix64; the second and third are for the
# day when two different n-grams of the benchmarks have the same hash.
_BASES = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_MIX = np.uint64(0xD6E8FEB86659FD93)  # multiplier whose upper bits choose a place in the tables
_BITS_PER_GRAM = 16  # of the bitmap asked first: at most one in 16 windows of a clean text goes on to the table


@dataclass(frozen=True)
class NgramIndex:
    """The different windows of `width` code points of some texts. Shapes: G grams, T texts, K pairs of gram and text."""

    width: int
    base: int
    points: np.ndarray  # (points,) uint32, the texts one after the other
    hashes: np.ndarray  # (G,) uint64, ascending
    places: np.ndarray  # (G,) int64, where in `points` each gram stands first
    first_text: np.ndarray  # (G + 1,) int64, where the texts of each gram begin in `texts`
    texts: np.ndarray  # (K,) int64, ordered by gram
    first_gram: np.ndarray  # (T + 1,) int64, where the grams of each text begin in `grams`
    grams: np.ndarray  # (K,) int64, ordered by text
    bitmap: np.ndarray  # uint8, a bit for each gram
    slots: np.ndarray  # int32, open addressing, -1 for free

    @staticmethod
    def build(texts: list[np.ndarray], width: int, windows: int | None = None) -> "NgramIndex":
        """Index the first `windows` (None: all) windows of every text; all have at least `width` code points."""
        points = np.concatenate([np.empty(0, np.uint32), *texts])
        starts = np.cumsum([0, *map(len, texts)])[:-1]
        counts = np.array([len(text) - width + 1 if windows is None else windows for text in texts], np.int64)
        indices, owners = ranges(starts, starts + counts), np.repeat(np.arange(len(texts)), counts)
        for base in _BASES:
            values = _hashes(points, indices, width, np.uint64(base))
            hashes, first, gram = np.unique(values, return_index=True, return_inverse=True)
            if _same(points, indices, indices[first][gram], width):
                break
        else:
            raise AssertionError("three hash functions in a row gave different n-grams the same hash")
        by_gram = np.unique(np.stack([gram, owners], axis=1), axis=0)
        by_text = by_gram[np.lexsort((by_gram[:, 0], by_gram[:, 1]))]
        log = max(6, len(hashes).bit_length())
        bitmap, slots = np.zeros(2**log * _BITS_PER_GRAM // 8, np.uint8), np.full(2 ** (log + 1), -1, np.int32)
        _fill(hashes, bitmap, slots)
        first_text = np.searchsorted(by_gram[:, 0], np.arange(len(hashes) + 1))
        first_gram = np.searchsorted(by_text[:, 1], np.arange(len(texts) + 1))
        pairs = (first_text, by_gram[:, 1].copy(), first_gram, by_text[:, 0].copy())
        return NgramIndex(width, base, points, hashes, indices[first], *pairs, bitmap, slots)

    def find(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Every window of a text that is a gram: (found,) int64 positions, ascending, and (found,) int64 gram numbers."""
        if not len(self.hashes):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        base = np.uint64(self.base)
        result = _find(points, self.width, base, self.bitmap, self.slots, self.hashes, self.places, self.points)
        return result[0], result[1]

    def texts_of(self, grams: np.ndarray) -> np.ndarray:
        """Which texts hold each of the grams, one after the other: (pairs,) int64."""
        return self.texts[ranges(self.first_text[grams], self.first_text[grams + 1])]

    def grams_of(self, text: int) -> np.ndarray:
        """The different grams of a text: (grams,) int64, ascending."""
        return self.grams[self.first_gram[text] : self.first_gram[text + 1]]


def ranges(begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """range(begin, end) of each pair, one after the other: (numbers,) int64."""
    lengths = ends - begins
    return np.arange(lengths.sum()) + np.repeat(begins - np.cumsum(lengths) + lengths, lengths)


@compiled
def _hash(points: Any, begin: int, width: int, base: Any) -> Any:
    value = np.uint64(0)
    for i in range(begin, begin + width):
        value = value * base + np.uint64(points[i])
    return value


@compiled
def _hashes(points: Any, places: Any, width: int, base: Any) -> Any:
    out = np.empty(len(places), np.uint64)
    for i in range(len(places)):
        out[i] = _hash(points, places[i], width, base)
    return out


@compiled
def _same(points: Any, ones: Any, others: Any, width: int) -> bool:
    """Whether the windows at `ones` equal, one by one, those at `others`."""
    i = 0
    while i < len(ones) and _equal(points, ones[i], points, others[i], width):
        i += 1
    return i == len(ones)


@compiled
def _fill(hashes: Any, bitmap: Any, slots: Any) -> None:
    bits, indices = np.uint64(8 * len(bitmap) - 1), np.uint64(len(slots) - 1)
    for gram in range(len(hashes)):
        mixed = (hashes[gram] * _MIX) >> np.uint64(24)
        bit = mixed & bits
        bitmap[bit >> np.uint64(3)] |= np.uint8(1) << np.uint8(bit & np.uint64(7))
        index = mixed & indices
        while slots[index] >= 0:
            index = (index + np.uint64(1)) & indices
        slots[index] = gram


@compiled
def _lookup(value: Any, slots: Any, hashes: Any) -> Any:
    indices = np.uint64(len(slots) - 1)
    index = ((value * _MIX) >> np.uint64(24)) & indices
    while slots[index] >= 0:
        if hashes[slots[index]] == value:
            return np.int64(slots[index])
        index = (index + np.uint64(1)) & indices
    return np.int64(-1)


@compiled
def _find(points: Any, width: int, base: Any, bitmap: Any, slots: Any, hashes: Any, places: Any, indexed: Any) -> Any:
    matches, count = np.empty((2, 64), np.int64), 0
    if len(points) < width:
        return matches[:, :0]
    offset, value = 0, _hash(points, 0, width, base)
    while True:
        offset, value = _next(points, offset, value, width, base, bitmap)
        if offset < 0:
            return matches[:, :count]
        gram = _lookup(value, slots, hashes)
        if gram >= 0 and _equal(points, offset, indexed, places[gram], width):
            if count == matches.shape[1]:
                matches = np.concatenate((matches, np.empty_like(matches)), axis=1)
            matches[0, count], matches[1, count] = offset, gram
            count += 1
        if offset + width == len(points):
            return matches[:, :count]
        value = value * base + np.uint64(points[offset + width]) - np.uint64(points[offset]) * _power(base, width)
        offset += 1


@compiled
def _next(points: Any, at: int, value: Any, width: int, base: Any, bitmap: Any) -> Any:
    """First window from `at` on, whose hash is `value`, that the bitmap lets through, and its hash; -1 for none."""
    power, bits = _power(base, width), np.uint64(8 * len(bitmap) - 1)
    for i in range(at, len(points) - width + 1):
        bit = ((value * _MIX) >> np.uint64(24)) & bits
        if (bitmap[bit >> np.uint64(3)] >> np.uint8(bit & np.uint64(7))) & 1:
            return i, value
        if i + width < len(points):
            value = value * base + np.uint64(points[i + width]) - np.uint64(points[i]) * power
    return -1, value


@compiled
def _power(base: Any, exponent: int) -> Any:
    value = np.uint64(1)
    for _ in range(exponent):
        value *= base
    return value


@compiled
def _equal(points: Any, at: int, others: Any, place: int, width: int) -> bool:
    k = 0
    while k < width and points[at + k] == others[place + k]:
        k += 1
    return k == width
