"""Ranking's loops as machine code; `search.bm25.rank` calls them.

Shapes: P passages of a shard, G distinct n-grams of a query, C candidates, T slots of an open-addressed table.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.compiled import compiled, inlined
from search.exact.kernels import SEPARATOR, decode_character

# Slots of a table for each entry, at least: nearly every character of a passage misses, and a miss then ends at its first slot.
SLOTS_PER_ENTRY = 4
# n-grams are numbers: three character ids of 20 bits each, 0 for a character that is not in the query.
ID_BITS = 20
_MASK = (1 << 2 * ID_BITS) - 1
_SECOND = (1 << ID_BITS) - 1
EMPTY = -1
# 2**64 divided by the golden ratio, as a signed number: Knuth, TAOCP 3, §6.4, multiplicative hashing.
_GOLDEN = np.int64(-7046029254386353131)


@inlined
def _find_slot(key: Any, bits: int) -> Any:
    return np.int64(np.uint64(key * _GOLDEN) >> np.uint64(64 - bits))


def make_table(keys: Sequence[int], values: Sequence[int]) -> tuple[np.ndarray, np.ndarray, int]:
    """Make an open-addressed table of distinct keys of at most 60 bits.

    Returns: (T,) int64 keys, EMPTY where there is none, (T,) int32 values, and log2 T.
    """
    bits = max(SLOTS_PER_ENTRY * len(keys) - 1, 1).bit_length()
    return *_fill_table(np.array(keys, np.int64), np.array(values, np.int32), bits), bits


@compiled
def _fill_table(keys: Any, values: Any, bits: int) -> Any:
    slots = np.full(1 << bits, EMPTY, np.int64)
    results = np.zeros(1 << bits, np.int32)
    for number in range(len(keys)):
        slot = _find_slot(keys[number], bits)
        while slots[slot] != EMPTY:
            slot = (slot + 1) & (len(slots) - 1)
        slots[slot] = keys[number]
        results[slot] = values[number]
    return slots, results


@inlined
def look_up(slots: Any, values: Any, bits: int, key: Any, missing: int) -> Any:
    """Value of a key in what `make_table` made, `missing` where it has none."""
    slot = _find_slot(key, bits)
    while slots[slot] != EMPTY and slots[slot] != key:
        slot = (slot + 1) & (len(slots) - 1)
    return values[slot] if slots[slot] == key else missing


@compiled
def nominate_passages(offsets: Any, size: int, begins: Any, weight: float, sums: Any) -> Any:
    """Add a weight once to every passage in which an n-gram occurs.

    Args:
        offsets: (n,) int64, where the n-gram occurs in the text, ascending.
        size: bytes of the n-gram.
        begins: (P,) where passages begin, ascending.
        weight: above 0.
        sums: (P,) float64, added to.
    Returns: the passages whose sum was 0 before, (m,) int64.
    """
    fresh = np.empty(min(len(offsets), len(begins)), np.int64)
    count, last = 0, -1
    for number in range(len(offsets)):
        offset = offsets[number]
        # Steps double from the last passage on: where there are many occurrences, the next one is near.
        first, step = max(last, 0), 1
        while first + step < len(begins) and np.int64(begins[first + step]) <= offset:
            first += step
            step *= 2
        end = min(first + step, len(begins))
        while end - first > 1:
            middle = (first + end) >> 1
            if np.int64(begins[middle]) <= offset:
                first = middle
            else:
                end = middle
        if first + 1 < len(begins) and offset + size > np.int64(begins[first + 1]):
            continue  # it ends in the next passage
        if first != last:
            if sums[first] == 0:
                fresh[count] = first
                count += 1
            sums[first] += weight
            last = first
    return fresh[:count]


@inlined
def _count_grams(shard: Any, passage: int, characters: Any, grams: Any, counts: Any) -> Any:
    """Count a query's n-grams in one passage, which ends at the next one or at SEPARATOR.

    Args:
        shard, characters, grams: as for `score_passages`.
        counts: (G,) int64, overwritten.
    Returns: characters of the passage.
    """
    text, begins = shard
    points, ids, point_bits = characters
    keys, numbers, key_bits = grams
    counts[:] = 0
    offset, end = np.int64(begins[passage]), len(text)
    if passage + 1 < len(begins):
        end = np.int64(begins[passage + 1])
    length, run = 0, np.int64(0)
    while offset < end and text[offset] != SEPARATOR:
        point, width = decode_character(text, offset)
        offset += width
        length += 1
        result = np.int64(look_up(points, ids, point_bits, point, 0))
        run = (run & _MASK) << ID_BITS | result
        if not result:
            continue
        number = look_up(keys, numbers, key_bits, result, EMPTY)
        if number >= 0:
            counts[number] += 1
        if run >> ID_BITS & _SECOND:
            number = look_up(keys, numbers, key_bits, run & _MASK, EMPTY)
            if number >= 0:
                counts[number] += 1
            if run >> 2 * ID_BITS:
                number = look_up(keys, numbers, key_bits, run, EMPTY)
                if number >= 0:
                    counts[number] += 1
    return length


@compiled
def score_passages(shard: Any, passages: Any, characters: Any, grams: Any, weights: Any, constants: Any) -> Any:
    """BM25 of some passages.

    Args:
        shard: (text, begins): (n,) uint8, UTF-8 with SEPARATOR after every document; (P,) where passages begin in it.
        passages: (C,) which ones.
        characters: `make_table` of code points and their ids, 1 and up, all spellings of a character with the same one.
        grams: `make_table` of the n-grams, each a number of ids, and which of the G it is.
        weights: (G,) float64.
        constants: (k1, b, mean characters of a passage).
    Returns: (C,) float64.
    """
    saturation, length, mean = constants
    scores = np.zeros(len(passages))
    counts = np.zeros(len(weights), np.int64)
    for number in range(len(passages)):
        size = _count_grams(shard, passages[number], characters, grams, counts)
        damped = saturation * (1 - length + length * size / mean)
        for gram in range(len(weights)):
            if counts[gram]:
                scores[number] += weights[gram] * counts[gram] * (saturation + 1) / (counts[gram] + damped)
    return scores
