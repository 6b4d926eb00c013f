"""SentencePiece's BPE as machine code: many texts in, their ids out. `tokenizer.fast.encoder` makes the tables.

No merge is made. Of all ways to cut a text into pieces one and only one has every two neighbours as BPE leaves them when
it merges just these two, and that one is BPE's: so pieces are taken from the left, the longest that fits its neighbour,
and given back where none does. Every place is given up at most once: time is linear in the text.

Source: github.com/github/rust-gems, crates/bpe (van Antwerpen and Neubeck 2024), here for the scores of SentencePiece.
"""

from typing import Any, NamedTuple

import numpy as np

from pipeline.compiled import compiled, inlined

NONE = -1
# Bits of an id, and of a node or a rank: node, id and value are one number.
ID_BITS, VALUE_BITS = 20, 21
_VALUES = (1 << VALUE_BITS) - 1
# `first` of a character that no piece begins with: it is written as bytes.
AS_BYTES = -1
NO_MERGE = np.int64(1 << 62)
SPACE = 0x20
# Pairs of neighbours of which it is remembered whether they fit: half a megabyte, which stays near the processor.
FIT_CACHE_SLOTS = 1 << 16
# 2**64 / golden ratio, whose product's upper bits choose a slot.
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_HIGH = np.uint64(32)


class Tables(NamedTuple):
    """A vocabulary as the kernel reads it; V pieces.

    `trie` and `unions` are hash tables of one number an entry, `(left << ID_BITS | right) << VALUE_BITS | value`, or NONE.
    A node of the trie that ends a piece has that piece's id, every other one a number from V on.
    """

    first: np.ndarray  # (0x110000,) int32: id of a character's own piece; AS_BYTES; -2 - id where nothing merges with it
    near: np.ndarray  # (2**n,) uint8, bits: do two characters stand side by side in a piece? No false "no"
    trie: np.ndarray  # (2**n,) int64: node, id of the next character -> node
    unions: np.ndarray  # (2**n,) int64: two ids -> rank of the piece they make; the lowest rank merges first
    ranks: np.ndarray  # (V,) int32: when a piece is made; -1 of a character
    lefts: np.ndarray  # (V,) int32: the two pieces that a piece is made of
    rights: np.ndarray  # (V,) int32
    prefixes: np.ndarray  # (V,) int32: the next shorter piece that a piece begins with, or NONE
    lengths: np.ndarray  # (V,) int32: characters
    bytes: np.ndarray  # (256,) int32: ids of the byte pieces
    spaces: np.ndarray  # (longest run + 1,) int32: ids of runs of spaces, from 2 on


@inlined
def slot_of(key: int, slots: int) -> Any:
    """Where the search for a key begins."""
    return np.int64(np.uint64(key) * _SPREAD >> _HIGH) & (slots - 1)


@inlined
def bit_of(left: int, right: int, size: int) -> Any:
    """Which bit of `near`, an array of `size` bytes, is for the two characters, given by the ids of their own pieces."""
    mixed = (np.uint64(left) << np.uint64(ID_BITS) | np.uint64(right)) * _SPREAD
    return mixed >> _HIGH & np.uint64(8 * size - 1)


@compiled
def encode(codes: Any, bounds: Any, tables: Any, fit_cache: Any, out: Any, ends: Any) -> int:
    """Write the ids of every text to `out`; returns how many.

    Args:
        codes: (characters of all texts,) uint32 code points.
        bounds: (texts + 1,) int64: where each text begins in `codes`, and the end.
        remembered: (REMEMBERED,) int64, NONE at first: pairs that fit or do not, for later calls with the same tables.
        out: int32, room for four ids a character.
        ends: (texts,) int64: set to the place after each text's last id.
    """
    longest = 0
    for text in range(len(ends)):
        longest = max(longest, bounds[text + 1] - bounds[text])
    # The character after the last one ends every piece.
    characters, free = np.full(longest + 1, NONE, np.int32), np.ones(longest + 1, np.uint8)
    joined = np.empty(longest + 1, np.uint8)
    written = 0
    for text in range(len(ends)):
        at, size = 0, bounds[text + 1] - bounds[text]
        part = codes[bounds[text] : bounds[text + 1]]
        _classify(part, tables, characters, joined)
        while at < size:
            if characters[at] < 0:
                at, written = _write_alone(part, at, tables, out, written)
            else:
                at, written = _encode_chain(characters, joined, at, tables, free, fit_cache, out, written)
        ends[text] = written
    return written


@inlined
def _classify(codes: Any, tables: Any, characters: Any, joined: Any) -> None:
    """Ids of the characters' own pieces, NONE for what merges with nothing: runs of spaces, user-defined symbols, bytes."""
    run = 0
    for place in range(len(codes)):
        code = codes[place]
        token = tables.first[code]
        characters[place] = token if token >= 0 else NONE
        run = run + 1 if code == SPACE else 0
        if run > 1:
            characters[place - 1] = characters[place] = NONE
            if run == len(tables.spaces) - 1:
                run = 0
    characters[len(codes)] = NONE
    for place in range(len(codes)):
        joined[place] = 0
        if characters[place] >= 0 and characters[place + 1] >= 0:
            bit = bit_of(characters[place], characters[place + 1], len(tables.near))
            joined[place] = tables.near[bit >> np.uint64(3)] >> (bit & np.uint64(7)) & 1


@inlined
def _write_alone(codes: Any, at: int, tables: Any, out: Any, written: int) -> tuple[int, int]:
    """Write a run of spaces, a user-defined symbol or a character's bytes; returns where each ends."""
    if codes[at] == SPACE:
        stop = at
        while stop < len(codes) and stop - at < len(tables.spaces) - 1 and codes[stop] == SPACE:
            stop += 1
        out[written] = tables.spaces[stop - at]
        return stop, written + 1
    token = tables.first[codes[at]]
    if token == AS_BYTES:
        return at + 1, _write_bytes(codes[at], tables.bytes, out, written)
    out[written] = -2 - token
    return at + 1, written + 1


@inlined
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


@inlined
def _encode_chain(
    characters: Any, joined: Any, at: int, tables: Any, free: Any, fit_cache: Any, out: Any, written: int
) -> tuple[int, int]:
    """Write the ids of the characters from `at` to the next NONE; returns where both end.

    Args:
        free: uint8, 1 at every place; 0 is written where no piece that fits begins, and put right at the end.
    """
    trie, prefixes, lengths = tables.trie, tables.prefixes, tables.lengths
    begin = at
    given_up = False
    while characters[at] >= 0:
        token = _longest(trie, len(lengths), characters, joined, at)
        while True:
            end = at + lengths[token]
            if free[end] and (at == begin or not joined[at - 1] or _fit(out[written - 1], token, tables, fit_cache)):
                out[written] = token
                written += 1
                at = end
                break
            token = prefixes[token]
            if token == NONE:
                free[at], given_up = 0, True
                written -= 1
                token = out[written]
                at -= lengths[token]
    if given_up:
        free[begin : at + 1] = 1
    return at, written


@inlined
def _longest(trie: Any, pieces: int, characters: Any, joined: Any, at: int) -> int:
    """The longest piece that is at `at`."""
    node: Any = np.int64(characters[at])
    token = node
    while joined[at]:
        at += 1
        node = _find(trie, node << ID_BITS | characters[at], NONE)
        if node == NONE:
            break
        if node < pieces:
            token = node
    return token


@inlined
def _find(table: Any, key: int, missing: int) -> int:
    slot = slot_of(key, len(table))
    while True:
        entry = table[slot]
        if entry >> VALUE_BITS == key:
            return entry & _VALUES
        if entry == NONE:
            return missing
        slot = (slot + 1) & (len(table) - 1)


@inlined
def _fit(left: int, right: int, tables: Any, fit_cache: Any) -> bool:
    """Whether BPE leaves the two as they are, side by side; answers are remembered."""
    key = np.int64(left) << ID_BITS | right
    slot = slot_of(key, len(fit_cache))
    known = fit_cache[slot]
    if known >> 1 == key:
        return known & 1 != 0
    answer = _are_final(left, right, tables)
    fit_cache[slot] = key << 1 | answer
    return answer


@inlined
def _are_final(left: int, right: int, tables: Any) -> bool:
    """Take the two apart again, the last merge first: no merge across the edge may have been due before.

    Of equal ranks the left-most is due first.
    """
    unions, ranks = tables.unions, tables.ranks
    one: Any = np.int64(left)
    other: Any = np.int64(right)
    limit: Any = NO_MERGE
    while True:
        if _find(unions, one << ID_BITS | other, NO_MERGE) < limit:
            return False
        if ranks[one] > ranks[other]:
            limit = np.int64(ranks[one])
            one = np.int64(tables.rights[one])
        elif ranks[other] >= 0:
            limit = np.int64(ranks[other]) + 1
            other = np.int64(tables.lefts[other])
        else:
            return True
