"""The fold of UTF-8 as machine code: one pass that writes the folded bytes and where their offsets part from the text's.

A stretch is a character and all that may join it (`JOINS`). No rule looks beyond it: it begins with a starter that
composes with nothing before, which is where NFC may be cut (Unicode Standard Annex 15, "Stream-Safe", 9.1). Most
characters are stretches of their own and become one character by a table; the others are decomposed, ordered and composed.

Inside a stretch, a group is what cannot be told apart: the characters of the text that made some folded characters. A new
group begins at each character whose first part is a starter, did not compose with what is before and is not a repeated
kana. A group is an event where its sizes differ or where it has several folded characters; all others move with the text.
"""

from typing import Any

import numpy as np

from pipeline.compiled import compiled, inlined
from search.exact.kernels import SEPARATOR, decode_character
from search.normalized.tables import (
    IGNORABLE_PLANE,
    ITERATION,
    JOINS,
    KANA,
    KANA_END,
    L_BASE,
    L_COUNT,
    S_BASE,
    T_BASE,
    T_COUNT,
    TABLE,
    V_BASE,
    V_COUNT,
)

PARTS_A_BYTE = 6  # most parts a byte of text becomes: U+FDFA, 3 bytes, becomes 18 (Unicode Standard Annex 15, 12.1)
_NONE = -1


@inlined
def _decode(data: Any, at: int) -> Any:
    """Code point that starts at byte `at` of valid UTF-8, and where the next one starts."""
    point, size = decode_character(data, at)
    return point, at + size


@inlined
def _size(point: int) -> Any:
    return 1 + (point >= 0x80) + (point >= 0x800) + (point >= 0x10000)


@inlined
def _encode(point: int, out: Any, at: int) -> Any:
    """Write a code point as UTF-8; returns the place after it."""
    if point < 0x80:
        out[at] = point
        at += 1
    elif point < 0x800:
        out[at] = 0xC0 | point >> 6
        out[at + 1] = 0x80 | point & 0x3F
        at += 2
    elif point < 0x10000:
        out[at] = 0xE0 | point >> 12
        out[at + 1] = 0x80 | point >> 6 & 0x3F
        out[at + 2] = 0x80 | point & 0x3F
        at += 3
    else:
        out[at] = 0xF0 | point >> 18
        out[at + 1] = 0x80 | point >> 12 & 0x3F
        out[at + 2] = 0x80 | point >> 6 & 0x3F
        out[at + 3] = 0x80 | point & 0x3F
        at += 4
    return at


@inlined
def _fast(point: int, fast: Any) -> Any:
    """What a character becomes on its own where nothing joins it; SLOW, JOINS."""
    if point < TABLE:
        return np.int64(fast[point])
    return np.int64(JOINS) if IGNORABLE_PLANE[0] <= point <= IGNORABLE_PLANE[1] else np.int64(point)


@inlined
def _class(point: int, classes: Any) -> Any:
    return classes[point] if point < TABLE else 0


@compiled
def room(data: Any, tables: Any) -> tuple[int, int]:
    """Most bytes and events that the fold of a text can have."""
    size, events, offset = 0, 1, 0
    while offset < len(data):
        if data[offset] == SEPARATOR:
            offset += 1
            size += 1
            continue
        point, end = _decode(data, offset)
        folded = _fast(point, tables.fast)
        row = tables.rows[point] if point < TABLE else _NONE
        if row == _NONE:
            size += end - offset
        else:
            for index in range(row + 1, row + 1 + tables.parts[row]):
                size += _size(np.int64(tables.parts[index]))
        if folded < 0:
            events += 2  # its own, and one for what it joins
        elif _size(folded) != end - offset:
            events += 1
        offset = end
    return size, events


@compiled
def fold(data: Any, tables: Any, out: Any, events: Any) -> tuple[int, int]:
    """Fold a text; a SEPARATOR stays, and nothing joins over it.

    Args:
        data: (bytes,) uint8, valid UTF-8 and SEPARATORs.
        out, events: (bytes of folded text,) uint8 and (events, 3) int64, large enough by `room`. An event: bytes that are
            equally many in both since the one before, then those of the group, folded and in the text.
    Returns: how many bytes and events were written.
    """
    points, begins = np.empty(64, np.int64), np.empty(64, np.int64)
    size, count, known = 0, 0, 0  # known: end of the latest event in `out`
    offset, total = 0, len(data)
    ahead, after = np.int64(_NONE), 0  # what is at `offset`, and where it ends
    while offset < total:
        if data[offset] == SEPARATOR:
            out[size] = SEPARATOR
            size += 1
            offset += 1
            continue
        if ahead == _NONE:
            ahead, after = _decode(data, offset)
        folded = _fast(ahead, tables.fast)
        end = after
        ahead = np.int64(_NONE)
        joined = False
        while end < total and data[end] != SEPARATOR:
            ahead, after = _decode(data, end)
            if _fast(ahead, tables.fast) != JOINS:
                break
            joined = True
            end = after
            ahead = np.int64(_NONE)
        if folded >= 0 and not joined:
            if _size(folded) != end - offset:
                events[count, 0], events[count, 1], events[count, 2] = size - known, _size(folded), end - offset
                count += 1
                known = size + _size(folded)
            size = _encode(folded, out, size)
        else:
            if len(points) < (end - offset) * PARTS_A_BYTE:
                points = np.empty((end - offset) * PARTS_A_BYTE, np.int64)
                begins = np.empty(len(points), np.int64)
            parts = _decompose(data, offset, end, tables, points, begins)
            _order(points, parts, tables.classes)
            parts = _compose(points, begins, parts, tables)
            size, count, known = _emit(points, begins, parts, offset, end, out, size, events, count, known)
        offset = end
    return size, count


@compiled
def _decompose(data: Any, at: int, end: int, tables: Any, points: Any, begins: Any) -> int:
    """Parts of a stretch; begins: where the character starts whose first part this is, if a group may begin there, or -1."""
    count = 0
    while at < end:
        point, after = _decode(data, at)
        row = tables.rows[point] if point < TABLE else _NONE
        parts = 1 if row == _NONE else tables.parts[row]
        if IGNORABLE_PLANE[0] <= point <= IGNORABLE_PLANE[1]:
            parts = 0
        for index in range(parts):
            part = point if row == _NONE else np.int64(tables.parts[row + 1 + index])
            begins[count] = _NONE if index else at
            if part == ITERATION and count and KANA <= points[count - 1] < KANA_END:
                part, begins[count] = points[count - 1], _NONE
            points[count] = part
            count += 1
        at = after
    for index in range(count):
        if _class(points[index], tables.classes):
            begins[index] = _NONE
    return count


@compiled
def _order(points: Any, count: int, classes: Any) -> None:
    """Sort each run of marks by combining class, equal ones as they are (Unicode Standard D109)."""
    offset = 0
    while offset < count:
        first = offset
        while offset < count and _class(points[offset], classes):
            offset += 1
        if offset - first > 1:
            run = points[first:offset].copy()
            keys = np.empty(len(run), np.int64)
            for i in range(len(run)):
                keys[i] = _class(run[i], classes)
            points[first:offset] = run[np.argsort(keys, kind="mergesort")]
        offset += 1


@compiled
def _composite(first: int, second: int, tables: Any) -> Any:
    """What NFC makes of two code points, or -1."""
    if L_BASE <= first < L_BASE + L_COUNT and V_BASE <= second < V_BASE + V_COUNT:
        return S_BASE + ((first - L_BASE) * V_COUNT + second - V_BASE) * T_COUNT
    syllable = first - S_BASE
    if 0 <= syllable < L_COUNT * V_COUNT * T_COUNT and not syllable % T_COUNT and T_BASE < second < T_BASE + T_COUNT:
        return first + second - T_BASE
    key = first << 32 | second
    index = np.searchsorted(tables.pairs, key)
    return np.int64(tables.composed[index]) if index < len(tables.pairs) and tables.pairs[index] == key else _NONE


@compiled
def _compose(points: Any, begins: Any, count: int, tables: Any) -> int:
    """Canonical composition in place (Unicode Standard D117); returns how many are left."""
    kept, starter, latest = 0, _NONE, _NONE  # latest: class of the mark kept last after the starter
    for index in range(count):
        point = points[index]
        own = np.int64(_class(point, tables.classes))
        if starter != _NONE and (latest == _NONE or latest < own):
            whole = _composite(points[starter], point, tables)
            if whole != _NONE:
                points[starter] = whole
                continue
        if own:
            latest = own
        else:
            starter, latest = kept, _NONE
        points[kept], begins[kept] = point, begins[index]
        kept += 1
    return kept


@compiled
def _emit(
    points: Any,
    begins: Any,
    parts: int,
    at: int,
    end: int,
    out: Any,
    size: int,
    events: Any,
    count: int,
    known: int,
) -> tuple[int, int, int]:
    """Write a stretch, text[at:end], and the events of its groups."""
    offset = 0
    while at < end:
        group, characters = size, 0
        while offset < parts and (begins[offset] == _NONE or not characters):
            size = _encode(points[offset], out, size)
            offset += 1
            characters += 1
        behind = begins[offset] if offset < parts else end
        if characters != 1 or size - group != behind - at:
            events[count, 0], events[count, 1], events[count, 2] = group - known, size - group, behind - at
            count += 1
            known = size
        at = behind
    return size, count, known


@compiled
def pack(events: Any, codes: Any, packed: Any, marks: Any, every: int, most: int) -> int:
    """Events as pairs of bytes, with a mark before every `every`-th; see `search.normalized.fold`.

    Args:
        events, codes: (E, 3) as `fold` writes them, (E,) uint8: the byte that stands for the sizes of each group.
        packed, marks: (P, 2) uint8, (ceil(P / every), 2) int64; P counts the steps over gaps of more than `most`.
    Returns: how many pairs were written.
    """
    count, folded, begin = 0, 0, 0
    for event in range(len(events)):
        gap = events[event, 0]
        while True:
            if count % every == 0:
                marks[count // every, 0], marks[count // every, 1] = folded, begin
            step = min(gap, most)
            packed[count, 0] = step
            whole = gap <= most
            packed[count, 1] = codes[event] if whole else 0
            count += 1
            folded += step
            begin += step
            gap -= step
            if whole:
                break
        folded += events[event, 1]
        begin += events[event, 2]
    return count


@compiled
def locate(begins: Any, ends: Any, events: Any, marks: Any, sizes: Any, rare: Any, every: int, found: Any) -> None:
    """Where folded bytes [begin, end) come from; found: (n, 2) int64, bytes of the text."""
    for index in range(len(begins)):
        found[index, 0] = _locate(begins[index], 0, False, events, marks, sizes, rare, every)
        found[index, 1] = _locate(ends[index] - 1, 0, True, events, marks, sizes, rare, every)


@compiled
def place_all(begins: Any, events: Any, marks: Any, sizes: Any, rare: Any, every: int, found: Any) -> None:
    """Where the groups of bytes of the text begin when folded; found: (n,) int64."""
    for index in range(len(begins)):
        found[index] = _locate(begins[index], 1, False, events, marks, sizes, rare, every)


@compiled
def _locate(at: int, side: int, behind: bool, events: Any, marks: Any, sizes: Any, rare: Any, every: int) -> int:
    """The byte that is on the other side for one of `side`, 0 folded or 1 the text; of a group its first, or its end."""
    other = 1 - side
    first, last = 0, len(marks) - 1
    while last - first > 1:
        middle = (first + last) >> 1
        if marks[middle, side] <= at:
            first = middle
        else:
            last = middle
    here, there = marks[first, side], marks[first, other]
    for index in range(first * every, min((first + 1) * every, len(events))):
        gap, code = np.int64(events[index, 0]), events[index, 1]
        if at < here + gap:
            break
        here += gap
        there += gap
        if code < len(sizes):
            own, others = np.int64(sizes[code, side]), np.int64(sizes[code, other])
        else:
            row = np.searchsorted(rare[:, 0], index)
            if row == len(rare):  # only in a damaged map
                break
            own, others = rare[row, 1 + side], rare[row, 1 + other]
        if at < here + own:
            return there + others if behind else there
        here += own
        there += others
    return there + at - here + behind
