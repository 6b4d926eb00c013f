"""Which texts extraction would leave as they are, found in one pass over a whole batch.

Most rows of a text column are prose in NFC without a control character or a space too many. For them `corpus.extract` is
a dozen searches that find nothing: a third of what a document of a sentence costs. A text that is not plain here may
still come out of extraction unchanged; one that is plain surely does.
"""

import functools
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

from corpus.extract.mojibake import SUSPICIOUS
from pipeline.compiled import compiled
from pipeline.text.characters import buffer_of, decode

_BMP = 0x10000
# Beyond the BMP: pictographs and plane 2 before its compatibility ideographs; none of them decomposes or combines.
_PICTOGRAPHS, _IDEOGRAPHS = (0x1F000, 0x1FBFF), (0x20000, 0x2F7FF)
_PLAIN, _ODD, _SPACE, _NEWLINE = range(4)
# What `corpus.extract` replaces or removes, as code points from and to.
_REPLACED = (
    (0x00, 0x09),
    (0x0B, 0x1F),
    (0x7F, 0xA0),
    (0xAD, 0xAD),
    (0x200B, 0x200F),
    (0x2028, 0x202E),
    (0x2060, 0x2069),
    (0xD800, 0xDFFF),
    (0xFEFF, 0xFEFF),
    (0xFF61, 0xFF9F),
    (0xFFFE, 0xFFFF),
)
# Jamo that join what is before them (Unicode Standard §3.12); no decomposition lists them.
_JAMO = ((0x1161, 0x1175), (0x11A8, 0x11C2))
_HIGHEST = 0x30000  # above are no characters that decompose, and none that is plain


def are_plain(texts: Sequence[str]) -> np.ndarray:
    """Which texts `corpus.extract` keeps as they are, without a flag: (texts,) bool; an empty one is not."""
    data, bounds = buffer_of(texts, "surrogatepass")
    plain = np.zeros(len(texts), bool)
    _look(data, bounds, _kinds(), plain)
    return plain


@functools.cache
def _kinds() -> np.ndarray:
    """What every code point of the Basic Multilingual Plane is to the kernel, (65536,) uint8."""
    kinds = np.full(_BMP, _PLAIN, np.uint8)
    for first, last in (*_REPLACED, *_JAMO):
        kinds[first : last + 1] = _ODD
    for point in range(_HIGHEST):
        parts = unicodedata.decomposition(chr(point)).split()
        if point < _BMP and (unicodedata.combining(chr(point)) or not unicodedata.is_normalized("NFC", chr(point))):
            kinds[point] = _ODD
        if len(parts) == 2 and not parts[0].startswith("<") and int(parts[1], 16) < _BMP:
            kinds[int(parts[1], 16)] = _ODD  # it may join what is before it
    kinds[[ord(mark) for mark in SUSPICIOUS]] = _ODD
    kinds[[0x20, 0x3000]], kinds[0x0A] = _SPACE, _NEWLINE
    return kinds


@compiled
def _look(data: Any, bounds: Any, kinds: Any, plain: Any) -> None:
    for document in range(len(plain)):
        offset, end = bounds[document], bounds[document + 1]
        # no space or line end at the ends (an ideographic space may come first), none before a line end, two of these at most
        good, before, lines = offset < end and data[offset] != 0x20, _PLAIN, 2
        while good and offset < end:
            point, offset = decode(data, offset)
            kind = _kind(point, kinds)
            if kind == _NEWLINE:
                lines += 1
                good = before != _SPACE and lines < 3
            else:
                lines = 0
                good = kind != _ODD
            before = kind
        plain[document] = good and before == _PLAIN


@compiled
def _kind(point: int, kinds: Any) -> int:
    if point < _BMP:
        return kinds[point]
    in_plane_2 = _IDEOGRAPHS[0] <= point <= _IDEOGRAPHS[1]
    return _PLAIN if in_plane_2 or _PICTOGRAPHS[0] <= point <= _PICTOGRAPHS[1] else _ODD
