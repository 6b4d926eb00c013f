"""The fold of UTF-8 as machine code: one pass that writes the folded bytes and where their offsets differ from the text's.

A stretch is a character and all that may join it (`JOINS`). No rule looks beyond it: it begins with a starter that
composes with nothing before, which is where NFC may be cut (Unicode Standard Annex 15, "Stream-Safe", 9.1). Most
characters are stretches of their own and become one character by a table; the others are decomposed, ordered and composed.

Inside a stretch, a group is what cannot be told apart: the characters of the text that made some folded characters. A new
group begins at each character whose first part is a starter, did not compose with what is before and is not a repeated
kana. Only a group whose size changes, or that has several folded characters, is an event.
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

MAX_PARTS_PER_BYTE = 6  # parts that a byte of text becomes: U+FDFA, 3 bytes, becomes 18 (Unicode Standard Annex 15, 12.1)
_NONE = -1


@inlined
def _decode_at(data: Any, offset: int) -> Any:
    """Code point that begins at a byte of valid UTF-8, and where the next one begins."""
    point, size = decode_character(data, offset)
    return point, offset + size


@inlined
def _utf8_size(point: int) -> Any:
    return 1 + (point >= 0x80) + (point >= 0x800) + (point >= 0x10000)


@inlined
def _encode(point: int, out: Any, offset: int) -> Any:
    """Write a code point as UTF-8; returns the offset after it."""
    if point < 0x80:
        out[offset] = point
        offset += 1
    elif point < 0x800:
        out[offset] = 0xC0 | point >> 6
        out[offset + 1] = 0x80 | point & 0x3F
        offset += 2
    elif point < 0x10000:
        out[offset] = 0xE0 | point >> 12
        out[offset + 1] = 0x80 | point >> 6 & 0x3F
        out[offset + 2] = 0x80 | point & 0x3F
        offset += 3
    else:
        out[offset] = 0xF0 | point >> 18
        out[offset + 1] = 0x80 | point >> 12 & 0x3F
        out[offset + 2] = 0x80 | point >> 6 & 0x3F
        out[offset + 3] = 0x80 | point & 0x3F
        offset += 4
    return offset


@inlined
def _look_up(point: int, fast: Any) -> Any:
    """What a character becomes on its own where nothing joins it; SLOW, JOINS."""
    if point < TABLE:
        return np.int64(fast[point])
    return np.int64(JOINS) if IGNORABLE_PLANE[0] <= point <= IGNORABLE_PLANE[1] else np.int64(point)


@inlined
def _combining_class(point: int, classes: Any) -> Any:
    return classes[point] if point < TABLE else 0


@compiled
def bound_sizes(data: Any, tables: Any) -> tuple[int, int]:
    """Upper bounds of the bytes and events of a folded text."""
    size, events, offset = 0, 1, 0
    while offset < len(data):
        if data[offset] == SEPARATOR:
            offset += 1
            size += 1
            continue
        point, end = _decode_at(data, offset)
        folded = _look_up(point, tables.fast)
        row = tables.rows[point] if point < TABLE else _NONE
        if row == _NONE:
            size += end - offset
        else:
            for index in range(row + 1, row + 1 + tables.parts[row]):
                size += _utf8_size(np.int64(tables.parts[index]))
        if folded < 0:
            events += 2  # its own, and one for what it joins
        elif _utf8_size(folded) != end - offset:
            events += 1
        offset = end
    return size, events


@compiled
def fold(data: Any, tables: Any, out: Any, events: Any) -> tuple[int, int]:
    """Fold a text; a SEPARATOR stays, and nothing joins over it.

    Args:
        data: (bytes,) uint8, valid UTF-8 and SEPARATORs.
        out, events: (bytes of folded text,) uint8 and (events, 3) int64, of the sizes that `bound_sizes` gives. An
            event: bytes since the one before, which are as many in the text, then bytes of the group, folded and in the text.
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
            ahead, after = _decode_at(data, offset)
        folded = _look_up(ahead, tables.fast)
        end = after
        ahead = np.int64(_NONE)
        joined = False
        while end < total and data[end] != SEPARATOR:
            ahead, after = _decode_at(data, end)
            if _look_up(ahead, tables.fast) != JOINS:
                break
            joined = True
            end = after
            ahead = np.int64(_NONE)
        if folded >= 0 and not joined:
            if _utf8_size(folded) != end - offset:
                events[count, 0], events[count, 1], events[count, 2] = size - known, _utf8_size(folded), end - offset
                count += 1
                known = size + _utf8_size(folded)
            size = _encode(folded, out, size)
        else:
            if len(points) < (end - offset) * MAX_PARTS_PER_BYTE:
                points = np.empty((end - offset) * MAX_PARTS_PER_BYTE, np.int64)
                begins = np.empty(len(points), np.int64)
            parts = _decompose(data, (offset, end), tables, points, begins)
            _sort_marks(points, parts, tables.classes)
            parts = _compose(points, begins, parts, tables)
            size, count, known = _emit((points, begins, parts), (offset, end), out, events, (size, count, known))
        offset = end
    return size, count


@compiled
def _decompose(data: Any, bounds: Any, tables: Any, points: Any, begins: Any) -> int:
    """Decompose a stretch; returns how many parts it has.

    Args:
        bounds: where the stretch begins and ends in `data`.
        points: filled with the parts.
        begins: filled, for each part that may begin a group, with where its character begins; with -1 for other parts.
    """
    offset, end = bounds
    count = 0
    while offset < end:
        point, after = _decode_at(data, offset)
        row = tables.rows[point] if point < TABLE else _NONE
        parts = 1 if row == _NONE else tables.parts[row]
        if IGNORABLE_PLANE[0] <= point <= IGNORABLE_PLANE[1]:
            parts = 0
        for index in range(parts):
            part = point if row == _NONE else np.int64(tables.parts[row + 1 + index])
            begins[count] = _NONE if index else offset
            if part == ITERATION and count and KANA <= points[count - 1] < KANA_END:
                part, begins[count] = points[count - 1], _NONE
            points[count] = part
            count += 1
        offset = after
    for index in range(count):
        if _combining_class(points[index], tables.classes):
            begins[index] = _NONE
    return count


@compiled
def _sort_marks(points: Any, count: int, classes: Any) -> None:
    """Sort each run of marks by combining class, equal ones as they are (Unicode Standard D109)."""
    offset = 0
    while offset < count:
        first = offset
        while offset < count and _combining_class(points[offset], classes):
            offset += 1
        if offset - first > 1:
            run = points[first:offset].copy()
            keys = np.empty(len(run), np.int64)
            for i in range(len(run)):
                keys[i] = _combining_class(run[i], classes)
            points[first:offset] = run[np.argsort(keys, kind="mergesort")]
        offset += 1


@compiled
def _compose_pair(first: int, second: int, tables: Any) -> Any:
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
        own = np.int64(_combining_class(point, tables.classes))
        if starter != _NONE and (latest == _NONE or latest < own):
            whole = _compose_pair(points[starter], point, tables)
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
def _emit(stretch: Any, bounds: Any, out: Any, events: Any, written: Any) -> tuple[int, int, int]:
    """Write a stretch and the events of its groups.

    Args:
        stretch: (points, begins, how many), as `_compose` leaves them; bounds: where it begins and ends in the text.
        written: bytes in `out`, events, and the end of the latest event in `out`.
    Returns: the new `written`.
    """
    points, begins, parts = stretch
    offset, end = bounds
    size, count, known = written
    part = 0
    while offset < end:
        group, characters = size, 0
        while part < parts and (begins[part] == _NONE or not characters):
            size = _encode(points[part], out, size)
            part += 1
            characters += 1
        after = begins[part] if part < parts else end
        if characters != 1 or size - group != after - offset:
            events[count, 0], events[count, 1], events[count, 2] = group - known, size - group, after - offset
            count += 1
            known = size
        offset = after
    return size, count, known


@compiled
def pack_events(events: Any, codes: Any, packed: Any, marks: Any, every: int, most: int) -> int:
    """Events as pairs of bytes, with a mark before every `every`-th; see `search.normalized.fold`.

    Args:
        events, codes: (E, 3) as `fold` writes them; (E,) uint8, the code of each group's sizes.
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
def locate_origins(begins: Any, ends: Any, offset_map: Any, every: int, origins: Any) -> None:
    """Where folded bytes [begin, end) come from.

    Args:
        offset_map: `search.normalized.fold.OffsetMap.arrays`; `every`: events between two marks.
        origins: (n, 2) int64, filled with bytes of the text.
    """
    for index in range(len(begins)):
        origins[index, 0] = _locate(begins[index], 0, False, offset_map, every)
        origins[index, 1] = _locate(ends[index] - 1, 0, True, offset_map, every)


@compiled
def locate_folded(begins: Any, offset_map: Any, every: int, offsets: Any) -> None:
    """Where the groups of bytes of the text begin in the folded text; offsets: (n,) int64, filled with bytes of that."""
    for index in range(len(begins)):
        offsets[index] = _locate(begins[index], 1, False, offset_map, every)


@compiled
def _locate(offset: int, side: int, is_end: bool, offset_map: Any, every: int) -> int:
    """Map a byte of one side (0 folded, 1 the text) to the other; a byte of a group to the group's first byte or its end."""
    events, marks, sizes, rare = offset_map
    other = 1 - side
    first, last = 0, len(marks) - 1
    while last - first > 1:
        middle = (first + last) >> 1
        if marks[middle, side] <= offset:
            first = middle
        else:
            last = middle
    here, there = marks[first, side], marks[first, other]
    for index in range(first * every, min((first + 1) * every, len(events))):
        gap, code = np.int64(events[index, 0]), events[index, 1]
        if offset < here + gap:
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
        if offset < here + own:
            return there + others if is_end else there
        here += own
        there += others
    return there + offset - here + is_end
