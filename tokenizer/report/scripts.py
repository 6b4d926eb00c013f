"""Scripts of characters and of pieces: what the report breaks its figures down by."""

import bisect
import unicodedata
from functools import lru_cache

import numpy as np

# Names as people read them; the order is that of every table.
SCRIPTS = {
    "hiragana": "ひらがな",
    "katakana": "カタカナ",
    "kanji": "漢字",
    "latin": "ラテン文字",
    "digit": "数字",
    "space": "空白・改行",
    "symbol": "句読点・記号",
    "other": "その他",
}
NAMES = tuple(SCRIPTS)
# A piece has a script where all its characters but a leading space have it; else it is one of these.
PIECES = SCRIPTS | {"japanese": "和文の混在", "mixed": "その他の混在", "byte": "バイト", "control": "制御"}
# Last lengths of the columns of the vocabulary table, in characters.
LENGTHS = (1, 2, 3, 4, 8, 16)
_JAPANESE = {"hiragana", "katakana", "kanji"}
# The marks of iteration and prolongation are written with the letters before them: ー and 々 are no symbols.
_HIRAGANA = ((0x3041, 0x3096), (0x3099, 0x309F), (0x1B001, 0x1B11F), (0x1B150, 0x1B152))
_KATAKANA = ((0x30A1, 0x30FA), (0x30FC, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9F), (0x1B000, 0x1B000), (0x1B164, 0x1B167))
_KANJI = ((0x2E80, 0x2FD5), (0x3005, 0x3007), (0x303B, 0x303B), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF),
          (0x20000, 0x3FFFD))  # fmt: skip
_RANGES = sorted((*r, name) for name, rs in (("hiragana", _HIRAGANA), ("katakana", _KATAKANA), ("kanji", _KANJI)) for r in rs)
_FIRSTS = [first for first, _, _ in _RANGES]


@lru_cache(maxsize=1 << 16)
def script(character: str) -> str:
    """The script of one character, a key of SCRIPTS; full-width letters and digits are letters and digits."""
    code = ord(character)
    place = bisect.bisect_right(_FIRSTS, code) - 1
    if place >= 0 and code <= _RANGES[place][1]:
        return _RANGES[place][2]
    kind = unicodedata.category(character)
    if kind in ("Nd", "Nl", "No"):
        return "digit"
    if character.isspace() or kind == "Zs":
        return "space"
    if kind[0] == "L":
        return "latin" if "LATIN" in unicodedata.name(character, "") else "other"
    return "symbol" if kind[0] in "PS" else "other"


def scripts(text: str) -> np.ndarray:
    """(characters,) int64: place of each character's script in NAMES."""
    return np.fromiter((_PLACES[script(character)] for character in text), np.int64, len(text))


def piece_class(content: bytes, *, control: bool = False) -> str:
    """The class of a piece, a key of PIECES.

    Args:
        content: its UTF-8 bytes, a space as a space.
        control: it stands for no text.
    """
    if control or not content:
        return "control"
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return "byte"
    found = {script(character) for character in text.lstrip(" ")}
    if len(found) < 2:
        return next(iter(found), "space")
    return "japanese" if found <= _JAPANESE else "mixed"


def is_spaced_japanese(content: bytes) -> bool:
    """Whether a piece is a space and Japanese: a copy of a piece that a language without spaces seldom needs."""
    text = content.decode(errors="replace")
    return len(text) > 1 and text[0] == " " and script(text[1]) in _JAPANESE


def length_column(content: bytes) -> int:
    """Column of LENGTHS (or the one after it) for a piece; what is not text has its bytes counted."""
    text = content.decode(errors="replace")
    return bisect.bisect_left(LENGTHS, max(len(text), 1))


_PLACES = {name: place for place, name in enumerate(NAMES)}
