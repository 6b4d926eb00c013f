"""Text in fewer bytes, in the same order: what a suffix array is built from.

Sorting takes time and memory by the byte, and a Japanese character has three. Here each character of a text has a code of
one byte (the frequent ones) or two, no code begins another, and codes compare as the characters do: so the suffixes that
begin at characters are in the same order, and a suffix array of the codes is one of the text.

Source: alphabetic codes, Hu and Tucker 1971; here of two lengths only, the most frequent characters having the short one.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.compiled import compiled
from search.exact.kernels import SEPARATOR, character

_LEADS = SEPARATOR  # bytes that a code may begin with; SEPARATOR is its own code
_SECONDS = 256
_CODE_POINTS = 0x110000
_TWO = 1 << 16  # of a code: it has a second byte


@dataclass(frozen=True)
class Codes:
    """A text's codes."""

    codes: np.ndarray  # (c,) uint8
    origins: np.ndarray  # (c,) uint32 or int64: where in the text the character begins whose code begins here, else NONE

    def offsets(self, order: np.ndarray) -> np.ndarray:
        """Places in the text of those places in `codes` at which a character's code begins, in the order given."""
        return _places(self.origins, order, _none(self.origins.dtype))


def shorten(text: np.ndarray) -> Codes | None:
    """The codes of a text; None where it has more kinds of characters than there are codes of two bytes.

    Args:
        text: (bytes,) uint8, documents of UTF-8 each followed by SEPARATOR.
    """
    counts = np.zeros(_CODE_POINTS, np.int64)
    separators = _count(text, counts)
    table = _table(counts)
    if table is None:
        return None
    size = separators + int(counts @ (1 + (table >= _TWO)))
    codes = np.empty(size, np.uint8)
    origins = np.empty(size, np.uint32 if len(text) < _none(np.dtype(np.uint32)) else np.int64)
    _write(text, table, codes, origins, _none(origins.dtype))
    return Codes(codes, origins)


def _none(dtype: Any) -> int:
    """NONE: an offset that no text has."""
    return int(np.iinfo(dtype).max)


def _table(counts: np.ndarray) -> np.ndarray | None:
    """Code of every character, lead | second << 8 | _TWO: as many of the most frequent ones alone on a lead as fit."""
    points = np.flatnonzero(counts)
    by_count = np.argsort(-counts[points], kind="stable")
    best, least, most = _coded(by_count[:0], len(points)), 0, min(len(points), _LEADS)
    if best[0] > _LEADS:
        return None
    while least < most:
        middle = (least + most + 1) // 2
        if (result := _coded(by_count[:middle], len(points)))[0] <= _LEADS:
            best, least = result, middle
        else:
            most = middle - 1
    table = np.zeros(_CODE_POINTS, np.int32)
    table[points] = best[1]
    return table


def _coded(frequent: np.ndarray, size: int) -> tuple[int, np.ndarray]:
    """Leads that `size` characters need, in their order, and their codes, where the frequent ones have a lead alone."""
    alone = np.zeros(size + 2, bool)
    alone[0] = alone[-1] = True  # beyond both ends
    alone[1 + frequent] = True
    alone = alone[1:-1] | (alone[:-2] & alone[2:])  # one between two such is alone on its lead anyway
    numbers = np.arange(size)
    first = alone | np.append(True, alone[:-1])[:size]
    inside = numbers - np.maximum.accumulate(np.where(first, numbers, 0))
    leads = np.cumsum(inside % _SECONDS == 0)
    codes = (leads - 1) | np.where(alone, 0, (inside % _SECONDS) << 8 | _TWO)
    return int(leads[-1]) if size else 0, codes.astype(np.int32)


@compiled
def _count(text: Any, counts: Any) -> int:
    """Count every character; returns how many separators there are."""
    offset = separators = 0
    while offset < len(text):
        if text[offset] == SEPARATOR:
            separators += 1
            offset += 1
            continue
        point, size = character(text, offset)
        counts[point] += 1
        offset += size
    return separators


@compiled
def _write(text: Any, table: Any, codes: Any, origins: Any, none: int) -> None:
    offset = written = 0
    while offset < len(text):
        origins[written] = offset
        if text[offset] == SEPARATOR:
            codes[written] = SEPARATOR
            origins[written] = none
            written += 1
            offset += 1
            continue
        point, size = character(text, offset)
        code = table[point]
        codes[written] = code & 0xFF
        if code >= _TWO:
            written += 1
            codes[written] = code >> 8 & 0xFF
            origins[written] = none
        written += 1
        offset += size


@compiled
def _places(origins: Any, order: Any, none: int) -> Any:
    matches = np.empty(len(order), origins.dtype)
    count = 0
    for offset in order:
        origin = origins[offset]
        matches[count] = origin
        count += origin != none
    return matches[:count]
