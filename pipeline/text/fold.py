"""Folding: texts that differ in width, kana, case, punctuation, spaces or line ends only become equal.

Fold of a text, one code point after the other: NFKD, case folded; letters and numbers stay (Unicode general categories
L and N, and all of planes 2 and 3, which hold ideographs only) but for the long vowel mark ー, katakana become hiragana, a
voicing mark joins the hiragana kept last, and all else goes (accents, punctuation, symbols, spaces). Old kanji forms
(旧字体) stay as they are. NFKD instead of NFKC because it needs no context; the marks that NFKC would join are joined or
dropped here. Source: Unicode Standard Annexes #15 and #44.
"""

import functools
import unicodedata
from typing import Any

import numpy as np

from pipeline.compiled import compiled

_TABLE = 0x30000  # below plane 3; that plane holds ideographs, and above it are no letters
_IDEOGRAPHS = (0x20000, 0x2F800)  # plane 2 without its compatibility ideographs: every code point folds to itself
_PLANE_3 = (0x30000, 0x3FFFF)
_DROPPED = -1
_VOICED, _SEMI_VOICED = 0x3099, 0x309A
_LONG_VOWELS = (0x30FC, 0x1AFF0)
_KATAKANA_FIRST, _KATAKANA_LAST, _TO_HIRAGANA = 0x30A1, 0x30F6, 0x60  # ァ to ヶ, block layout of Unicode
_ITERATION_MARKS = (0x30FD, 0x30FE)  # ヽ ヾ
_HIRAGANA, _HIRAGANA_END = 0x3041, 0x30A0


def fold(text: str) -> np.ndarray:
    """Folded code points of a text: (characters,) uint32."""
    return _fold(_points(text), *fold_tables())


def fold_offsets(text: str) -> np.ndarray:
    """Which code point of the text each folded one comes from: (characters,) int64."""
    return _fold_offsets(_points(text), *fold_tables()[:2])


def to_text(folded: np.ndarray) -> str:
    """Folded code points as a string."""
    return folded.astype("<u4").tobytes().decode("utf-32-le")


def _points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


@functools.cache
def fold_tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tables of the fold.

    Returns: (0x30000,) int32: the folded code point, -1 where none is left, -2 - i for row i of the expansions;
        (expansions, longest) int32, filled up with -1: foldings that are several characters or a voicing mark;
        (2, hiragana) int32: hiragana joined with the voiced and with the semi-voiced mark, 0 where there is no such letter.
    """
    table = np.arange(_TABLE, dtype=np.int32)
    expansions: list[list[int]] = []
    for point in [*range(_IDEOGRAPHS[0]), *range(_IDEOGRAPHS[1], _TABLE)]:
        folded = _fold_of(chr(point))
        if len(folded) == 1 and folded[0] not in (_VOICED, _SEMI_VOICED):
            table[point] = folded[0]
        elif not folded:
            table[point] = _DROPPED
        else:
            table[point] = -2 - len(expansions)
            expansions.append(folded)
    rows = np.full((len(expansions), max(map(len, expansions))), _DROPPED, np.int32)
    for row, folded in zip(rows, expansions, strict=True):
        row[: len(folded)] = folded
    joined = np.zeros((2, _HIRAGANA_END - _HIRAGANA), np.int32)
    for kana in range(_HIRAGANA, _HIRAGANA_END):
        for row, mark in zip(joined, (_VOICED, _SEMI_VOICED), strict=True):
            letter = unicodedata.normalize("NFC", chr(kana) + chr(mark))
            row[kana - _HIRAGANA] = ord(letter) if len(letter) == 1 else 0
    return table, rows, joined


def _fold_of(character: str) -> list[int]:
    if 0xD800 <= ord(character) < 0xE000:  # surrogates, never in UTF-8
        return []
    folded = []
    for part in unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold()):
        point = ord(part)
        if point in (_VOICED, _SEMI_VOICED):
            letter = unicodedata.normalize("NFC", chr(folded[-1]) + part) if folded else ""
            folded[-1:] = [ord(letter)] if len(letter) == 1 else [*folded[-1:], point]
        elif point >= _IDEOGRAPHS[0] or (unicodedata.category(part)[0] in "LN" and point not in _LONG_VOWELS):
            is_katakana = _KATAKANA_FIRST <= point <= _KATAKANA_LAST or point in _ITERATION_MARKS
            folded.append(point - _TO_HIRAGANA if is_katakana else point)
    return folded


@compiled
def _append(point: int, joined: Any, folded: Any, count: int) -> int:
    """Add one folded code point, or join a voicing mark to the latest; returns how many there are then."""
    if point not in (_VOICED, _SEMI_VOICED):
        folded[count] = point
        return count + 1
    if count and _HIRAGANA <= folded[count - 1] < _HIRAGANA_END:
        letter = joined[point - _VOICED, np.int64(folded[count - 1]) - _HIRAGANA]
        if letter:
            folded[count - 1] = letter
    return count


@compiled
def _entry(point: int, table: Any) -> Any:
    if point < _TABLE:
        return np.int64(table[point])
    return np.int64(point) if _PLANE_3[0] <= point <= _PLANE_3[1] else np.int64(_DROPPED)


@compiled
def _room(points: Any, table: Any, longest: int) -> int:
    """How many folded code points there can be at most."""
    expanded = 0
    for point in points:
        expanded += _entry(point, table) < _DROPPED
    return len(points) + expanded * longest + 1


@compiled
def _fold(points: Any, table: Any, expansions: Any, joined: Any) -> Any:
    folded = np.empty(_room(points, table, expansions.shape[1]), np.uint32)
    count = 0
    for point in points:
        entry = _entry(point, table)
        if entry >= _DROPPED:  # without a branch for dropped ones: the next character writes over them
            folded[count] = entry
            count += entry >= 0
        else:
            for part in expansions[-2 - entry]:
                if part == _DROPPED:
                    break
                count = _append(np.int64(part), joined, folded, count)
    return folded[:count]


@compiled
def _fold_offsets(points: Any, table: Any, expansions: Any) -> Any:
    offsets = np.empty(_room(points, table, expansions.shape[1]), np.int64)
    count = 0
    for i in range(len(points)):
        entry = _entry(points[i], table)
        if entry >= 0:
            offsets[count] = i
            count += 1
        elif entry < _DROPPED:
            for part in expansions[-2 - entry]:
                if part not in (_DROPPED, _VOICED, _SEMI_VOICED):
                    offsets[count] = i
                    count += 1
    return offsets[:count]
