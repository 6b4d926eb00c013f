"""What is countable about a document, in one pass over its UTF-8 bytes; the rules read nothing else.

Source of the classes: Unicode 14 blocks and general categories (UAX #44); kana and kanji as Swallow counts them
(arXiv:2404.17733 §3), with 々〆〇 as kanji and ー as katakana.
"""

import functools
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from corpus.compiled import compiled
from corpus.words import LISTS, NO_WORDS, WordLists

# Classes of characters: every character is in exactly one, so their counts add up to `characters`.
CLASSES = ("hiragana", "katakana", "kanji", "latin", "digit", "punctuation", "symbol", "space", "newline", "other")
STATISTICS = (
    *CLASSES,
    "characters",
    "bytes",
    "visible",  # characters that are neither space nor newline
    "replacement",  # U+FFFD, what decoders leave where bytes made no sense
    "lines",  # with at least one visible character
    "closed_lines",  # lines whose last visible character ends a sentence or closes a bracket after one
    "ellipsis_lines",  # lines that break off: … ‥ ... ・・・
    "repeated_lines",  # lines equal, but for spaces, to an earlier line of the document
    "repeated_characters",  # visible characters of those lines
    "sentences",  # runs of visible characters up to 。．！？!?, a full stop before a space, or the end of a line
    "longest_sentence",  # visible characters
    "long_sentence_characters",  # visible characters in sentences of more than LONG_SENTENCE
    "kuten",  # marks that end a Japanese sentence: 。．！？
    "maru",  # 。 alone, as hojichar's DiscardRareKuten counts
    "first_kana",  # of [ぁ-んァ-ン] among the first 50 characters, as hojichar's AcceptJapanese looks
    "longest_line",  # characters, spaces included
    "line_ends",  # as many as "\n"
    "alphanumeric",  # ASCII letters and digits
    "hash_signs",  # #
    "url_characters",  # of https?://[!-~]+
    "bullet_lines",  # lines whose first visible character is one of BULLETS
    "paragraphs",  # blocks of lines between lines without a visible character
    "repeated_paragraphs",  # equal, but for spaces, to an earlier one
    "repeated_paragraph_characters",  # visible ones
    "repeated_sentences",
    "repeated_sentence_characters",
    *(f"top_{n}gram_characters" for n in (2, 3, 4)),  # n times the count of the most frequent n visible characters
    *(f"dup_{n}gram_characters" for n in range(5, 11)),  # covered by n visible characters that stood earlier, each once
    "words",  # runs of visible characters
    "word_characters",
    "alphabetic_words",  # words with a letter
    "stop_words",  # how many of STOP_WORDS occur
    *(f"top_{n}word_characters" for n in (2, 3, 4)),
    *(f"dup_{n}word_characters" for n in range(5, 11)),
    "footer_lines",  # of the last 10 lines, those of which more than .3 are words of the list "footer"
    *(f"words_{name}" for name in LISTS),  # hits of a list as `corpus.words` finds them
)
COLUMN = {name: index for index, name in enumerate(STATISTICS)}

_HIRAGANA, _KATAKANA, _KANJI, _LATIN, _DIGIT, _PUNCTUATION, _SYMBOL, _SPACE, _NEWLINE, _OTHER = range(len(CLASSES))
_CHARACTERS, _BYTES, _VISIBLE, _REPLACEMENT, _LINES, _CLOSED, _ELLIPSIS, _REPEATED, _REPEATED_CHARACTERS, _SENTENCES = range(
    len(CLASSES), len(CLASSES) + 10
)
_LONGEST, _LONG, _KUTEN = range(len(CLASSES) + 10, len(CLASSES) + 13)
# Visible characters: the longest sentence that Swallow allows (arXiv:2404.17733 §3).
LONG_SENTENCE = 200

# First and last code point of the letters of each script, both included.
_SCRIPTS = (
    (_HIRAGANA, ((0x3041, 0x3096), (0x309D, 0x309F))),
    (_KATAKANA, ((0x30A1, 0x30FA), (0x30FC, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9F))),
    (_KANJI, ((0x3005, 0x3007), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAD9))),
    (_LATIN, ((0x41, 0x5A), (0x61, 0x7A), (0xC0, 0xD6), (0xD8, 0xF6), (0xF8, 0x24F), (0x1E00, 0x1EFF))),
    (_LATIN, ((0xFF21, 0xFF3A), (0xFF41, 0xFF5A))),
)
_BMP = 0x10000
_LINE_FEED, _FULL_STOP, _REPLACEMENT_CHARACTER = 0x0A, 0x2E, 0xFFFD
_IDEOGRAPHIC_PLANES = (0x20000, 0x3FFFF)  # planes 2 and 3 hold CJK ideographs only
_PICTOGRAPHS = (0x1F000, 0x1FBFF)  # game tiles, emoji, arrows, legacy computing
# FNV-1a, 64 bits (draft-eastlake-fnv), over code points instead of bytes.
_FNV_BASIS, _FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)


# Columns that are computed only where their group is asked for; the others always are.
GROUPS: dict[str, tuple[str, ...]] = {
    "paragraphs": tuple(name for name in STATISTICS if "paragraph" in name or "repeated_sentence" in name),
    "ngrams": tuple(name for name in STATISTICS if name.endswith("gram_characters")),
    "wordgrams": (
        *("words", "word_characters", "alphabetic_words", "stop_words"),
        *(name for name in STATISTICS if name.endswith("word_characters") and name != "word_characters"),
    ),
    "words": ("footer_lines", *(f"words_{name}" for name in LISTS)),
}
ALL = frozenset(GROUPS)


def groups_of(columns: Iterable[str]) -> frozenset[str]:
    """The groups that have to be asked for so that these columns are computed."""
    wanted = set(columns)
    return frozenset(group for group, names in GROUPS.items() if wanted.intersection(names))


def lists_of(columns: Iterable[str]) -> tuple[str, ...]:
    """The word lists that have to be loaded so that these columns are computed."""
    wanted = set(columns)
    return tuple(name for name in LISTS if f"words_{name}" in wanted or (name == "footer" and "footer_lines" in wanted))


def measure(texts: Sequence[str], words: WordLists = NO_WORDS, groups: frozenset[str] = ALL) -> np.ndarray:
    """Statistics of every text: (documents, len(STATISTICS)) int64, columns named by STATISTICS.

    Args:
        words: lists whose hits are counted; the columns of the others are 0.
        groups: of GROUPS; a column of a group that is not asked for is 0.
    """
    table_DS = np.zeros((len(texts), len(STATISTICS)), np.int64)
    classes = class_table()
    for row, text in zip(table_DS, texts, strict=True):
        _measure(np.frombuffer(text.encode(), np.uint8), classes, row)
    return table_DS


@functools.cache
def class_table() -> np.ndarray:
    """Class of every code point of the Basic Multilingual Plane, (65536,) uint8."""
    table = np.full(_BMP, _OTHER, np.uint8)
    for point in range(_BMP):
        table[point] = _class_by_category(unicodedata.category(chr(point)))
    for script, ranges in _SCRIPTS:
        for first, last in ranges:
            table[first : last + 1] = script
    table[[0x09, 0x0B, 0x0C, 0x0D]] = _SPACE
    table[0x0A] = _NEWLINE
    return table


def _class_by_category(category: str) -> int:
    if category == "Nd":
        return _DIGIT
    return {"P": _PUNCTUATION, "S": _SYMBOL, "Z": _SPACE}.get(category[0], _OTHER)


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
    """Class of a code point: index into CLASSES."""
    if point < _BMP:
        return classes[point]
    if _IDEOGRAPHIC_PLANES[0] <= point <= _IDEOGRAPHIC_PLANES[1]:
        return _KANJI
    return _SYMBOL if _PICTOGRAPHS[0] <= point <= _PICTOGRAPHS[1] else _OTHER


@compiled
def is_visible(point: int, classes: Any) -> bool:
    """Whether a character is neither space nor newline."""
    return class_of(point, classes) not in (_SPACE, _NEWLINE)


@compiled
def _is_kuten(point: int) -> bool:
    return point in (0x3002, 0xFF0E, 0xFF61, 0xFF01, 0xFF1F)  # 。 ． ｡ ！ ？


@compiled
def _ends_sentence(point: int) -> bool:
    return _is_kuten(point) or point in (0x21, 0x3F)  # ! ?


@compiled
def _closes(point: int) -> bool:
    return point in (0xFF09, 0x300D, 0x300F, 0x3011, 0x29, 0x22, 0x201D)  # ） 」 』 】 ) " ”


@compiled
def _breaks_off(last: int, before: int, third: int) -> bool:
    """Whether a line's latest three visible characters are … or ‥, or three times one of . ・ 。"""
    return last in (0x2026, 0x2025) or (last == before and before == third and last in (0x2E, 0x30FB, 0x3002))


@compiled
def _measure(data: Any, classes: Any, row: Any) -> None:
    """Fill `row` from the UTF-8 bytes `data`; the passes over lines are folded into the pass over bytes."""
    newlines = 0
    for byte in data:
        newlines += byte == _LINE_FEED
    hashes, lengths = np.empty(newlines + 1, np.uint64), np.empty(newlines + 1, np.int64)
    lines, length, sentence, at = 0, 0, 0, 0
    last, before, third = 0, 0, 0  # the line's latest three visible characters
    mark = _FNV_BASIS
    end = len(data)
    while at <= end:
        point, after = (_LINE_FEED, end + 1) if at == end else decode(data, at)
        kind = class_of(point, classes)
        if at < end:
            row[kind] += 1
            row[_CHARACTERS] += 1
        at = after
        if kind == _NEWLINE:  # or the end of the text
            if length:
                hashes[lines], lengths[lines] = mark, length
                lines += 1
                row[_CLOSED] += _ends_sentence(last) or last == _FULL_STOP or (_closes(last) and _ends_sentence(before))
                row[_ELLIPSIS] += _breaks_off(last, before, third)
            length, last, before, third, mark = 0, 0, 0, 0, _FNV_BASIS
        elif kind != _SPACE:
            mark = (mark ^ np.uint64(point)) * _FNV_PRIME
            length += 1
            sentence += 1
            third, before, last = before, last, point
            row[_REPLACEMENT] += point == _REPLACEMENT_CHARACTER
            row[_KUTEN] += _is_kuten(point)
        if sentence and (kind == _NEWLINE or _ends_sentence(point) or (kind == _SPACE and last == _FULL_STOP)):
            row[_SENTENCES] += 1
            row[_LONGEST] = max(row[_LONGEST], sentence)
            row[_LONG] += sentence if sentence > LONG_SENTENCE else 0
            sentence = 0
    row[_BYTES] = end
    row[_VISIBLE] = row[_CHARACTERS] - row[_SPACE] - row[_NEWLINE]
    row[_LINES] = lines
    _count_repeats(hashes[:lines], lengths[:lines], row)


@compiled
def _count_repeats(hashes: Any, lengths: Any, row: Any) -> None:
    """Lines that stood earlier in the document: all of an equal group but one (equal lines are equally long)."""
    order = np.argsort(hashes)
    for i in range(1, len(order)):
        if hashes[order[i]] == hashes[order[i - 1]]:
            row[_REPEATED] += 1
            row[_REPEATED_CHARACTERS] += lengths[order[i]]
