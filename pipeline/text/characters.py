"""Characters for compiled kernels: code points of UTF-8, the class and the traits of each, texts as one buffer.

Source of the classes: Unicode 14 blocks and general categories (UAX #44); kana and kanji as Swallow counts them
(arXiv:2404.17733 §3), with 々〆〇 as kanji and ー as katakana.
"""

import functools
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.compiled import compiled

# Classes of characters: every character is in exactly one, so their counts add up to the number of characters.
CLASSES = ("hiragana", "katakana", "kanji", "latin", "digit", "punctuation", "symbol", "space", "newline", "other")
HIRAGANA, KATAKANA, KANJI, LATIN, DIGIT, PUNCTUATION, SYMBOL, SPACE, NEWLINE, OTHER = range(len(CLASSES))
# A trait is a class in the lower four bits and these flags.
CLASS = 0x0F
KUTEN = 0x10  # ends a Japanese sentence
ENDS = 0x20  # ends a sentence
CLOSES = 0x40  # a bracket or quote that may follow the end of a sentence
BULLET = 0x80  # opens an item of a list
_MARKS = {
    KUTEN: "。．｡！？",
    ENDS: "。．｡！？!?",
    CLOSES: '）」』】)"”',
    # Gopher (arXiv:2112.11446 A1.1) counts bullets; • and - as DataTrove does, the rest as Japanese pages set them.
    BULLET: "•-*‣▪◦・●○■□◆◇▶※",
}
# First and last code point of the letters of each script, both included.
_SCRIPTS = (
    (HIRAGANA, ((0x3041, 0x3096), (0x309D, 0x309F))),
    (KATAKANA, ((0x30A1, 0x30FA), (0x30FC, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9F))),
    (KANJI, ((0x3005, 0x3007), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAD9))),
    (LATIN, ((0x41, 0x5A), (0x61, 0x7A), (0xC0, 0xD6), (0xD8, 0xF6), (0xF8, 0x24F), (0x1E00, 0x1EFF))),
    (LATIN, ((0xFF21, 0xFF3A), (0xFF41, 0xFF5A))),
)
_BMP = 0x10000
_IDEOGRAPHIC_PLANES = (0x20000, 0x3FFFF)  # planes 2 and 3 hold CJK ideographs only
_PICTOGRAPHS = (0x1F000, 0x1FBFF)  # game tiles, emoji, arrows, legacy computing


def buffer_of(texts: Sequence[str], errors: str = "strict") -> tuple[np.ndarray, np.ndarray]:
    """Texts back to back as UTF-8.

    Args:
        errors: as of `str.encode`: what becomes of a lone surrogate.
    Returns: (bytes,) uint8, and where each text begins and the last one ends: (documents + 1,) int64.
    """
    encoded = [text.encode("utf-8", errors) for text in texts]
    bounds = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(data) for data in encoded], out=bounds[1:])
    return np.frombuffer(encoded[0] if len(encoded) == 1 else b"".join(encoded), np.uint8), bounds


@functools.cache
def class_table() -> np.ndarray:
    """Class of every code point of the Basic Multilingual Plane, (65536,) uint8."""
    table = np.full(_BMP, OTHER, np.uint8)
    for point in range(_BMP):
        table[point] = _class_by_category(unicodedata.category(chr(point)))
    for script, ranges in _SCRIPTS:
        for first, last in ranges:
            table[first : last + 1] = script
    table[[0x09, 0x0B, 0x0C, 0x0D]] = SPACE
    table[0x0A] = NEWLINE
    return table


@functools.cache
def trait_table() -> np.ndarray:
    """Traits of every code point of the Basic Multilingual Plane, (65536,) uint8: class and flags."""
    table = class_table().copy()
    for flag, marks in _MARKS.items():
        table[[ord(mark) for mark in marks]] |= flag
    return table


def _class_by_category(category: str) -> int:
    if category == "Nd":
        return DIGIT
    return {"P": PUNCTUATION, "S": SYMBOL, "Z": SPACE}.get(category[0], OTHER)


@compiled
def decode(data: Any, at: int) -> tuple[Any, int]:
    """Code point (int64) that starts at byte `at` of valid UTF-8, and where the next one starts."""
    lead = np.int64(data[at])
    if lead < 0x80:
        return lead, at + 1
    second = np.int64(data[at + 1]) & 0x3F
    if lead < 0xE0:
        return (lead & 0x1F) << 6 | second, at + 2
    third = np.int64(data[at + 2]) & 0x3F
    if lead < 0xF0:
        return (lead & 0x0F) << 12 | second << 6 | third, at + 3
    return (lead & 0x07) << 18 | second << 12 | third << 6 | (np.int64(data[at + 3]) & 0x3F), at + 4


@compiled
def class_of(point: int, classes: Any) -> int:
    """Class of a code point by `class_table`, or its trait by `trait_table`."""
    if point < _BMP:
        return classes[point]
    if _IDEOGRAPHIC_PLANES[0] <= point <= _IDEOGRAPHIC_PLANES[1]:
        return KANJI
    return SYMBOL if _PICTOGRAPHS[0] <= point <= _PICTOGRAPHS[1] else OTHER


@compiled
def is_visible(point: int, classes: Any) -> bool:
    """Whether a character is neither space nor newline."""
    return class_of(point, classes) not in (SPACE, NEWLINE)


@compiled
def copy_visible(data: Any, at: int, end: int, classes: Any, out: Any) -> tuple[int, int]:
    """Copy visible code points from byte `at` on until `end`, or until `out` is full.

    Returns: how many were copied, and the byte after the last one.
    """
    count = 0
    while at < end and count < len(out):
        point, at = decode(data, at)
        out[count] = point
        count += is_visible(point, classes)
    return count, at
