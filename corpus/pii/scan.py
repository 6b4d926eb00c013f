"""Where personal data could be in a text: one compiled pass for digits, @ and 〒; and characters made comparable."""

import functools
from typing import Any, NamedTuple

import numpy as np

from pipeline.compiled import compiled

# What stands for a hyphen between digits: hyphens, dashes, minus signs, the long vowel mark, a rule; wide and narrow.
HYPHENS = "-‐‑‒–—―−－ーｰ─﹣"
SPACES = " \u3000\u00a0\u2009"
_MIN_DIGITS = 7  # of an account number and of a postal code, the shortest numbers sought
_MAX_GAP = 2  # separators between two digits: ") " in (03) 1234-5678
_NOTHING, _DIGIT, _SEPARATOR, _AT, _POSTAL, _OPEN, _PAREN, _PAIR = range(8)  # classes of characters
_NUMBERS, _ATS, _POSTALS, _ADDRESSES, _BANKS = range(5)  # kinds of marks
_BMP = 0x10000
# The first two characters of words that announce an address, or an account of the Post Bank.
_ADDRESS_PAIRS = ("住所", "所在", "届け", "届先", "送付", "送り", "居住", "自宅", "本籍", "勤務")
_BANK_PAIRS = ("記号", "ゆう", "郵便", "郵貯")


class Marks(NamedTuple):
    """Places to look at, code point offsets in ascending order."""

    numbers: list[tuple[int, int]]  # begin and end of digits with separators between them, at least 7 digits
    ats: list[int]  # @, or a bracket before what may be a written-out "at"
    postals: list[int]  # 〒
    addresses: list[int]  # words that announce an address
    banks: list[int]  # words that announce an account of the Post Bank


def scan(text: str) -> Marks:
    """All places of a text where personal data could stand."""
    points, matches = _points(text), np.empty((256, 3), np.int64)
    classes, pairs = _tables()
    count = _scan(points, classes, pairs, matches)
    if count > len(matches):
        matches = np.empty((count, 3), np.int64)
        _scan(points, classes, pairs, matches)
    marks = Marks([], [], [], [], [])
    for kind, begin, end in matches[:count].tolist():
        marks[kind].append((begin, end) if kind == _NUMBERS else begin)
    return marks


def ascii_form(text: str) -> str:
    """The text with wide ASCII made narrow, character for character."""
    return text if text.isascii() else _mapped(text, _forms()[0])


def number_form(text: str) -> str:
    """The text with wide ASCII, all hyphens and all spaces made narrow, character for character."""
    return text if text.isascii() else _mapped(text, _forms()[1])


def _points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def _mapped(text: str, form: np.ndarray) -> str:
    points = _points(text)
    mapped = np.where(points < _BMP, form[np.minimum(points, _BMP - 1)], points)
    return mapped.tobytes().decode("utf-32-le")


@functools.cache
def _forms() -> tuple[np.ndarray, np.ndarray]:
    """What each code point of the Basic Multilingual Plane becomes in `ascii_form` and in `number_form`: (65536,) uint32."""
    narrow = np.arange(_BMP, dtype=np.uint32)
    narrow[0xFF01:0xFF5F] = np.arange(0x21, 0x7F)  # ！ to ～, in the order of ASCII
    numbers = narrow.copy()
    numbers[[ord(c) for c in HYPHENS]] = ord("-")
    numbers[[ord(c) for c in SPACES]] = ord(" ")
    return narrow, numbers


@functools.cache
def _tables() -> tuple[np.ndarray, np.ndarray]:
    """Class of every code point, (65536,) uint8, and announcing pairs with their kind of mark, (pairs, 3) int64."""
    table = np.full(_BMP, _NOTHING, np.uint8)
    announcing = [(pair, _ADDRESSES) for pair in _ADDRESS_PAIRS] + [(pair, _BANKS) for pair in _BANK_PAIRS]
    for characters, kind in (
        ("0123456789０１２３４５６７８９", _DIGIT),
        (HYPHENS + SPACES + ")）", _SEPARATOR),
        ("(（", _PAREN),  # separates digits, and opens
        ("@＠", _AT),
        ("〒", _POSTAL),
        ("[{<［【〈《｛＜", _OPEN),
        ([pair[0] for pair, _ in announcing], _PAIR),
    ):
        table[[ord(c) for c in characters]] = kind
    return table, np.array([(ord(pair[0]), ord(pair[1]), kind) for pair, kind in announcing], np.int64)


@compiled
def _scan(points: Any, classes: Any, pairs: Any, found: Any) -> int:
    """Write rows (kind of mark, begin, end) while there is room; returns how many there are."""
    count, digits, begin, last, size = 0, 0, 0, 0, len(points)
    for i in range(size):
        kind = classes[min(points[i], _BMP - 1)]
        if kind == _DIGIT:
            if not digits:
                begin = i
            digits += 1
            last = i
            continue
        if digits and (kind not in (_SEPARATOR, _PAREN) or i - last > _MAX_GAP):
            count += digits >= _MIN_DIGITS and _note(found, count, _NUMBERS, begin, last + 1)
            digits = 0
        if kind == _NOTHING:
            continue
        if kind == _POSTAL:
            count += _note(found, count, _POSTALS, i, i + 1)
        elif kind == _AT or (kind in (_OPEN, _PAREN) and i + 2 < size and _writes_at(points[i + 1], points[i + 2])):
            count += _note(found, count, _ATS, i, i + 1)
        elif kind == _PAIR and i + 1 < size:
            for row in pairs:
                if points[i] == row[0] and points[i + 1] == row[1]:
                    count += _note(found, count, row[2], i, i + 2)
    if digits >= _MIN_DIGITS:
        count += _note(found, count, _NUMBERS, begin, last + 1)
    return count


@compiled
def _writes_at(first: int, second: int) -> bool:
    """Whether what is after an opening bracket begins like at, アット, or an a that is closed at once."""
    if first == 0x30A2:  # ア
        return second == 0x30C3  # ッ
    if first not in (0x41, 0x61, 0xFF21, 0xFF41):  # A a Ａ ａ
        return False
    return second in (0x54, 0x74, 0xFF34, 0xFF54, 0x29, 0x5D, 0x7D, 0x3E, 0xFF09, 0xFF3D, 0x3011)  # T t Ｔ ｔ ) ] } > ） ］ 】


@compiled
def _note(found: Any, row: int, kind: int, begin: int, end: int) -> bool:
    if row < len(found):
        found[row, 0], found[row, 1], found[row, 2] = kind, begin, end
    return True
