"""Words between spaces: how many, which of them are words of a language, and how much of the text their n-grams repeat.

For languages that are written with spaces; the definitions are Gopher's (arXiv:2112.11446 §A1.1).
"""

from typing import Any

import numpy as np

from corpus.stats.repetition import WINDOW, add_repetition, new_scratch
from pipeline.compiled import compiled
from pipeline.text.characters import DIGIT, NEWLINE, PUNCTUATION, SPACE, SYMBOL, class_of, decode

TOKENS = (
    "words",  # runs of visible characters
    "word_characters",  # all visible characters
    "alphabetic_words",  # words with a letter
    "stop_words",  # how many different ones of STOP_WORDS occur; of a token its ASCII letters count, in lower case
    *(f"top_{n}word_characters" for n in (2, 3, 4)),
    *(f"dup_{n}word_characters" for n in range(5, 11)),
)
STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
_WORDS, _CHARACTERS, _ALPHABETIC, _STOP, _REPETITION = range(5)
# FNV-1a, 64 bits, as in `corpus.stats.text`; and 2**64 / golden ratio, whose product's upper bits choose a slot.
_FNV_BASIS, _FNV_PRIME, _SPREAD = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3), np.uint64(0x9E3779B97F4A7C15)
_SLOTS = 2 * WINDOW
_PROBES = 256  # see `corpus.stats.text`


def stop_marks() -> np.ndarray:
    """STOP_WORDS as their letters' numbers, five bits a letter: (stop words,) int64."""
    return np.array([_number([ord(letter) for letter in word]) for word in STOP_WORDS])


def _number(letters: list[int]) -> int:
    number = 0
    for letter in letters:
        number = number << 5 | (letter & 0x1F)
    return number


@compiled
def count_tokens(data: Any, bounds: Any, classes: Any, stops: Any, rows: Any) -> None:
    """Add the columns TOKENS to `rows`, (texts, len(TOKENS))."""
    longest = 0
    for document in range(len(rows)):
        longest = max(longest, bounds[document + 1] - bounds[document])
    room = min(WINDOW, longest // 2 + 1)  # a word and a space
    marks, starts, symbols = np.empty(room, np.uint64), np.empty(room + 1, np.int64), np.empty(room, np.uint32)
    slots, scratch = np.empty(_SLOTS, np.int32), new_scratch(room)
    for document in range(len(rows)):
        row, offset, end, result = rows[document], bounds[document], bounds[document + 1], 0
        while offset < end:
            count, offset, result = _words(data, offset, end, classes, stops, marks, starts, row, result)
            _name(marks[:count], slots, symbols)
            add_repetition(symbols[:count], starts, scratch, row[_REPETITION:])
        while result:
            row[_STOP] += result & 1
            result >>= 1


@compiled
def _words(
    data: Any, at: int, end: int, classes: Any, stops: Any, marks: Any, starts: Any, row: Any, found: int
) -> tuple[int, int, int]:
    """Hash words from byte `at` on into `marks`, until it is full.

    Returns: how many words, the byte after the last of them, and a bit for each stop word found so far.
    """
    count, characters = 0, 0
    while at < end and count < len(marks):
        mark, length, letters, alphabetic, short = _FNV_BASIS, 0, 0, False, True
        while at < end:
            point, at = decode(data, at)
            kind = class_of(point, classes)
            if kind in (SPACE, NEWLINE):
                break
            mark = (mark ^ np.uint64(point)) * _FNV_PRIME
            length += 1
            alphabetic |= kind not in (DIGIT, PUNCTUATION, SYMBOL)
            if 0x61 <= point | 0x20 <= 0x7A:
                short = short and letters < 1 << 20  # no stop word has five letters
                letters = (letters << 5 | point & 0x1F) & 0x1FFFFFF
        if length:
            marks[count], starts[count] = mark, characters
            count += 1
            characters += length
            row[_ALPHABETIC] += alphabetic
            for index in range(len(stops)):
                found |= (short and letters == stops[index]) << index
    starts[count] = characters
    row[_WORDS] += count
    row[_CHARACTERS] += characters
    return count, at, found


@compiled
def _name(marks: Any, slots: Any, symbols: Any) -> None:
    """Name each word by the place where it is first in the window."""
    size = 2
    while size < 2 * len(marks):
        size *= 2
    free = slots[:size]
    free[:] = -1
    for i in range(len(marks)):
        offset = np.int64((marks[i] * _SPREAD) >> np.uint64(32)) & (size - 1)
        symbols[i] = i
        for _ in range(_PROBES):
            first = free[offset]
            if first < 0:
                free[offset] = i
                break
            if marks[first] == marks[i]:
                symbols[i] = first
                break
            offset = (offset + 1) & (size - 1)
