"""Shorter codes of a text that sort as the text does: a suffix array is built from them.

Sorting takes time and memory by the byte, and a Japanese character has three. Here each character has a code of one byte
(frequent characters) or two, no code is the beginning of another, and codes compare as the characters do. So the suffixes
that begin at characters are in the same order, and a suffix array of the codes is a suffix array of the text.

Source: alphabetic codes, Hu and Tucker 1971; here of two lengths only, the most frequent characters having the short one.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.compiled import compiled
from search.exact.kernels import SEPARATOR, decode_character

_LEADS = SEPARATOR  # bytes that a code may begin with; SEPARATOR is its own code
_SECONDS = 256
_CODE_POINTS = 0x110000
_TWO = 1 << 16  # of a code: it has a second byte


@dataclass(frozen=True)
class Codes:
    """A text's codes."""

    codes: np.ndarray  # (c,) uint8
    origins: np.ndarray  # (c,) uint32 or int64: where the character is whose code begins here, or the reserved offset

    def offsets(self, order: np.ndarray) -> np.ndarray:
        """Offsets in the text of those offsets in `codes` at which a character's code begins, in the given order."""
        return _map_offsets(self.origins, order, _reserved_offset(self.origins.dtype))


def shorten(text: np.ndarray) -> Codes | None:
    """Compute the codes of a text; None where it has more distinct characters than there are codes of two bytes.

    Args:
        text: (bytes,) uint8, documents of UTF-8 each followed by SEPARATOR.
    """
    counts = np.zeros(_CODE_POINTS, np.int64)
    separators = _count_characters(text, counts)
    table = _build_table(counts)
    if table is None:
        return None
    size = separators + int(counts @ (1 + (table >= _TWO)))
    codes = np.empty(size, np.uint8)
    origins = np.empty(size, np.uint32 if len(text) < _reserved_offset(np.dtype(np.uint32)) else np.int64)
    _write_codes(text, table, codes, origins, _reserved_offset(origins.dtype))
    return Codes(codes, origins)


def _reserved_offset(dtype: Any) -> int:
    """An offset that no text has; it says that no character begins here."""
    return int(np.iinfo(dtype).max)


def _build_table(counts: np.ndarray) -> np.ndarray | None:
    """Code of every character, lead | second << 8 | _TWO; as many of the most frequent ones as fit have one byte."""
    points = np.flatnonzero(counts)
    by_count = np.argsort(-counts[points], kind="stable")
    best, least, most = _assign_codes(by_count[:0], len(points)), 0, min(len(points), _LEADS)
    if best[0] > _LEADS:
        return None
    while least < most:
        middle = (least + most + 1) // 2
        if (result := _assign_codes(by_count[:middle], len(points)))[0] <= _LEADS:
            best, least = result, middle
        else:
            most = middle - 1
    table = np.zeros(_CODE_POINTS, np.int32)
    table[points] = best[1]
    return table


def _assign_codes(frequent: np.ndarray, size: int) -> tuple[int, np.ndarray]:
    """How many leads `size` characters need, and their codes, in order; the frequent ones have a lead of their own."""
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
def _count_characters(text: Any, counts: Any) -> int:
    """Count every character; returns how many separators there are."""
    offset = separators = 0
    while offset < len(text):
        if text[offset] == SEPARATOR:
            separators += 1
            offset += 1
            continue
        point, size = decode_character(text, offset)
        counts[point] += 1
        offset += size
    return separators


@compiled
def _write_codes(text: Any, table: Any, codes: Any, origins: Any, reserved: int) -> None:
    """Fill `codes` and `origins`, as `Codes` has them."""
    offset = written = 0
    while offset < len(text):
        origins[written] = offset
        if text[offset] == SEPARATOR:
            codes[written] = SEPARATOR
            origins[written] = reserved
            written += 1
            offset += 1
            continue
        point, size = decode_character(text, offset)
        code = table[point]
        codes[written] = code & 0xFF
        if code >= _TWO:
            written += 1
            codes[written] = code >> 8 & 0xFF
            origins[written] = reserved
        written += 1
        offset += size


@compiled
def _map_offsets(origins: Any, order: Any, reserved: int) -> Any:
    """`Codes.offsets`, compiled."""
    matches = np.empty(len(order), origins.dtype)
    count = 0
    for offset in order:
        origin = origins[offset]
        matches[count] = origin
        count += origin != reserved
    return matches[:count]
