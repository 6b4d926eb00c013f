"""Cheap looks at a page before it is parsed: whether it can be Japanese at all, and how deep its markup may nest.

Both scan the decoded page once in a compiled kernel. The gate counts kana in whatever a parser could take for text, so
it never counts less than the page's text holds, and drops a page only with fewer than the rules ask of every text: a page
it drops would have failed one of them. Where it cannot be sure how a parser reads the markup (a tag or comment that never
ends), it counts what follows as text.
"""

import re

import numpy as np

from corpus.extract.html_scan import place_of
from pipeline.compiled import compiled

# What preset minamoto asks: 100 Japanese characters (rule `length`) of which .05 are kana (rule `kana`).
MIN_KANA = 5
# Where pages keep text that trafilatura finds though no parser shows it (trafilatura.baseline): schema.org's data and
# Discourse's posts, both in JSON; and drawings and formulas, in which <style> is markup and <![CDATA[ text (HTML Standard
# §13.2.6.5). Such pages are looked through as a whole, escapes of JSON and HTML included.
_HIDDEN_TEXT = ("ld+json", "data-preloaded")
_FOREIGN_MARKUP = re.compile("<(?:[sS][vV][gG]|[mM][aA][tT][hH])")
_ANY_KANA = re.compile(
    r"[\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f]"
    r"|\\u(?:30[4-9a-f]|31f|ff[6-9])[0-9a-f]|&(?:amp;)*#",
    re.IGNORECASE,
)
# Kana: the classes hiragana and katakana of `pipeline.text.characters`, with half-width letters and sound marks.
_KANA = np.array([[0x3041, 0x309F], [0x30A1, 0x30FA], [0x30FC, 0x30FF], [0x31F0, 0x31FF], [0xFF66, 0xFF9F]], np.int64)
# Elements whose content is no markup (HTML Standard §13.2.6.2); of the first two the content is never text.
_RAW = ("script", "style", "title", "textarea", "xmp", "iframe", "noembed", "noframes")
_UNSHOWN = 2
# Elements without an end tag, or with one that the next element, the parent's end or the page's end implies (HTML Standard
# §13.1.2): they nest only inside others.
_VOID = ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr", "frame")
_IMPLIED = ("html", "head", "body", "p", "li", "dt", "dd", "rb", "rt", "rtc", "rp", "optgroup", "option", "colgroup")
_CELLS = ("caption", "thead", "tbody", "tfoot", "tr", "td", "th")
# The list of active formatting elements (§13.2.4.3).
_FORMATTING = ("a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u")


def is_foreign(html: str, least: int = MIN_KANA) -> str:
    """Why a page surely has no Japanese text, or "" where it may have; a page without any text is not foreign.

    Args:
        least: kana without which no text passes, as `Preset.least_kana` of the rules says; 0: every page may pass.
    """
    kana, visible = _count(_units(html), _KANA, _names(_RAW), least)
    if kana >= least or not visible:
        return ""
    looked_through = any(sign in html for sign in _HIDDEN_TEXT) or _FOREIGN_MARKUP.search(html)
    if looked_through and len(_ANY_KANA.findall(html)) >= least:
        return ""
    return f"{kana} kana in the page"


def nesting(html: str) -> tuple[int, int]:
    """How deep a parser may have to nest elements, without parsing.

    Returns: the depth of elements that only an end tag closes, or more, for an end tag counts only where it fits the last
        one; and the formatting elements open at once, which parsers open again in every block.
    """
    tags = html.count("<")
    if tags < 2:
        return tags, tags
    deepest, formatting = _nesting(
        _units(html), _names((*_VOID, *_IMPLIED, *_CELLS)), _names(_FORMATTING), np.empty(tags, np.uint64)
    )
    return int(deepest), int(formatting)


def _units(html: str) -> np.ndarray:
    """UTF-16 code units, (N,) uint16."""
    return np.frombuffer(html.encode("utf-16-le", "surrogatepass"), np.uint16)


def _names(names: tuple[str, ...]) -> np.ndarray:
    """Hashes of tag names as `_name_at` makes them, (N,) uint64."""
    return np.array([int(_name_at(_units(name + ">"), 0)[0]) for name in names], np.uint64)


@compiled
def _name_at(units: np.ndarray, at: int) -> tuple[np.uint64, int]:
    """Hash of the tag name at `at` in lower case, and where it ends."""
    result = np.uint64(0)
    while at < len(units):
        unit = units[at]
        if unit in (0x3E, 0x2F, 0x20, 0x09, 0x0A, 0x0C, 0x0D):  # > / and white space
            break
        if 0x41 <= unit <= 0x5A:
            unit += 0x20
        result = result * np.uint64(131) + np.uint64(unit)
        at += 1
    return result, at


@compiled
def _find(units: np.ndarray, at: int, unit: int) -> int:
    """Where `unit` stands from `at` on, or -1."""
    for index in range(at, len(units)):
        if units[index] == unit:
            return index
    return -1


@compiled
def _after_comment(units: np.ndarray, at: int) -> int:
    """Where the comment ends whose dashes begin at `at` (<!--> is whole, too), or -1."""
    for index in range(at, len(units) - 2):
        if units[index] == 0x2D and units[index + 1] == 0x2D:
            if units[index + 2] == 0x3E:
                return index + 3
            if index + 3 < len(units) and units[index + 2] == 0x21 and units[index + 3] == 0x3E:
                return index + 4
    return -1


@compiled
def _raw_end(units: np.ndarray, at: int, name: np.uint64) -> int:
    """Where the end tag </name begins from `at` on, or -1."""
    for index in range(at, len(units) - 2):
        if units[index] == 0x3C and units[index + 1] == 0x2F and _name_at(units, index + 2)[0] == name:
            return index
    return -1


@compiled
def _is_kana(point: int, kana: np.ndarray) -> bool:
    result = False
    for row in range(len(kana)):
        result |= kana[row, 0] <= point <= kana[row, 1]
    return result


@compiled
def _reference(units: np.ndarray, at: int) -> int:
    """The code point that &#…; at `at` names, 0 for none."""
    at += 2
    base, point = 10, 0
    if at < len(units) and units[at] in (0x58, 0x78):
        base, at = 16, at + 1
    while at < len(units) and point < 0x110000:
        unit = units[at]
        if 0x30 <= unit <= 0x39:
            digit = unit - 0x30
        elif base == 16 and (0x41 <= unit <= 0x46 or 0x61 <= unit <= 0x66):
            digit = (unit & 0x0F) + 9
        else:
            break
        point = point * base + digit
        at += 1
    return point


@compiled
def _count(units: np.ndarray, kana: np.ndarray, raw: np.ndarray, enough: int) -> tuple[int, bool]:
    """Kana in what may be text, counted up to `enough`, and whether anything is visible there.

    A search that fails makes text of all that follows, so that time is linear.
    """
    offset, result, text_until, visible = 0, 0, 0, False
    while offset < len(units) and result < enough:
        unit = units[offset]
        if unit == 0x26 and offset + 1 < len(units) and units[offset + 1] == 0x23:
            result += _is_kana(_reference(units, offset), kana)
        elif unit >= 0x3041:
            result += _is_kana(unit, kana)
        if unit != 0x3C or offset + 1 >= len(units) or offset < text_until:
            visible |= unit > 0x20
            offset += 1
            continue
        following = units[offset + 1]
        end = -1
        if following == 0x21 and offset + 3 < len(units) and units[offset + 2] == 0x2D and units[offset + 3] == 0x2D:
            end = _after_comment(units, offset + 2)
            text_until = text_until if end >= 0 else len(units)
        elif following in (0x21, 0x2F, 0x3F) or 0x41 <= (following & 0xFFDF) <= 0x5A:
            close = _find(units, offset, 0x3E)
            text_until = text_until if close >= 0 else len(units)
            end = close + 1 if close >= 0 else -1
            name = _name_at(units, offset + 1)[0]
            for kind in range(len(raw)):
                if close < 0 or raw[kind] != name:
                    continue
                stop = _raw_end(units, end, name)
                if stop >= 0 and kind < _UNSHOWN:
                    end = stop
                else:
                    text_until = stop if stop >= 0 else len(units)
        visible |= end < 0
        offset = end if end > 0 else offset + 1
    return result, visible


@compiled
def _nesting(units: np.ndarray, closed: np.ndarray, formatting: np.ndarray, open_names: np.ndarray) -> tuple[int, int]:
    depth, deepest, total, most, offset = 0, 0, 0, 0, 0
    unclosed = np.zeros(len(formatting), np.int64)
    while offset + 1 < len(units):
        is_end = units[offset] == 0x3C and units[offset + 1] == 0x2F
        if units[offset] != 0x3C or not (is_end or 0x41 <= (units[offset + 1] & 0xFFDF) <= 0x5A):
            offset += 1
            continue
        name, offset = _name_at(units, offset + 1 + is_end)
        kind = place_of(formatting, name)
        if kind >= 0:
            if not is_end:
                unclosed[kind] += 1
                total += 1
            elif unclosed[kind]:
                unclosed[kind] -= 1
                total -= 1
            most = max(most, total)
        elif is_end:
            depth -= depth > 0 and open_names[depth - 1] == name
        elif place_of(closed, name) < 0:
            open_names[depth] = name
            depth += 1
            deepest = max(deepest, depth)
    return deepest, most
