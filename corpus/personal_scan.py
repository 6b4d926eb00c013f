"""Where personal data could stand in a text: one compiled pass for digits, @ and 〒; and characters made comparable."""

import functools
from typing import Any, NamedTuple

import numpy as np

from corpus.compiled import compiled

# What stands for a hyphen between digits: hyphens, dashes, minus signs, the long vowel mark, a rule; wide and narrow.
HYPHENS = "-‐‑‒–—―−－ーｰ─﹣"
SPACES = " \u3000\u00a0\u2009"
_MIN_DIGITS = 7  # of an account number and of a postal code, the shortest numbers sought
_MAX_GAP = 2  # separators between two digits: ") " in (03) 1234-5678
_NOTHING, _DIGIT, _SEPARATOR, _AT, _POSTAL, _OPEN = range(6)
_BMP = 0x10000
# ！ to ～, the wide forms of ASCII, in the same order 0xFEE0 later.
_WIDE = {point + 0xFEE0: point for point in range(0x21, 0x7F)}
_TO_ASCII = _WIDE
_TO_NUMBERS = _WIDE | {ord(c): "-" for c in HYPHENS} | {ord(c): " " for c in SPACES}


class Marks(NamedTuple):
    """Places to look at, code point offsets in ascending order."""

    numbers: list[tuple[int, int]]  # begin and end of digits with separators between them, at least 7 digits
    ats: list[int]  # @, or a bracket before what may be a written-out "at"
    postals: list[int]  # 〒


def scan(text: str) -> Marks:
    """All places of a text where personal data could stand."""
    points, found = np.frombuffer(text.encode("utf-32-le"), np.uint32), np.empty((256, 3), np.int64)
    count = _scan(points, _classes(), found)
    if count > len(found):
        found = np.empty((count, 3), np.int64)
        _scan(points, _classes(), found)
    marks = Marks([], [], [])
    for kind, begin, end in found[:count].tolist():
        if kind == _DIGIT:
            marks.numbers.append((begin, end))
        else:
            (marks.postals if kind == _POSTAL else marks.ats).append(begin)
    return marks


def ascii_form(text: str) -> str:
    """The text with wide ASCII made narrow, character for character."""
    return text.translate(_TO_ASCII)


def number_form(text: str) -> str:
    """The text with wide ASCII, all hyphens and all spaces made narrow, character for character."""
    return text.translate(_TO_NUMBERS)


@functools.cache
def _classes() -> np.ndarray:
    table = np.full(_BMP, _NOTHING, np.uint8)
    for characters, kind in (
        ("0123456789０１２３４５６７８９", _DIGIT),
        (HYPHENS + SPACES + "()（）", _SEPARATOR),
        ("@＠", _AT),
        ("〒", _POSTAL),
        ("[{<［【〈《｛＜", _OPEN),
    ):
        table[[ord(c) for c in characters]] = kind
    return table


@compiled
def _scan(points: Any, classes: Any, found: Any) -> int:
    """Write rows (class, begin, end) while there is room; returns how many there are."""
    count, digits, begin, last = 0, 0, 0, 0
    for i in range(len(points) + 1):
        kind = classes[min(points[i], _BMP - 1)] if i < len(points) else _NOTHING
        if kind == _DIGIT:
            if not digits:
                begin = i
            digits += 1
            last = i
            continue
        if digits and (kind != _SEPARATOR or i - last > _MAX_GAP):
            count += digits >= _MIN_DIGITS and _note(found, count, _DIGIT, begin, last + 1)
            digits = 0
        if kind != _NOTHING and i < len(points):
            is_open = kind == _OPEN or points[i] in (0x28, 0xFF08)  # ( （ are separators too
            if kind in (_AT, _POSTAL) or (is_open and i + 1 < len(points) and _starts_at(points[i + 1])):
                count += _note(found, count, _POSTAL if kind == _POSTAL else _AT, i, i + 1)
    return count


@compiled
def _starts_at(point: int) -> bool:
    return point in (0x41, 0x61, 0xFF21, 0xFF41, 0x30A2)  # A a Ａ ａ ア


@compiled
def _note(found: Any, row: int, kind: int, begin: int, end: int) -> bool:
    if row < len(found):
        found[row, 0], found[row, 1], found[row, 2] = kind, begin, end
    return True
