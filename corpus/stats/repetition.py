"""How much of a text repeats: the most frequent n-grams and those that was earlier, of characters or of words.

Definitions (Gopher, arXiv:2112.11446 §A1.1 and table A1), over a sequence of symbols: visible characters, or words:
top n-gram: count times the characters of the n-gram that occurs most often, the longest of those; 0 if it occurs once.
duplicate n-grams: characters covered by n-grams that begin a second or later time, each character counted once.
A sequence is measured in windows of WINDOW symbols, whose counts are added: scratch stays bounded whatever the text, and
a long novel is not taken for spam because its phrases meet again after 100 pages.

How: a first sweep without branches tells the few places that can matter: where the count of all n-grams with the same hash
is high enough for the top, or where some n-gram with the same hash was before or comes again. Only those places are then
compared exactly, symbol by symbol, through a table of places or along the chain of those with one hash. How far a place
agrees with an earlier one says at once which n-grams that begin there are duplicates.
"""

from typing import Any

import numpy as np

from pipeline.compiled import compiled
from pipeline.text.characters import copy_visible

TOP, DUPLICATE = (2, 3, 4), (5, 6, 7, 8, 9, 10)
REPETITION = (*(f"top_{n}gram_characters" for n in TOP), *(f"dup_{n}gram_characters" for n in DUPLICATE))
# Symbols measured together: the tables beside them (1 MB) fit a core's second-level cache; 99 % of web pages are shorter.
WINDOW = 1 << 14
_FIRST, _LAST = DUPLICATE[0], DUPLICATE[-1]
# Slots looked at before an n-gram counts as new: see `corpus.stats.text`.
_PROBES = 256
_PLACE, _TAG = np.uint32(WINDOW - 1), np.uint32(0x8000)
# Odd multipliers, from splitmix64: one for each symbol of an n-gram (Dietzfelbinger 1996), and 2**64 / golden ratio.
_A, _B, _C, _D, _E = (np.uint32(word) for word in (0x1CE4E5B9, 0x133111EB, 0x7F4A7C15, 0xBF58476D, 0x94D049BB))
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_WORDS = tuple(np.uint64(word) for word in (0xE220A8397B1DCDAF, 0x6E789E6AA1B965F5, 0x06C45D188009454F, 0xF88BB8A8724C81ED))
_SLOTS_A_WORD = 16  # of two bits: no n-gram, one, more
_CHAIN_SHIFT = np.uint32(16)  # chains go by other bits of a hash than the filter before them


@compiled
def count_repetition(data: Any, bounds: Any, classes: Any, rows: Any) -> None:
    """Add the columns REPETITION of characters to `rows`, (texts, len(REPETITION))."""
    longest = 0
    for document in range(len(rows)):
        longest = max(longest, bounds[document + 1] - bounds[document])
    room = min(WINDOW, longest)
    symbols, starts = np.empty(room, np.uint32), np.arange(room + 1)
    scratch = new_scratch(room)
    for document in range(len(rows)):
        offset, end = bounds[document], bounds[document + 1]
        while offset < end:
            count, offset = copy_visible(data, offset, end, classes, symbols)
            add_repetition(symbols[:count], starts, scratch, rows[document])


@compiled
def new_scratch(room: int) -> Any:
    """Arrays for windows of up to `room` symbols: the table of places and five numbers a symbol."""
    return np.empty(_power(2 * max(room, 1)), np.uint32), np.empty((5, room + 1), np.int32)


@compiled
def add_repetition(symbols: Any, starts: Any, scratch: Any, row: Any) -> None:
    """Add REPETITION of one window to `row`.

    Args:
        symbols: (N,) uint32, N <= WINDOW.
        starts: (N + 1,) or longer, characters before each symbol.
        scratch: `new_scratch` of N or more.
    """
    table, numbers = scratch
    hashes, bounds, counts, active = numbers[0], numbers[1], numbers[2], numbers[3]
    for width in range(TOP[0], min(TOP[-1], len(symbols)) + 1):
        _bound(symbols, width, hashes, bounds, table)
        row[width - TOP[0]] += _top(symbols, starts, width, table, counts, bounds[: len(symbols) - width + 1], active)
    _add_duplicates(symbols, starts, table, numbers, row)


@compiled
def _power(least: int) -> int:
    """The least power of two that is not less."""
    size = 2
    while size < least:
        size *= 2
    return size


@compiled
def _cleared(table: Any, entries: int) -> Any:
    """The beginning of the table with two slots for each entry, all free."""
    free = table[: _power(2 * entries)]
    free[:] = 0
    return free


@compiled
def _bound(symbols: Any, width: int, hashes: Any, bounds: Any, table: Any) -> None:
    """Bound the count of the n-gram of 2 to 4 symbols at each place by that of all with its hash."""
    indices = len(symbols) - width + 1
    free = _cleared(table, max(indices // 2, 1))
    last, third, fourth = len(free) - 1, min(width - 1, 2), width - 1
    c, d = _C if width > 2 else np.uint32(0), _D if width > 3 else np.uint32(0)
    for i in range(indices):
        sums = symbols[i] * _A + symbols[i + 1] * _B + symbols[i + third] * c + symbols[i + fourth] * d
        hashes[i] = (sums >> np.uint32(8)) & last
    for i in range(indices):
        free[hashes[i]] += np.uint32(1)
    for i in range(indices):
        bounds[i] = free[hashes[i]]


@compiled
def _top(symbols: Any, starts: Any, width: int, table: Any, counts: Any, bounds: Any, active: Any) -> int:
    """Characters of the top n-gram of `width`, whose counts `bounds` bounds.

    The first sweep counts at the places of the greatest bound; what it finds rules out most places for the second.
    """
    most, best, characters = 1, 2, 0
    for bound in bounds:
        most = max(most, bound)
    if most == 1:
        return 0
    for sweep in range(2):
        least, chosen = best if sweep else most, 0
        for i in range(len(bounds)):
            active[chosen] = i
            chosen += bounds[i] >= least
        free = _cleared(table, chosen)
        for i in active[:chosen]:
            mixed = _mixed(symbols, i, width)
            first = _first_place(mixed, i, width, free, symbols)
            counts[i] = 0
            counts[first] += 1
            if counts[first] >= best:
                size = starts[i + width] - starts[i]
                characters = max(characters, size) if counts[first] == best else size
                best = counts[first]
    return best * characters


@compiled
def _mixed(symbols: Any, place: int, width: int) -> Any:
    """A hash of up to 4 symbols (multilinear, Dietzfelbinger 1996; then spread over all bits)."""
    mixed = np.uint64(0)
    for k in range(width):
        mixed += np.uint64(symbols[place + k]) * _WORDS[k]
    return (mixed ^ (mixed >> np.uint64(32))) * _SPREAD


@compiled
def _first_place(mixed: Any, place: int, width: int, table: Any, symbols: Any) -> Any:
    """Where the n-gram of `width` symbols at `place` was first, or `place`, which is then noted as the first.

    Args:
        mixed: any hash of the n-gram.
    """
    last = len(table) - 1
    offset = np.int64(mixed >> np.uint64(40)) & last
    tag = np.uint32(mixed >> np.uint64(16)) & np.uint32(0x7FFF) | _TAG
    for _ in range(_PROBES):
        entry = table[offset]
        if entry == 0:
            table[offset] = tag << np.uint32(16) | np.uint32(place)
            return place
        if entry >> np.uint32(16) == tag:
            first, differ = np.int64(entry & _PLACE), np.uint32(0)
            for k in range(width):
                differ |= symbols[first + k] ^ symbols[place + k]
            if differ == 0:
                return first
        offset = (offset + 1) & last
    return place


@compiled
def _add_duplicates(symbols: Any, starts: Any, table: Any, numbers: Any, row: Any) -> None:
    """Add the characters that duplicate n-grams of 5 to 10 symbols cover."""
    hashes, earlier, active, lengths = numbers[0], numbers[1], numbers[3], numbers[4]
    chosen = _places_of_repeats(symbols, table, hashes, active)
    if chosen == 0:
        return
    _lengths_of_repeats(symbols, hashes, active[:chosen], table, earlier, lengths)
    covered = np.zeros(_LAST + 1, np.int64)
    for i in active[:chosen]:
        for width in range(_FIRST, lengths[i] + 1):
            row[len(TOP) + width - _FIRST] += starts[i + width] - starts[max(i, covered[width])]
            covered[width] = i + width


@compiled
def _lengths_of_repeats(symbols: Any, hashes: Any, active: Any, table: Any, earlier: Any, lengths: Any) -> None:
    """How many symbols at each place was somewhere earlier too, counted up to the longest n-gram.

    As LZ77's match finders do: places of one hash are a chain, latest first, and only what could agree further than the best
    is compared. A place after one that repeats is first compared with what is after that one's source.

    Args:
        active: the places whose 5-gram may be elsewhere too, ascending.
        earlier: scratch, at each active place the one before it in its chain, -1 for none.
        lengths: written at the active places.
    """
    heads = _cleared(table, len(active))
    last, before, source = np.uint32(len(heads) - 1), -2, 0
    for i in active:
        slot = np.uint32(hashes[i]) >> _CHAIN_SHIFT & last
        offset = np.int64(heads[slot]) - 1
        heads[slot], earlier[i] = i + 1, offset
        limit, longest, best = min(_LAST, len(symbols) - i), 0, 0
        if before == i - 1:
            longest, best = lengths[before] - 1, source + 1
            while longest < limit and symbols[best + longest] == symbols[i + longest]:
                longest += 1
        while offset >= 0 and longest < limit:
            if symbols[offset + longest] == symbols[i + longest]:
                length = 0
                while length < limit and symbols[offset + length] == symbols[i + length]:
                    length += 1
                if length > longest:
                    longest, best = length, offset
            offset = earlier[offset]
        lengths[i] = longest
        if longest >= _FIRST:
            before, source = i, best


@compiled
def _places_of_repeats(symbols: Any, table: Any, hashes: Any, active: Any) -> int:
    """Put into `active` the places whose 5-gram shares its hash with another; returns how many."""
    indices = len(symbols) - _FIRST + 1
    if indices < 2:
        return 0
    words = _cleared(table, indices // 2)  # as many words as places, or up to twice as many
    last = len(words) * _SLOTS_A_WORD - 1
    for i in range(indices):
        sums = symbols[i] * _A + symbols[i + 1] * _B + symbols[i + 2] * _C + symbols[i + 3] * _D + symbols[i + 4] * _E
        hashes[i] = sums
    for i in range(indices):
        slot = (hashes[i] >> 4) & last
        shift = np.uint32(2 * (slot % _SLOTS_A_WORD))
        word = words[slot // _SLOTS_A_WORD]
        words[slot // _SLOTS_A_WORD] = word | (np.uint32(1) | (word >> shift & np.uint32(1)) << np.uint32(1)) << shift
    chosen = 0
    for i in range(indices):
        slot = (hashes[i] >> 4) & last
        active[chosen] = i
        chosen += words[slot // _SLOTS_A_WORD] >> np.uint32(2 * (slot % _SLOTS_A_WORD) + 1) & np.uint32(1)
    return chosen
