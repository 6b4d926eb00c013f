"""Compiled scans of markup: source lines to join before a page is parsed, and what is in its blocks once it is.

A walk over a parsed page costs microseconds a node in Python. Written out as HTML, a parsed page is the same tree in a form
without doubt (HTML Standard §13.3: every element but the void ones is closed, values are in double quotes, and & < > and
the no-break space of texts are references), so one pass over its characters counts what a walk would.
"""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pipeline.compiled import compiled

# Blocks that may go as a whole; cells, terms and single items stay with their table or list.
PRUNABLE = ("div", "p", "ul", "ol", "dl", "table", "section", "center", "header", "h6")
# Elements whose text is written out as it is, < and & too; <script>, <style> and <iframe> hold no prose and go before.
RAW = ("xmp", "plaintext", "noembed", "noframes")
# Elements inside a line, and elements whose line ends are content.
_INLINE = ("a", "b", "i", "u", "em", "strong", "code", "span", "tt", "kbd", "var", "dfn", "cite", "q", "samp", "font", "small")
_INLINE = (*_INLINE, "abbr", "acronym")
_LITERAL = ("pre", "textarea", "script", "style", "xmp")
# What Japanese is written in: dash, ellipsis, kana and their punctuation, ideographs, full-width forms; no space.
_CJK = ((0x2014, 0x2014), (0x2026, 0x2026), (0x3001, 0x30FF), (0x3400, 0x9FFF), (0xF900, 0xFAFF), (0xFF01, 0xFFEF))
# Attributes that are looked for, and the columns of the table of blocks; values begin and end at places in the HTML.
_WANTED = ("class", "id", "href")
_CHARACTERS, _LINKED, _LINKS, _SENTENCES, _END, _CLASS, _CLASS_END, _ID, _ID_END, _COLUMNS = range(10)


class Block(NamedTuple):
    """What is below an element that may go as a whole."""

    names: str  # class and id, as they are written out
    place: int  # among the elements PRUNABLE, in document order
    characters: int  # visible ones, at least one: no space, tab or line feed
    linked: int  # those inside links
    links: int  # that hold anything
    sentences: int  # 。 outside links
    end: int  # place of the first that is after it, not in it


@dataclass(frozen=True)
class Census:
    """What is in an element."""

    html: str
    characters: int
    linked: int
    has_raw: bool  # there are elements RAW: the counts hold only if their texts were escaped
    table: np.ndarray  # its elements PRUNABLE, (B, _COLUMNS)

    def blocks(self, link_share: float) -> Iterator[Block]:
        """Those that hold characters, and have a name or this share of their characters inside links, in document order."""
        held_B, linked_B = self.table[:, _CHARACTERS], self.table[:, _LINKED]
        named_B = self.table[:, _CLASS_END] + self.table[:, _ID_END] > 0
        chosen = np.flatnonzero((held_B > 0) & (named_B | (linked_B / np.maximum(held_B, 1) >= link_share)))
        for offset, row in zip(chosen.tolist(), self.table[chosen].tolist(), strict=True):
            *counts, class_begin, class_end, id_begin, id_end = row
            names = f"{self.html[class_begin:class_end]} {self.html[id_begin:id_end]}"
            yield Block(names, offset, *counts)


def census(html: str) -> Census:
    """Count characters in an element as the parser writes it out; the element itself is a block, too, if it is PRUNABLE."""
    tags, wanted = _packed((*PRUNABLE, "a", *RAW)), _packed(_WANTED)
    table_BC, total = _blocks(_points(html), tags, len(PRUNABLE), wanted, html.count("<") + 1)
    return Census(html, int(total[_CHARACTERS]), int(total[_LINKED]), bool(total[_END]), table_BC)


def join_lines(html: str) -> str:
    """Join source lines that end and begin in Japanese, outside preformatted text; linear whatever is left open.

    A line end of the source between two Japanese characters is no space; browsers show one, writers mean none.
    """
    ends = html.count("\n")
    if not ends:
        return html
    cuts = _line_ends(_points(html), _packed(_INLINE), _packed(_LITERAL), np.array(_CJK), _word_characters(), ends).tolist()
    if not cuts:
        return html
    begins = [0, *(end for _, end in cuts)]
    return "".join(html[begin:end] for begin, end in zip(begins, [*(begin for begin, _ in cuts), len(html)], strict=True))


def _points(html: str) -> np.ndarray:
    """Code points, (N,) uint32: places are those of the string."""
    return np.frombuffer(html.encode("utf-32-le", "surrogatepass"), np.uint32)


@functools.cache
def _packed(names: tuple[str, ...]) -> np.ndarray:
    """Tag names as `_name` reads them, (N,) uint64."""
    return np.array([int(_name(_points(name), 0)[0]) for name in names], np.uint64)


@functools.cache
def _word_characters() -> np.ndarray:
    r"""What \w matches beyond ASCII, first and last of each run, (N, 2)."""
    runs = re.finditer(r"\w+", "".join(map(chr, range(0x110000))))
    return np.array([(max(run.start(), 0x80), run.end() - 1) for run in runs if run.end() > 0x80])


@compiled
def _name(points: np.ndarray, at: int) -> tuple[np.uint64, int]:
    """The name of ASCII letters and digits at `at` in lower case, 6 bits each and 0 from 11 on, and where it ends."""
    result, length = np.uint64(0), 0
    while at < len(points):
        point = points[at]
        if 0x41 <= point <= 0x5A:
            point += 0x20
        if 0x61 <= point <= 0x7A:
            digit = point - 0x60
        elif 0x30 <= point <= 0x39:
            digit = point - 0x30 + 27
        else:
            break
        result = (result << np.uint64(6)) | np.uint64(digit)
        length += 1
        at += 1
    return (result if length <= 10 else np.uint64(0)), at


@compiled
def place_of(names: np.ndarray, name: np.uint64) -> int:
    """Index of a name, or -1."""
    for index in range(len(names)):
        if names[index] == name:
            return index
    return -1


@compiled
def _within(point: int, ranges: np.ndarray) -> bool:
    row = 0
    while row < len(ranges) and ranges[row, 1] < point:  # in ascending order
        row += 1
    return row < len(ranges) and ranges[row, 0] <= point


@compiled
def _is_space(point: int) -> bool:
    r"""What \s matches: str.isspace."""
    return (
        0x09 <= point <= 0x0D
        or 0x1C <= point <= 0x20
        or point in (0x85, 0xA0, 0x1680, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000)
        or 0x2000 <= point <= 0x200A
    )


@compiled
def _tag_end(points: np.ndarray, at: int, word: np.ndarray) -> int:
    """Where a tag ends whose name ends at `at`, as a whole word; -1 if it does not before another begins."""
    if at < len(points) and (points[at] == 0x5F or (points[at] >= 0x80 and _within(points[at], word))):
        return -1
    while at < len(points) and points[at] != 0x3C:
        if points[at] == 0x3E:
            return at + 1
        at += 1
    return -1


@compiled
def _after_inline(points: np.ndarray, at: int, inline: np.ndarray, word: np.ndarray) -> int:
    """Where the tags of elements inside a line end that are at `at`; their names are in lower case."""
    while at + 1 < len(points) and points[at] == 0x3C:
        begin = at + 1 + (points[at + 1] == 0x2F)
        name, stop = _name(points, begin)
        for index in range(begin, stop):
            if 0x41 <= points[index] <= 0x5A:
                return at
        stop = _tag_end(points, stop, word) if place_of(inline, name) >= 0 else -1
        if stop < 0:
            return at
        at = stop
    return at


@compiled
def _line_ends(
    points: np.ndarray, inline: np.ndarray, literal: np.ndarray, cjk: np.ndarray, word: np.ndarray, most: int
) -> np.ndarray:
    """Line ends with the white space around them between Japanese characters, and tags of _INLINE, (N, 2)."""
    cuts_N2, count, offset, kind, begun = np.empty((most, 2), np.int64), 0, 0, -1, 0
    while offset < len(points):
        point = points[offset]
        if point > 0x3C or 0x20 < point < 0x3C:
            offset += 1
            continue
        if point == 0x3C:
            is_end = offset + 1 < len(points) and points[offset + 1] == 0x2F
            name, stop = _name(points, offset + 1 + is_end)
            result = place_of(literal, name)
            if result >= 0 and (result == kind if is_end else kind < 0):
                stop = _tag_end(points, stop, word)
                if stop >= 0:
                    offset = begun = stop
                    kind = -1 if is_end else result
                    continue
        if kind < 0 and offset > begun and points[offset - 1] >= 0x2014 and _within(points[offset - 1], cjk):
            begin = stop = _after_inline(points, offset, inline, word)
            while stop < len(points) and points[stop] in (0x20, 0x09):
                stop += 1
            stop += stop + 1 < len(points) and points[stop] == 0x0D and points[stop + 1] == 0x0A
            if stop < len(points) and points[stop] == 0x0A:
                while stop < len(points) and _is_space(points[stop]):
                    stop += 1
                after = _after_inline(points, stop, inline, word)
                if after < len(points) and _within(points[after], cjk):
                    cuts_N2[count] = begin, stop
                    count += 1
                    offset = after
                    continue
        offset += 1
    return cuts_N2[:count]


@compiled
def _attributes(points: np.ndarray, at: int, wanted: np.ndarray, spans: np.ndarray) -> int:
    """Where the start tag ends whose name ends at `at`; puts the spans of the values of attributes `wanted` in `spans`."""
    spans[:] = 0
    while at < len(points) and points[at] != 0x3E:
        if points[at] == 0x20:
            at += 1
            continue
        begin = at
        at += 1  # a name may begin with = but hold none
        while at < len(points) and points[at] not in (0x20, 0x3D, 0x3E):
            at += 1
        name, stop = _name(points, begin)
        result = place_of(wanted, name) if stop == at else -1
        value = at = at + 2 if at < len(points) and points[at] == 0x3D else at
        if value > stop:
            while at < len(points) and points[at] != 0x22:
                at += 1
        if result >= 0:
            spans[2 * result], spans[2 * result + 1] = value, at
        at += value > stop
    return at + 1


@compiled
def _after(points: np.ndarray, at: int) -> int:
    """Where the comment or processing instruction at `at` ends."""
    dashes = 2 if at + 3 < len(points) and points[at + 2] == 0x2D and points[at + 3] == 0x2D else 0
    at += 2 + dashes
    while at < len(points):
        if points[at] == 0x3E and (not dashes or (points[at - 1] == 0x2D and points[at - 2] == 0x2D)):
            return at + 1
        at += 1
    return at


@compiled
def _text(points: np.ndarray, at: int, is_linked: bool, total: np.ndarray) -> int:
    """Count the text at `at`; where it ends."""
    visible, sentences = 0, 0
    while at < len(points) and (points[at] != 0x3C or at + 1 == len(points)):
        point = points[at]
        visible += point not in (0x20, 0x09, 0x0A)
        sentences += point == 0x3002
        while point == 0x26 and at + 1 < len(points) and points[at] != 0x3B:  # &…; is one character
            at += 1
        at += 1
    total[_CHARACTERS] += visible
    total[_LINKED] += visible if is_linked else 0
    total[_SENTENCES] += 0 if is_linked else sentences
    return at


@compiled
def _blocks(
    points: np.ndarray, tags: np.ndarray, prunable: int, wanted: np.ndarray, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Table of blocks, (B, _COLUMNS), and its first columns for the whole, (_END + 1,): at _END, elements RAW.

    Args:
        tags: packed names: blocks, `prunable` of them, then <a>, then RAW.
        most: how many tags there may be.
    """
    table_BC, count = np.empty((most, _COLUMNS), np.int64), 0
    blocks, anchors = np.empty(most, np.int64), np.empty(most, np.bool_)
    open_blocks, open_anchors, links, offset = 0, 0, 0, 0
    total, spans = np.zeros(_END + 1, np.int64), np.empty(2 * len(wanted), np.int64)
    while offset < len(points):
        if points[offset] != 0x3C or offset + 1 >= len(points):
            offset = _text(points, offset, links > 0, total)
            continue
        if points[offset + 1] in (0x21, 0x3F):
            offset = _after(points, offset)
            continue
        is_end = points[offset + 1] == 0x2F
        name, stop = _name(points, offset + 1 + is_end)
        kind = place_of(tags, name) if stop < len(points) and points[stop] in (0x20, 0x3E) else -1
        while stop < len(points) and points[stop] not in (0x20, 0x3E):
            stop += 1
        offset = _attributes(points, stop, wanted, spans)
        is_empty = not is_end and offset + 1 < len(points) and points[offset] == 0x3C and points[offset + 1] == 0x2F
        if kind < 0:
            continue
        if is_end and kind < prunable and open_blocks:  # it is, but in texts that are no markup
            open_blocks -= 1
            row = table_BC[blocks[open_blocks]]
            row[:_END] += total[:_END]
            row[_END] = count
        elif is_end and kind == prunable and open_anchors:
            open_anchors -= 1
            links -= anchors[open_anchors]
        elif is_end:
            continue
        elif kind < prunable:
            table_BC[count, :_END] = -total[:_END]
            table_BC[count, _CLASS:] = spans[: _COLUMNS - _CLASS]
            blocks[open_blocks] = count
            open_blocks += 1
            count += 1
        elif kind == prunable:
            anchors[open_anchors] = spans[-1] > 0 and not is_empty
            links += anchors[open_anchors]
            total[_LINKS] += anchors[open_anchors]
            open_anchors += 1
        else:
            total[_END] += 1
    return table_BC[:count], total
