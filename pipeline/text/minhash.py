"""MinHash signatures and exact Jaccard similarity over character shingles, as numba kernels.

The shingles of a text are all runs of `width` visible characters (spaces and line ends are skipped, so that copies
which differ in layout only are equal); a shorter text is one shingle. A shingle is represented by a 64-bit hash.
Source: Broder, On the resemblance and containment of documents, 1997; Leskovec et al., Mining of Massive Datasets, ch. 3.
"""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.compiled import compiled
from pipeline.text.characters import buffer_of, class_table, copy_visible

_MASK = (1 << 64) - 1
# splitmix64 (Steele et al., 2014): increment, and the two multipliers of its finalizer.
_GOLDEN, _MIX_1, _MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_U_GOLDEN, _U_MIX_1, _U_MIX_2 = np.uint64(_GOLDEN), np.uint64(_MIX_1), np.uint64(_MIX_2)
# Where the sequence of hash functions starts; any number would do, it only must never change.
_SEED = 0x6D696E616D6F746F
# Visible characters and shingles held at a time: 50 kB, which stay in the first two levels of a core's cache.
_BLOCK = 1 << 12
# Shingles whose hashes are compared in one sweep over the signature, so that it is loaded and stored a quarter as often.
_ABREAST = 4


def shingles(text: str, width: int) -> np.ndarray:
    """Hashes of all shingles of a text in order, with repeats: (shingles,) uint64; none for an invisible text."""
    return _shingles(np.frombuffer(text.encode(), np.uint8), class_table(), width)


def signature(shingles_N: np.ndarray, hashes: int) -> np.ndarray:
    """The least value of each of `hashes` hash functions over the shingles: (hashes,) uint32."""
    least = np.full(hashes, np.uint32(0xFFFFFFFF), np.uint32)
    _lower(shingles_N, *_functions(hashes), least)
    return least


def keys(texts: Sequence[str], width: int, bands: int, rows: int) -> np.ndarray:
    """Band keys of texts, as `shingles`, `signature` and `band_keys` one after the other give them.

    Args:
        width: characters of a shingle.
        bands, rows: the signature has bands * rows hashes.

    Returns: (bands, documents) uint64; an invisible text's keys are those of a signature without shingles.
    """
    data, bounds = buffer_of(texts)
    keys_DB = np.empty((len(texts), bands), np.uint64)
    _keys(data, bounds, class_table(), width, *_functions(bands * rows), keys_DB)
    return np.ascontiguousarray(keys_DB.T)


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
    """Functions x -> (factor * x + term) mod 2**32 of a shingle's upper 32 bits, from a splitmix64 sequence.

    Factors are odd, so every function is a permutation of the 32-bit numbers (Broder et al., Min-wise independent
    permutations, 1998, §linear permutations); 32 bits fit twice as many lanes of a vector register as 64.
    """
    drawn, state = [], _SEED
    for _ in range(2 * hashes):
        state = (state + _GOLDEN) & _MASK
        mixed = ((state ^ (state >> 30)) * _MIX_1) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * _MIX_2) & _MASK
        drawn.append((mixed ^ (mixed >> 31)) >> 32)
    return np.array(drawn[:hashes], np.uint32) | np.uint32(1), np.array(drawn[hashes:], np.uint32)


@compiled
def _mix(value: Any) -> Any:
    value = (value ^ (value >> np.uint64(30))) * _U_MIX_1
    value = (value ^ (value >> np.uint64(27))) * _U_MIX_2
    return value ^ (value >> np.uint64(31))


@compiled
def _shingles(data: Any, classes: Any, width: int) -> Any:
    points = np.empty(len(data), np.uint32)
    count, _ = copy_visible(data, 0, len(data), classes, points)
    out = np.empty(max(count - width + 1, 1 if count else 0), np.uint64)
    if count:
        _hash(points[:count], width, out)
    return out


@compiled
def _hash(points: Any, width: int, out: Any) -> None:
    """Hash all shingles of some code points, at least one; a polynomial rolls over them (Karp and Rabin 1987), then mixed."""
    width = min(width, len(points))
    value, leading = np.uint64(0), np.uint64(1)
    for point in points[:width]:
        value = value * _U_GOLDEN + np.uint64(point) + np.uint64(1)
        leading *= _U_GOLDEN
    out[0] = value
    for i in range(len(out) - 1):
        added = np.uint64(points[i + width]) - (np.uint64(points[i]) + np.uint64(1)) * leading + np.uint64(1)
        value = value * _U_GOLDEN + added
        out[i + 1] = value
    for i in range(len(out)):
        out[i] = _mix(out[i])


@compiled
def _lower(shingles_N: Any, factors: Any, terms: Any, least: Any) -> None:
    """Lower each hash function's least value to that of the shingles."""
    whole = len(shingles_N) - len(shingles_N) % _ABREAST
    for i in range(0, whole, _ABREAST):
        one, two = np.uint32(shingles_N[i] >> np.uint64(32)), np.uint32(shingles_N[i + 1] >> np.uint64(32))
        three, four = np.uint32(shingles_N[i + 2] >> np.uint64(32)), np.uint32(shingles_N[i + 3] >> np.uint64(32))
        for k in range(len(least)):
            factor, term = factors[k], terms[k]
            low = min(np.uint32(factor * one + term), np.uint32(factor * two + term))
            other = min(np.uint32(factor * three + term), np.uint32(factor * four + term))
            least[k] = min(least[k], low, other)
    for shingle in shingles_N[whole:]:
        for k in range(len(least)):
            least[k] = min(least[k], np.uint32(factors[k] * np.uint32(shingle >> np.uint64(32)) + terms[k]))


@compiled
def _keys(data: Any, bounds: Any, classes: Any, width: int, factors: Any, terms: Any, keys_DB: Any) -> None:
    bands = keys_DB.shape[1]
    points, hashes = np.empty(_BLOCK + width, np.uint32), np.empty(_BLOCK + width, np.uint64)
    least = np.empty(len(factors), np.uint32)
    for document in range(len(keys_DB)):
        offset, end, kept = bounds[document], bounds[document + 1], 0
        least[:] = np.uint32(0xFFFFFFFF)
        first = True
        while offset < end:
            read, offset = copy_visible(data, offset, end, classes, points[kept:])
            count = kept + read
            if read and (count >= width or first):  # a text shorter than a shingle is one
                result = hashes[: max(count - width + 1, 1)]
                _hash(points[:count], width, result)
                _lower(result, factors, terms, least)
                first = False
            kept = min(count, width - 1)
            for i in range(kept):  # shingles go on across blocks
                points[i] = points[count - kept + i]
        keys_DB[document] = _band_keys(least.reshape(bands, len(least) // bands))


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
