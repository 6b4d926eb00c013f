"""Hits of word lists in texts, counted as regular expressions with one alternation a list would find them.

All lists share a trie over code points. At each character that may open a word the trie is walked once; of the words of a
list that are there the first in the list's order is the hit, and the list goes on after it, as `re.findall` does.
English lists have a trie of their own, over letters without case, which is walked after each space.
Source: Aho and Corasick 1975 for the trie; filters of pairs and triples of characters are in for the failure links,
since the few places that pass them are cheaper to walk than a link a character is to follow.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from pipeline.compiled import compiled
from pipeline.text.characters import decode, is_visible

_FILTER_BITS = 16  # pairs of 1,700 words set 1,000 of 65,536 bits: 8 kB, which stay in the first-level cache
_SPREAD, _PAIR = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)  # as in `corpus.stats.repetition`
_OPENS, _ALONE = 1, 2  # of a character: opens a word; is a word
_ROOT, _NOWHERE = 0, -1
_NO_RANK = np.iinfo(np.int32).max
_SPACE, _LINE_FEED, _COMMA, _FULL_STOP = 0x20, 0x0A, 0x2C, 0x2E
_LEAD = 0xE3  # first of the three bytes of every katakana
# Characters that re.IGNORECASE takes for ASCII letters, beside the letters themselves (CPython's Lib/re/_casefix.py).
_CASE_FIX = {0x130: 0x69, 0x131: 0x69, 0x17F: 0x73, 0x212A: 0x6B}  # İ ı ſ and the Kelvin sign
_DOTTED, _DOTLESS, _LONG_S, _KELVIN = _CASE_FIX


class Trie(NamedTuple):
    """Words of some lists. Shapes: P code points of the Basic Multilingual Plane, E slots of edges, N nodes, L lists."""

    opens: np.ndarray  # uint8, _OPENS and _ALONE
    pairs: np.ndarray  # (2**_FILTER_BITS / 64,) uint64, a bit for each first two characters of a word
    shorts: np.ndarray  # likewise, for each word of two characters
    triples: np.ndarray  # likewise, for each first three characters of a word
    edges: np.ndarray  # uint64, node << 21 | code point + 1, open addressing; 0 for free
    targets: np.ndarray  # int32
    ranks: np.ndarray  # int32, the first place in each list of the word that ends at a node; _NO_RANK: none does
    ends: np.ndarray  # (N,) bool, whether any does
    alone: np.ndarray  # (N, L) bool, whether that word must not be beside katakana


def build(lists: Sequence[Sequence[str]], alone: Sequence[Sequence[bool]], fold: bool) -> Trie:
    """The trie of some lists, whose words are in the order in which they are tried.

    Args:
        alone: for each list and word, whether the word is hit only where no katakana is beside it.
        fold: whether the trie holds the words in lower case.

    Raises: ValueError on an empty word, which a regular expression would find between any two characters, and, with
        `fold`, on a word with letters beyond ASCII, of which only some pairs of cases are known here.
    """
    nodes: list[dict[int, int]] = [{}]
    ends: dict[tuple[int, int], int] = {}
    opens, filters = np.zeros(0x10000, np.uint8), np.zeros((3, 1 << _FILTER_BITS), bool)
    for index, words in enumerate(lists):
        for rank, word in enumerate(words):
            if not word or (fold and not word.isascii()):
                raise ValueError(f"word {rank + 1} of list {index + 1}: expected {'ASCII' if fold else 'a word'}, got {word!r}")
            points, node = [ord(character) for character in (word.lower() if fold else word)], _ROOT
            opens[min(points[0], 0xFFFF)] |= _ALONE if len(points) == 1 else _OPENS
            if len(points) > 1:
                pair = _pair(points[0], points[1])
                filters[0, pair] = True
                filters[(1, pair) if len(points) == 2 else (2, _pair(pair, points[2]))] = True
            for point in points:
                if point not in nodes[node]:
                    nodes[node][point] = len(nodes)
                    nodes.append({})
                node = nodes[node][point]
            ends.setdefault((node, index), rank)
    edges = np.zeros(4 << len(nodes).bit_length(), np.uint64)
    targets = np.zeros(len(edges), np.int32)
    for node, out in enumerate(nodes):
        for point, target in out.items():
            _add_edge(edges, targets, node, point, target)
    ranks = np.full((len(nodes), max(len(lists), 1)), _NO_RANK, np.int32)
    for offset, rank in ends.items():
        ranks[offset] = rank
    pairs, shorts, triples = np.packbits(filters, axis=1, bitorder="little").view(np.uint64)
    flags = np.zeros(ranks.shape, bool)
    for (node, index), rank in ends.items():
        flags[node, index] = alone[index][rank]
    return Trie(
        opens=opens,
        pairs=pairs,
        shorts=shorts,
        triples=triples,
        edges=edges,
        targets=targets,
        ranks=ranks,
        ends=(ranks != _NO_RANK).any(axis=1),
        alone=flags,
    )


@compiled
def _pair(one: int, other: int) -> Any:
    mixed = np.uint64(one) * _PAIR + np.uint64(other) * _SPREAD
    return np.int64(mixed >> np.uint64(64 - _FILTER_BITS))


@compiled
def _is_in(bits: Any, hashed: int) -> Any:
    """1 or 0: the bit of a filter."""
    return np.uint8(bits[hashed >> 6] >> np.uint64(hashed & 63) & np.uint64(1))


@compiled
def _edge(node: int, point: int) -> Any:
    return np.uint64(node) << np.uint64(21) | np.uint64(point + 1)


@compiled
def _add_edge(edges: Any, targets: Any, node: int, point: int, target: int) -> None:
    edge, last = _edge(node, point), len(edges) - 1
    offset = np.int64((edge * _SPREAD) >> np.uint64(32)) & last
    while edges[offset] != 0:
        offset = (offset + 1) & last
    edges[offset], targets[offset] = edge, target


@compiled
def _step(trie: Any, node: int, point: int) -> int:
    """The node after `node` by a code point, or _NOWHERE."""
    edge, last = _edge(node, point), len(trie.edges) - 1
    offset = np.int64((edge * _SPREAD) >> np.uint64(32)) & last
    while trie.edges[offset] != 0:
        if trie.edges[offset] == edge:
            return trie.targets[offset]
        offset = (offset + 1) & last
    return _NOWHERE


@compiled
def count_hits(data: Any, bounds: Any, trie: Any, rows: Any) -> None:
    """Add the hits of each list in each text to `rows`, (texts, lists)."""
    behind, ranks, ends = _cursors(rows.shape[1])
    for document in range(len(rows)):
        behind[:] = bounds[document]
        _count_hits(data, bounds[document], bounds[document + 1], trie, behind, ranks, ends, rows[document])


@compiled
def _cursors(lists: int) -> Any:
    """For each list: the byte after its latest hit, and rank and end of the best word at hand."""
    return np.empty(lists, np.int64), np.empty(lists, np.int32), np.empty(lists, np.int64)


@compiled
def _count_hits(data: Any, begin: int, end: int, trie: Any, behind: Any, ranks: Any, ends: Any, row: Any) -> None:
    offset, opens = begin, 0
    before, before_at = 0, begin
    while offset < end:
        point, after = decode(data, offset)
        pair = _pair(before, point)
        # one branch, almost never taken: whether a character opens a word is a coin's toss that no processor predicts
        if opens & _ALONE | opens & _is_in(trie.pairs, pair):
            may = opens & _ALONE | _is_in(trie.shorts, pair)
            if may or (after < end and _is_in(trie.triples, _pair(pair, decode(data, after)[0]))):
                _hit(data, begin, before_at, end, trie, behind, ranks, ends, row)
        opens = trie.opens[min(point, 0xFFFF)]
        before, before_at, offset = point, offset, after
    if opens & _ALONE:
        _hit(data, begin, before_at, end, trie, behind, ranks, ends, row)


@compiled
def _hit(data: Any, start: int, begin: int, end: int, trie: Any, behind: Any, ranks: Any, ends: Any, row: Any) -> None:
    """Count, for each list that is free again, the first of its words at byte `begin` of the text from `start` on."""
    ranks[:] = _NO_RANK
    node, offset = _ROOT, begin
    while offset < end:
        point, offset = decode(data, offset)
        node = _step(trie, node, point)
        if node == _NOWHERE:
            break
        if trie.ends[node]:
            for index in range(len(ranks)):
                rank = trie.ranks[node, index]
                if rank < ranks[index] and not (trie.alone[node, index] and _beside_katakana(data, start, begin, offset, end)):
                    ranks[index], ends[index] = rank, offset
    for index in range(len(ranks)):
        if ranks[index] != _NO_RANK and behind[index] <= begin:
            row[index] += 1
            behind[index] = ends[index]


@compiled
def _beside_katakana(data: Any, start: int, begin: int, behind: int, end: int) -> bool:
    """Whether [ァ-ヴー] is before byte `begin` or at byte `after` of the text from `start` to `end`."""
    if behind < end and _is_katakana(decode(data, behind)[0]):
        return True
    return begin >= start + 3 and data[begin - 3] == _LEAD and _is_katakana(decode(data, begin - 3)[0])


@compiled
def _is_katakana(point: int) -> bool:
    return 0x30A1 <= point <= 0x30F4 or point == 0x30FC  # ァ-ヴ ー


@compiled
def count_english(data: Any, bounds: Any, trie: Any, rows: Any) -> None:
    """Add the hits of each English list in each text to `rows`, (texts, lists): (?:^| )(words)(?:( |,|\\.)|$), any case."""
    behind, ranks, ends = _cursors(rows.shape[1])
    for document in range(len(rows)):
        begin, end = bounds[document], bounds[document + 1]
        behind[:] = begin
        if begin < end:
            _hit_english(data, begin, begin, end, trie, behind, ranks, ends, rows[document])
        for index in range(begin, end):
            if data[index] == _SPACE:
                _hit_english(data, index, index + 1, end, trie, behind, ranks, ends, rows[document])


@compiled
def _hit_english(
    data: Any, opening: int, begin: int, end: int, trie: Any, behind: Any, ranks: Any, ends: Any, row: Any
) -> None:
    """As `_hit`, for words at `begin` after the space at `opening`; a space, comma, full stop or the end must follow."""
    ranks[:] = _NO_RANK
    node, offset = _ROOT, begin
    while offset < end:
        point, offset = decode(data, offset)
        node = _step(trie, node, _folded(point))
        if node == _NOWHERE:
            break
        if trie.ends[node]:
            follows = offset < end and data[offset] in (_SPACE, _COMMA, _FULL_STOP)
            if follows or offset == end or (offset + 1 == end and data[offset] == _LINE_FEED):
                for index in range(len(ranks)):
                    if trie.ranks[node, index] < ranks[index]:
                        ranks[index], ends[index] = trie.ranks[node, index], offset + follows
    for index in range(len(ranks)):
        if ranks[index] != _NO_RANK and behind[index] <= opening:
            row[index] += 1
            behind[index] = ends[index]


@compiled
def _folded(point: int) -> int:
    if 0x41 <= point <= 0x5A:
        return point + 0x20
    if point in (_DOTTED, _DOTLESS):
        return 0x69
    if point == _LONG_S:
        return 0x73
    return 0x6B if point == _KELVIN else point


@compiled
def count_footers(data: Any, bounds: Any, trie: Any, lines: int, tenths: int, classes: Any, column: Any) -> None:
    """For each text: of its last `lines` visible lines, those of which words are more than `tenths` tenths.

    Both the words' and the line's characters are visible ones.
    """
    behind, ranks, ends = _cursors(1)
    for document in range(len(column)):
        begin, end, left = bounds[document], bounds[document + 1], lines
        while left and end > begin:
            start = end
            while start > begin and data[start - 1] != _LINE_FEED:
                start -= 1
            visible, covered = _covered(data, start, end, trie, classes, behind, ranks, ends)
            left -= visible > 0
            column[document] += 10 * covered > tenths * visible
            end = start - 1


@compiled
def _covered(data: Any, begin: int, end: int, trie: Any, classes: Any, behind: Any, ranks: Any, ends: Any) -> tuple[int, int]:
    """Visible characters of a line, and those of them in words of the trie's one list."""
    offset, visible, covered = begin, 0, 0
    behind[:] = begin
    hits = np.zeros(1, np.int64)
    while offset < end:
        point, after = decode(data, offset)
        if behind[0] <= offset and trie.opens[min(point, 0xFFFF)]:
            _hit(data, begin, offset, end, trie, behind, ranks, ends, hits)
        if is_visible(point, classes):
            visible += 1
            covered += behind[0] > offset
        offset = after
    return visible, covered
