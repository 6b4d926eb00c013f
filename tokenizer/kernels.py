"""SentencePiece's BPE merges as machine code: many texts in, their ids out. `tokenizer.compiled` makes the tables."""

import heapq
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np

# A symbol's number, and the id of what two of them make, fit so many bits; the rank of the merge stands above the id.
ID_BITS = 20
NO_MERGE = 1 << 62
# `first` of a character that no piece begins with: it is written as bytes.
AS_BYTES = -1
# Below this many characters the best of all adjacent pairs is looked for anew after every merge; a heap costs more then.
SHORT = 128
SPACE = 0x20
# 2**64 / golden ratio, whose product's upper bits choose a slot; a second odd number for the first of two characters.
_SPREAD, _OTHER = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
_HIGH = np.uint64(32)
_THREE, _SEVEN = np.uint64(3), np.uint64(7)


class Tables(NamedTuple):
    """A vocabulary as the kernel reads it; sizes of `keys`, `values` are a power of 2, of `near` too."""

    first: np.ndarray  # (0x110000,) int32: id of a character's own piece; AS_BYTES; -2 - id where nothing merges with it
    near: np.ndarray  # bits, uint8: may two characters stand side by side in a piece? No false "no"
    keys: np.ndarray  # (slots,) int64: left id << ID_BITS | right id, -1 where empty
    values: np.ndarray  # (slots,) int64: rank << ID_BITS | id of the union; the lowest rank merges first
    bytes: np.ndarray  # (256,) int32: ids of the byte pieces
    spaces: np.ndarray  # (longest run + 1,) int32: ids of runs of spaces, from 2 on


def compiled(function: Callable[..., Any]) -> Any:
    """Compile at the first call, once a machine where the package's folder can be written, once a process where it cannot."""
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # neither __pycache__ nor the user's cache folder can be written
        return numba.njit(nogil=True)(function)


@compiled
def slot_of(key: int, slots: int) -> Any:
    """Where the search for a pair of ids begins."""
    return np.int64(np.uint64(key) * _SPREAD >> _HIGH) & (slots - 1)


@compiled
def bit_of(left: int, right: int, size: int) -> Any:
    """Which bit of `near`, an array of `size` bytes, says whether two characters stand side by side in a piece."""
    mixed = np.uint64(left) * _OTHER + np.uint64(right) * _SPREAD
    return mixed >> _HIGH & np.uint64(8 * size - 1)


@compiled
def encode(codes: Any, bounds: Any, tables: Any, out: Any, ends: Any) -> int:
    """Write the ids of every text to `out`; returns how many.

    Args:
        codes: (characters of all texts,) uint32 code points.
        bounds: (texts + 1,) int64: where each text begins in `codes`, and the end.
        out: int32, room for four ids a character.
        ends: (texts,) int64: set to the place behind each text's last id.
    """
    first, near, keys, values, byte_ids, spaces = tables
    written = 0
    for text in range(len(ends)):
        begin, end = bounds[text], bounds[text + 1]
        written = _encode_text(codes, begin, end, first, near, keys, values, byte_ids, spaces, out, written)
        ends[text] = written
    return written


# One function, for calls that hand on arrays halved the speed: 27 instead of 48 MB a second.
@compiled
def _encode_text(  # noqa: PLR0912
    codes: Any,
    at: int,
    end: int,
    first: Any,
    near: Any,
    keys: Any,
    values: Any,
    byte_ids: Any,
    runs: Any,
    out: Any,
    written: int,
) -> int:
    """One text's ids; chains of up to SHORT characters are merged here, in arrays that nothing else can reach."""
    symbols, pairs = np.empty(SHORT, np.int64), np.empty(SHORT, np.int64)
    while at < end:
        code = codes[at]
        token = first[code]
        if token < 0 or code == SPACE:
            after, written = _alone(codes, at, end, token, byte_ids, runs, out, written)
            if after > at:
                at = after
                continue
        begin, count = at, 1
        symbols[0] = token
        at += 1
        while at < end and count < SHORT:
            following = codes[at]
            token = first[following]
            if token < 0 or not _joined(codes, at, end, code, following, near):
                break
            pairs[count - 1] = _union(keys, values, symbols[count - 1], token)
            symbols[count] = token
            count += 1
            code = following
            at += 1
        if count == SHORT:
            at, written = _encode_long(codes, begin, end, first, near, keys, values, out, written)
            continue
        while count > 1:
            best, rank = 0, pairs[0] >> ID_BITS
            for place in range(1, count - 1):
                if pairs[place] >> ID_BITS < rank:
                    best, rank = place, pairs[place] >> ID_BITS
            if pairs[best] == NO_MERGE:
                break
            symbols[best] = pairs[best] & ((1 << ID_BITS) - 1)
            count -= 1
            for place in range(best + 1, count):
                symbols[place] = symbols[place + 1]
            for place in range(best, count - 1):
                pairs[place] = pairs[place + 1]
            if best > 0:
                pairs[best - 1] = _union(keys, values, symbols[best - 1], symbols[best])
            if best < count - 1:
                pairs[best] = _union(keys, values, symbols[best], symbols[best + 1])
        for place in range(count):
            out[written + place] = symbols[place]
        written += count
    return written


@compiled
def _alone(codes: Any, at: int, end: int, token: int, byte_ids: Any, spaces: Any, out: Any, written: int) -> tuple[int, int]:
    """Write what merges with nothing: a run of spaces, a user-defined symbol, a character's bytes; returns where each ends.

    Nothing is written for a single space, which merges.
    """
    stop = at
    while stop < end and stop - at < len(spaces) - 1 and codes[stop] == SPACE:
        stop += 1
    if stop - at > 1:
        out[written] = spaces[stop - at]
        return stop, written + 1
    if token == AS_BYTES:
        return at + 1, _write_bytes(codes[at], byte_ids, out, written)
    if token < 0:
        out[written] = -2 - token
        return at + 1, written + 1
    return at, written


@compiled
def _write_bytes(code: int, ids: Any, out: Any, written: int) -> int:
    """The character in UTF-8, an id a byte."""
    if code < 0x80:
        out[written] = ids[code]
        return written + 1
    extra = 1 if code < 0x800 else 2 if code < 0x10000 else 3
    lead = 0xC0 if extra == 1 else 0xE0 if extra == 2 else 0xF0
    out[written] = ids[lead | code >> 6 * extra]
    for place in range(extra):
        out[written + 1 + place] = ids[0x80 | code >> 6 * (extra - 1 - place) & 0x3F]
    return written + 1 + extra


@compiled
def _joined(codes: Any, at: int, end: int, code: int, following: int, near: Any) -> bool:
    """Whether a piece could hold the character at `at` and the one before it; a run of spaces is a piece of its own."""
    if following == SPACE and at + 1 < end and codes[at + 1] == SPACE:
        return False
    bit = bit_of(code, following, len(near))
    return near[bit >> _THREE] >> (bit & _SEVEN) & 1 != 0


@compiled
def _encode_long(
    codes: Any, at: int, end: int, first: Any, near: Any, keys: Any, values: Any, out: Any, written: int
) -> tuple[int, int]:
    """Ids of the chain that begins at `at`, whatever its length; returns where it ends and how much is written."""
    stop = at + 1
    while stop < end and first[codes[stop]] >= 0 and _joined(codes, stop, end, codes[stop - 1], codes[stop], near):
        stop += 1
    count = stop - at
    symbols, pairs = np.empty(count, np.int64), np.empty(count, np.int64)
    for place in range(count):
        symbols[place] = first[codes[at + place]]
    for place in range(count - 1):
        pairs[place] = _union(keys, values, symbols[place], symbols[place + 1])
    count = _merge_many(symbols, pairs, count, keys, values)
    for place in range(count):
        out[written + place] = symbols[place]
    return stop, written + count


@compiled
def _union(keys: Any, values: Any, left: int, right: int) -> int:
    """Rank and id of what two symbols make, NO_MERGE if that is no piece."""
    key = left << ID_BITS | right
    slot = slot_of(key, len(keys))
    while keys[slot] != key:
        if keys[slot] == -1:
            return NO_MERGE
        slot = (slot + 1) & (len(keys) - 1)
    return values[slot]


@compiled
def _merge_many(symbols: Any, pairs: Any, count: int, keys: Any, values: Any) -> int:
    """Merge the pair of lowest rank, the left-most of equals, with a heap: count * log(count) steps at most."""
    before, after = np.arange(-1, count - 1), np.arange(1, count + 1)
    queue = [(pairs[place] >> ID_BITS, place) for place in range(count - 1) if pairs[place] != NO_MERGE]
    pairs[count - 1] = NO_MERGE
    heapq.heapify(queue)
    while len(queue) > 0:
        rank, place = heapq.heappop(queue)
        if pairs[place] >> ID_BITS != rank:
            continue  # what stood here has merged with something else; a pair of the same rank is as good
        right = after[place]
        symbols[place], symbols[right] = pairs[place] & ((1 << ID_BITS) - 1), -1
        pairs[right] = NO_MERGE
        after[place] = after[right]
        if after[place] < count:
            before[after[place]] = place
        for left in (before[place], place):
            if left >= 0:
                follower = after[left]
                pairs[left] = _union(keys, values, symbols[left], symbols[follower]) if follower < count else NO_MERGE
                if pairs[left] != NO_MERGE:
                    heapq.heappush(queue, (pairs[left] >> ID_BITS, left))
    kept = 0
    for place in range(count):
        if symbols[place] >= 0:
            symbols[kept] = symbols[place]
            kept += 1
    return kept
