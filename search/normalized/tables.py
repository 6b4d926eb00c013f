"""What each character folds to, as arrays for `search.normalized.kernels`.

A character is decomposed (NFKD), then each part is replaced, until nothing changes:

    case                       str.casefold, so Ａ, A and a are one letter
    katakana                   hiragana; the accented and small letters stay apart from the plain ones, as ひ from び from ぴ
    ゐ ヰ, ゑ ヱ, 変体仮名     い, え, and the letter that Unicode's name gives (HENTAIGANA LETTER KA-3 is か)
    ヵ ヶ                      か, け: 一ヵ月 and 一か月, 茅ヶ崎 and 茅ケ崎 are one
    kanji                      旧字体 and other variants become the form of today (`search.normalized.kanji_variants`)
    ゛ ゜ on their own         the combining marks, which join the letter before: か゛ is が, as half-width ｶﾞ is
    〜 ― − ∥                   what the other mapping of the same JIS X 0208 character folds to (～ — － ‖)
    variation selectors        nothing, as every default ignorable code point (joiners, soft hyphens, marks of direction)

The parts of a text are then composed again (NFC): `search.normalized.kernels`. But for the Japanese rows this is Unicode's
NFKC_Casefold. Katakana become hiragana because people who search expect it: Find in Chromium and Safari takes both kinds for
equal and keeps voiced and small letters apart (WebKit, TextIterator.cpp), kana type is a difference as weak as case in
JIS X 4061, and laws and older prose are in katakana.
Source: Unicode Standard 3.13 and its Annex 15; Unihan and OpenCC as `search.normalized.kanji_variants` says.
"""

import functools
import unicodedata
from typing import NamedTuple

import numpy as np

from search.normalized.kanji_variants import read_kanji_forms

TABLE = 0x30000  # below plane 3, which holds ideographs that fold to themselves; above it are no letters
# First entries of `Tables.fast`: the parts are listed in `rows`; the same, and the character may join what is before.
SLOW, JOINS = -1, -2
ITERATION = 0x309D  # ゝ, which repeats the kana before it; ヽ folds to it, ゞ and ヾ to it and a voicing mark
KANA, KANA_END = 0x3041, 0x3097  # the hiragana that ゝ repeats
# Hangul syllables are composed by arithmetic: Unicode Standard 3.12. Leading, vowel, trailing; how many there are of each.
L_BASE, V_BASE, T_BASE, S_BASE = 0x1100, 0x1161, 0x11A7, 0xAC00
L_COUNT, V_COUNT, T_COUNT = 19, 21, 28
# Default_Ignorable_Code_Point of DerivedCoreProperties.txt, first and last; unicodedata does not have it.
IGNORABLE = (
    *((0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F)),
    *((0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF)),
    *((0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF)),
)
IGNORABLE_PLANE = IGNORABLE[-1]
# Blocks in which every code point is itself but for `kanji_forms`, left out of the loop: they are four fifths of the table.
_IDEOGRAPHS = ((0x3400, 0x4DC0), (0x4E00, 0xA000), (0x17000, 0x18D00), (0x1B170, 0x1B300), (0x20000, 0x2F800), (0x2FA20, TABLE))
_PRIVATE = ((0xD800, 0xF900),)  # surrogates and private use
_KATAKANA, _KATAKANA_END, _TO_HIRAGANA = 0x30A1, 0x30F7, 0x60
_SYMBOLS = {"゛": "\u3099", "゜": "\u309a", "〜": "~", "―": "—", "−": "-", "∥": "‖"}
# No sound is lost: ゑ and ゐ are read え and い; the iota subscript (U+0345) would move past other accents as a letter.
_LETTERS = {"ゐ": "い", "ゑ": "え", "ゕ": "か", "ゖ": "け", "ヽ": "ゝ", "〻": "々", "\u0345": ""}
_SMALL = {"WI": "ぃ", "WE": "ぇ"}  # small ゐ and ゑ
_NAMED = "HENTAIGANA LETTER ", "HIRAGANA LETTER ", "KATAKANA LETTER "
_ARCHAIC = {
    "YE": "え",
    "E": "え",
    "YI": "い",
    "WU": "う",
    "N-MU-MO": "ん",
}  # MU and MO at the end of a word are read ん


class Tables(NamedTuple):
    """What the kernels read."""

    fast: np.ndarray  # (TABLE,) int32: the folded code point, where it is one and nothing before it matters; else SLOW, JOINS
    rows: np.ndarray  # (TABLE,) int32: where its decomposed parts begin in `parts`; -1 where it is its own only part
    parts: np.ndarray  # (parts,) int32: how many, then the parts themselves, again and again
    classes: np.ndarray  # (TABLE,) uint8: canonical combining class
    pairs: np.ndarray  # (pairs,) int64, ascending: first << 32 | second, of what NFC composes, Hangul left out
    composed: np.ndarray  # (pairs,) int32: the composite of each


@functools.cache
def build_tables() -> Tables:
    """Tables of the fold, made once a process in about 0.3 s."""
    fast, rows = np.arange(TABLE, dtype=np.int32), np.full(TABLE, -1, np.int32)
    classes = np.zeros(TABLE, np.uint8)
    pairs = _list_pairs()
    seconds = {second for _, second in pairs} | set(range(V_BASE, V_BASE + V_COUNT)) | set(range(T_BASE + 1, T_BASE + T_COUNT))
    parts: list[int] = []
    replaced = build_replacements()
    for point in _list_changing(replaced):
        text = fold_character(chr(point), replaced)
        classes[point] = unicodedata.combining(chr(point))
        joins = not text or unicodedata.combining(text[0]) or ord(text[0]) in seconds or ord(text[0]) == ITERATION
        whole = unicodedata.normalize("NFC", text)
        fast[point] = JOINS if joins else ord(whole) if len(whole) == 1 else SLOW
        if text != chr(point):
            rows[point] = len(parts)
            parts += [len(text), *map(ord, text)]
    keys = sorted(pairs)
    return Tables(
        fast=fast,
        rows=rows,
        parts=np.array(parts, np.int32),
        classes=classes,
        pairs=np.array([first << 32 | second for first, second in keys], np.int64),
        composed=np.array([pairs[key] for key in keys], np.int32),
    )


def build_replacements() -> dict[str, str]:
    """What replaces each decomposed character, where that is not its case folding."""
    result = {chr(point): chr(point - _TO_HIRAGANA) for point in range(_KATAKANA, _KATAKANA_END)}
    for first, last in IGNORABLE:
        result |= {chr(point): "" for point in range(first, last + 1)}
    for point in range(0x1B000, 0x1B168):
        if letter := _modernize(unicodedata.name(chr(point), "")):
            result[chr(point)] = letter
    return result | _SYMBOLS | _LETTERS | read_kanji_forms()


def fold_character(character: str, replaced: dict[str, str]) -> str:
    """What a character becomes on its own, decomposed."""
    text, folded = "", _SYMBOLS.get(character, character)
    while text != folded:
        text = unicodedata.normalize("NFKD", folded)
        folded = unicodedata.normalize("NFKD", "".join([replaced[c] if c in replaced else c.casefold() for c in text]))
    return text


def _modernize(name: str) -> str:
    """The letter of today for a name of the blocks Kana Supplement, Kana Extended-A and Small Kana Extension."""
    for kind in _NAMED:
        if name.startswith(kind):
            letter = name.removeprefix(kind).removeprefix("ARCHAIC ")
            if letter.startswith("SMALL "):
                return _SMALL.get(letter.removeprefix("SMALL "), "")
            letter = letter.partition("-")[0]  # KA-3 is the third form of か; KA-KE is read か more often than け
            return _ARCHAIC.get(letter) or _to_hiragana(letter)
    return ""


def _to_hiragana(letter: str) -> str:
    plain = unicodedata.lookup(f"HIRAGANA LETTER {letter}")
    return _LETTERS.get(plain, plain)


def _list_changing(replaced: dict[str, str]) -> list[int]:
    """Code points below TABLE that need not be themselves."""
    listed = np.ones(TABLE, bool)
    for first, end in (*_IDEOGRAPHS, *_PRIVATE):
        listed[first:end] = False
    listed[[ord(character) for character in replaced if ord(character) < TABLE]] = True
    return np.flatnonzero(listed).tolist()


def _list_pairs() -> dict[tuple[int, int], int]:
    """What NFC composes of two code points, but Hangul."""
    results = {}
    for point in range(TABLE):
        if S_BASE <= point < S_BASE + L_COUNT * V_COUNT * T_COUNT:
            continue
        parts = unicodedata.decomposition(chr(point)).split()
        if len(parts) == 2 and not parts[0].startswith("<") and unicodedata.normalize("NFC", chr(point)) == chr(point):
            results[int(parts[0], 16), int(parts[1], 16)] = point
    return results
