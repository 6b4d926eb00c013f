"""MinHash signatures and exact Jaccard similarity over character shingles, as numba kernels.

The shingles of a text are all runs of `width` visible characters (spaces and line ends are skipped, so that copies
which differ in layout only are equal); a shorter text is one shingle. A shingle is represented by a 64-bit hash.
Source: Broder, On the resemblance and containment of documents, 1997; Leskovec et al., Mining of Massive Datasets, ch. 3.
"""

import functools
from typing import Any

import numpy as np

from corpus.characters import class_table, decode, is_visible
from corpus.compiled import compiled

_MASK = (1 << 64) - 1
# splitmix64 (Steele et al., 2014): increment, and the two multipliers of its finalizer.
_GOLDEN, _MIX_1, _MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_U_GOLDEN, _U_MIX_1, _U_MIX_2 = np.uint64(_GOLDEN), np.uint64(_MIX_1), np.uint64(_MIX_2)
# Where the sequence of hash functions starts; any number would do, it only must never change.
_SEED = 0x6D696E616D6F746F


def shingles(text: str, width: int) -> np.ndarray:
    """Hashes of all shingles of a text in order, with repeats: (shingles,) uint64; none for an invisible text."""
    return _shingles(np.frombuffer(text.encode(), np.uint8), class_table(), width)


def signature(shingles_N: np.ndarray, hashes: int) -> np.ndarray:
    """The least value of each of `hashes` hash functions over the shingles: (hashes,) uint32."""
    factors, terms = _functions(hashes)
    return _signature(shingles_N, factors, terms)


def band_keys(signature_K: np.ndarray, bands: int, rows: int) -> np.ndarray:
    """One key a band; two documents meet where a key is equal: (bands,) uint64."""
    return _band_keys(signature_K.reshape(bands, rows))


def jaccard(one_N: np.ndarray, other_N: np.ndarray) -> float:
    """|intersection| / |union| of two shingle sets, each sorted and without repeats (`np.unique`)."""
    both = _intersection(one_N, other_N)
    union = len(one_N) + len(other_N) - both
    return both / union if union else 1.0


@functools.cache
def _functions(hashes: int) -> tuple[np.ndarray, np.ndarray]:
    """Multiply-shift functions h -> (factor * h + term) >> 32 (Dietzfelbinger 1996), from a splitmix64 sequence."""
    drawn, state = [], _SEED
    for _ in range(2 * hashes):
        state = (state + _GOLDEN) & _MASK
        mixed = ((state ^ (state >> 30)) * _MIX_1) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * _MIX_2) & _MASK
        drawn.append(mixed ^ (mixed >> 31))
    return np.array(drawn[:hashes], np.uint64) | np.uint64(1), np.array(drawn[hashes:], np.uint64)


@compiled
def _mix(value: Any) -> Any:
    value = (value ^ (value >> np.uint64(30))) * _U_MIX_1
    value = (value ^ (value >> np.uint64(27))) * _U_MIX_2
    return value ^ (value >> np.uint64(31))


@compiled
def _shingles(data: Any, classes: Any, width: int) -> Any:
    points, count, at = np.empty(len(data), np.uint64), 0, 0
    while at < len(data):
        point, at = decode(data, at)
        if is_visible(point, classes):
            points[count] = point
            count += 1
    out = np.empty(max(count - width + 1, 1 if count else 0), np.uint64)
    for i in range(len(out)):
        value = np.uint64(0)
        for point in points[i : min(i + width, count)]:
            value = (value + point + np.uint64(1)) * _U_GOLDEN
            value ^= value >> np.uint64(29)
        out[i] = _mix(value)
    return out


@compiled
def _signature(shingles_N: Any, factors: Any, terms: Any) -> Any:
    least = np.full(len(factors), np.uint32(0xFFFFFFFF), np.uint32)
    for shingle in shingles_N:
        for k in range(len(factors)):
            least[k] = min(least[k], np.uint32((factors[k] * shingle + terms[k]) >> np.uint64(32)))
    return least


@compiled
def _band_keys(signature_BR: Any) -> Any:
    keys = np.zeros(len(signature_BR), np.uint64)
    for band in range(len(signature_BR)):
        for value in signature_BR[band]:
            keys[band] = _mix(keys[band] + np.uint64(value) + _U_GOLDEN)
    return keys


@compiled
def _intersection(one_N: Any, other_N: Any) -> int:
    i, j, both = 0, 0, 0
    while i < len(one_N) and j < len(other_N):
        if one_N[i] == other_N[j]:
            both += 1
            i += 1
            j += 1
        elif one_N[i] < other_N[j]:
            i += 1
        else:
            j += 1
    return both
