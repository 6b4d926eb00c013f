"""Suffix-array search as machine code; `search.exact.suffix_array` calls it.

S suffixes, F fences, n bytes of text. A query never holds SEPARATOR, which ends every document: a comparison stops there,
so that none runs over the end of the text.

Source: Manber and Myers 1993, "Suffix arrays", §2 (bytes that both bounds share with the query are not read again).
"""

from typing import Any, NamedTuple

import numpy as np

from pipeline.compiled import compiled, inlined

# Byte 0xFF, which UTF-8 never has, is after every document: no match crosses it.
SEPARATOR = 0xFF
# A binary search over the fences, which stay in memory, and one over 256 suffixes: 14 cold 4-KiB pages a query instead
# of 68 without fences, for 3 % of the text's size (measured on 40 MB of Aozora Bunko).
FENCE_EVERY, FENCE_BYTES = 256, 24
_CONTINUATION, _TOP_TWO_BITS = 0x80, 0xC0
_HIGH_SHIFT = 32
_KEY_BYTES = 8


class Arrays(NamedTuple):
    """One shard as the kernels read it."""

    text: np.ndarray  # (n,) uint8
    low: np.ndarray  # (S,) uint32: where each suffix begins, in the order of suffixes
    high: np.ndarray  # (S,) uint8: bits from the 32nd on; (0,) where no offset needs them
    fences: np.ndarray  # (F, FENCE_BYTES) uint8: the first bytes of every FENCE_EVERY-th suffix
    keys: np.ndarray  # (F,) uint64: the first _KEY_BYTES of each fence, big-endian: compared at once


@inlined
def read_offset(arrays: Any, rank: int) -> Any:
    """Where in the text the suffix of a rank begins."""
    offset = np.int64(arrays.low[rank])
    if len(arrays.high):
        offset |= np.int64(arrays.high[rank]) << _HIGH_SHIFT
    return offset


@inlined
def _count_shared(text: Any, offset: int, query: Any, begin: int, end: int, known: int = 0) -> Any:
    """Bytes that the text from `offset` on shares with query[begin:end]; the first `known` are known to be shared."""
    shared = known
    while begin + shared < end and text[offset + shared] == query[begin + shared]:
        shared += 1
    return shared


@inlined
def _count_fences_before(arrays: Any, query: Any, begin: int, end: int) -> Any:
    """How many fences are before the first bytes of query[begin:end]."""
    key = np.uint64(0)
    for index in range(begin, begin + _KEY_BYTES):
        key = key << np.uint64(8) | np.uint64(query[index] if index < end else 0)
    first, last = 0, len(arrays.keys)
    while first < last:
        middle = (first + last) >> 1
        if arrays.keys[middle] < key:
            first = middle + 1
        else:
            last = middle
    if end - begin <= _KEY_BYTES:
        return first
    return _count_fences_from(arrays.fences, query, begin, end, first=first, equal_too=False)


@inlined
def _count_fences_from(fences: Any, query: Any, begin: int, end: int, first: int, equal_too: bool) -> Any:
    """As `_fences_before`, or with equal_too also those that begin with the query, where it is `first` or little more."""
    size, last, step = min(end - begin, FENCE_BYTES), len(fences), 1
    # Steps double until one is too far; then the rest is halved.
    while first < last:
        middle = first + step - 1 if step and first + step <= last else (first + last) >> 1
        offset = 0
        while offset < size and fences[middle, offset] == query[begin + offset]:
            offset += 1
        before = equal_too if offset == size else fences[middle, offset] < query[begin + offset]
        if before:
            first, step = middle + 1, 2 * step
        else:
            last, step = middle, 0
    return first


@inlined
def _count_suffixes_before(arrays: Any, query: Any, begin: int, end: int, first: int, last: int, equal_too: bool) -> Any:
    """How many suffixes are before query[begin:end] (equal_too: or begin with it), where it is in [first, last]."""
    shared_first, shared_last = 0, 0
    while first < last:
        middle = (first + last) >> 1
        offset = read_offset(arrays, middle)
        shared = _count_shared(arrays.text, offset, query, begin, end, known=min(shared_first, shared_last))
        before = equal_too if shared == end - begin else arrays.text[offset + shared] < query[begin + shared]
        if before:
            first, shared_first = middle + 1, shared
        else:
            last, shared_last = middle, shared
    return first


def make_fence_keys(fences: np.ndarray) -> np.ndarray:
    """`Arrays.keys` of `Arrays.fences`."""
    return np.ascontiguousarray(fences[:, :_KEY_BYTES]).view(">u8").ravel().astype(np.uint64)


@inlined
def _find_block(arrays: Any, query: Any, begin: int, end: int) -> Any:
    """Narrow the search by the fences alone.

    Returns: (first, last, until, fence): the first suffix that is not before query[begin:end] has a rank in [first, last];
        suffixes from rank `until` on do not begin with the query; `fence` is the rank of the last fence that begins with
        it or is before all that do.
    """
    before = _count_fences_before(arrays, query, begin, end)
    after = _count_fences_from(arrays.fences, query, begin, end, first=before, equal_too=True)
    until = min(after * FENCE_EVERY, len(arrays.low))
    # A fence that begins with the whole query is not before it; of a longer one, fences know the first bytes only.
    last = min(before * FENCE_EVERY, until) if end - begin <= FENCE_BYTES else until
    return max(before - 1, 0) * FENCE_EVERY, last, until, max(after - 1, 0) * FENCE_EVERY


@inlined
def _find_end(arrays: Any, query: Any, begin: int, end: int, first: int, last: int, fence: int) -> Any:
    """One more than the last rank that begins with query[begin:end], `first` being the first; few steps where it is rare."""
    if end - begin <= FENCE_BYTES and fence > first:
        first = fence  # the fence itself begins with the query, or is before all that do
    else:
        step = 1
        while first + step < last:
            offset = read_offset(arrays, first + step - 1)
            if _count_shared(arrays.text, offset, query, begin, end) < end - begin:
                last = first + step - 1
                break
            first += step
            step *= 2
    return _count_suffixes_before(arrays, query, begin, end, first=first, last=last, equal_too=True)


@compiled
def keep_character_starts(text: Any, offsets: Any) -> Any:
    """Those of the offsets at which a character begins, in their order; at the end of a document none does."""
    matches = np.empty_like(offsets)
    count = 0
    for offset in offsets:
        matches[count] = offset
        byte = text[offset]
        count += byte & _TOP_TWO_BITS != _CONTINUATION and byte != SEPARATOR
    return matches[:count]


@compiled
def find_ranks(text: Any, low: Any, high: Any, fences: Any, keys: Any, query: Any) -> Any:
    """Ranks [first, last) of the suffixes that begin with the query, bytes; a named tuple as argument would take 1 µs more."""
    arrays = Arrays(text, low, high, fences, keys)
    begin, end, until, fence = _find_block(arrays, query, 0, len(query))
    first = _count_suffixes_before(arrays, query, 0, len(query), first=begin, last=end, equal_too=False)
    return first, _find_end(arrays, query, 0, len(query), first=first, last=until, fence=fence)


@inlined
def is_in_ranges(number: int, ranges: Any) -> Any:
    """Whether a number is in one of the (R, 2) ranges [begin, end), ascending and disjoint."""
    first, last = 0, len(ranges)
    while first < last:
        middle = (first + last) >> 1
        if ranges[middle, 1] <= number:
            first = middle + 1
        else:
            last = middle
    return first < len(ranges) and ranges[first, 0] <= number


@inlined
def _find_longest(arrays: Any, removed: Any, query: Any, begin: int, end: int) -> Any:
    """Bytes of the longest prefix of query[begin:end] that is in the text outside `removed`, in whole characters."""
    low, high, _, _ = _find_block(arrays, query, begin, end)
    first = _count_suffixes_before(arrays, query, begin, end, first=low, last=high, equal_too=False)
    best = 0
    # No suffix shares more with the query than its nearest neighbours in the order.
    rank = first - 1
    while rank >= 0 and is_in_ranges(read_offset(arrays, rank), removed):
        rank -= 1
    if rank >= 0:
        best = _count_shared(arrays.text, read_offset(arrays, rank), query, begin, end)
    rank = first
    while rank < len(arrays.low) and is_in_ranges(read_offset(arrays, rank), removed):
        rank += 1
    if rank < len(arrays.low):
        best = max(best, _count_shared(arrays.text, read_offset(arrays, rank), query, begin, end))
    while begin + best < end and best > 0 and query[begin + best] & _TOP_TWO_BITS == _CONTINUATION:
        best -= 1
    return best


@compiled
def extend_matches(arrays: Any, removed: Any, query: Any, begins: Any, lengths: Any) -> None:
    """Raise `lengths` to the longest match of the query from each of its characters, where that of another shard is shorter.

    Args:
        removed: (R, 2) int64 ranges of the text that do not count.
        begins: (m,) int64 offsets in the query, ascending.
        lengths: (m,) int64 bytes.
    """
    for number in range(len(begins)):
        result = _find_longest(arrays, removed, query, begins[number], len(query))
        lengths[number] = max(lengths[number], result)


@inlined
def find_first_above(numbers: Any, first: int, last: int, most: int) -> Any:
    """Index in [first, last] of the first of ascending numbers that is above `most`; `last` if none is."""
    while first < last:
        middle = (first + last) >> 1
        if numbers[middle] <= most:
            first = middle + 1
        else:
            last = middle
    return first


@compiled
def count_up_to(numbers: Any, most: int) -> int:
    """How many of ascending numbers are `most` or less."""
    return find_first_above(numbers, 0, len(numbers), most)


@inlined
def decode_character(text: Any, offset: int) -> Any:
    """The code point that begins at an offset of valid UTF-8, and how many bytes it has."""
    lead = np.int64(text[offset])
    if lead < 0x80:
        return lead, 1
    second = np.int64(text[offset + 1]) & 0x3F
    if lead < 0xE0:
        return (lead & 0x1F) << 6 | second, 2
    third = np.int64(text[offset + 2]) & 0x3F
    if lead < 0xF0:
        return (lead & 0x0F) << 12 | second << 6 | third, 3
    return (lead & 0x07) << 18 | second << 12 | third << 6 | np.int64(text[offset + 3]) & 0x3F, 4


@compiled
def read_offsets(arrays: Any, first: int, last: int) -> Any:
    """Offsets of the suffixes of ranks [first, last), (last - first,) int64, in the order of ranks."""
    matches = np.empty(last - first, np.int64)
    for rank in range(first, last):
        matches[rank - first] = read_offset(arrays, rank)
    return matches


@compiled
def count_kept(arrays: Any, removed: Any, first: int, last: int) -> Any:
    """How many of the suffixes of ranks [first, last) begin outside `removed`."""
    count = 0
    for rank in range(first, last):
        count += not is_in_ranges(read_offset(arrays, rank), removed)
    return count


@compiled
def find_next_characters(arrays: Any, first: int, last: int, size: int) -> Any:
    """Ranks in [first, last) at which the character `size` bytes after the suffix's beginning changes.

    Returns: (distinct characters,) int64, `first` among them; the end of a document counts as a character.
    """
    text = arrays.text
    matches = []
    while first < last:
        matches.append(np.int64(first))
        here = read_offset(arrays, first) + size
        width = _character_bytes(text[here])
        low, high = first + 1, last
        while low < high:
            middle = (low + high) >> 1
            there = read_offset(arrays, middle) + size
            if _count_shared(text, there, text, here, here + width) == width:
                low = middle + 1
            else:
                high = middle
        first = low
    return np.array(matches, np.int64)


@inlined
def _character_bytes(lead: int) -> Any:
    """Bytes of the UTF-8 character that begins with `lead`, 1 for SEPARATOR."""
    if lead < 0xC0 or lead == SEPARATOR:
        return 1
    return 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
