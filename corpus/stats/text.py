"""One pass over the bytes of a text: classes of characters, lines, sentences, paragraphs and how many of them repeat."""

from typing import Any

import numpy as np

from pipeline.compiled import compiled
from pipeline.text.characters import BULLET, CLASS, CLASSES, CLOSES, ENDS, KUTEN, NEWLINE, SPACE, class_of, decode

TEXT = (
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
    "first_kana",  # of [ぁ-んァ-ン] among the first 50 characters, where hojichar's AcceptJapanese looks
    "longest_line",  # characters, spaces included
    "line_ends",  # as many as "\n"
    "alphanumeric",  # ASCII letters and digits
    "hash_signs",  # #
    "url_characters",  # of https?://[!-~]+
    "bullet_lines",  # lines whose first visible character opens an item of a list
    "paragraphs",  # blocks of lines between lines without a visible character
    "repeated_paragraphs",  # equal, but for spaces, to an earlier one
    "repeated_paragraph_characters",  # visible ones
    "repeated_sentences",  # equal, but for spaces, to an earlier one
    "repeated_sentence_characters",  # visible ones
)
_CHARACTERS, _BYTES, _VISIBLE, _REPLACEMENT, _LINES, _CLOSED, _ELLIPSIS, _REPEATED, _REPEATED_CHARACTERS, _SENTENCES = range(
    len(CLASSES), len(CLASSES) + 10
)
_MAX_LENGTH, _LONG, _KUTEN, _MARU, _FIRST_KANA, _MAX_LINE, _LINE_ENDS, _ALPHANUMERIC, _HASH_SIGNS, _URL, _BULLETS = range(
    _SENTENCES + 1, _SENTENCES + 12
)
_PARAGRAPHS, _REPEATED_PARAGRAPHS, _REPEATED_SENTENCES = _BULLETS + 1, _BULLETS + 2, _BULLETS + 4
# Visible characters: the longest sentence that Swallow allows (arXiv:2404.17733 §3).
LONG_SENTENCE = 200
LOOKUP = 50  # characters: hojichar's AcceptJapanese

_LINE_FEED, _FULL_STOP, _REPLACEMENT_CHARACTER, _MARU_MARK, _HASH_SIGN, _COLON = 0x0A, 0x2E, 0xFFFD, 0x3002, 0x23, 0x3A
# FNV-1a, 64 bits (draft-eastlake-fnv), over code points instead of bytes; each kind of block starts from its own basis.
_FNV_LINE, _FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_FNV_SENTENCE, _FNV_PARAGRAPH = np.uint64(0x84222325CBF29CE4), np.uint64(0x9CE484222325CBF2)
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio: its upper bits choose a slot (Knuth 6.4)
# A set of blocks starts with a slot for so many bytes of text; a text with shorter blocks is counted again with a larger set.
_BYTES_A_SLOT = 16
_WIDER = 4
_MIN_SLOTS = 64
# Slots looked at before a block counts as new: at half load a run of 60 is one in thousands of sets; against made-up hashes.
_PROBES = 256


@compiled
def count_texts(data: Any, bounds: Any, traits: Any, blocks: bool, rows: Any) -> None:
    """Fill the columns TEXT of `rows`, a row a text; those from "paragraphs" on only if `blocks`."""
    slots = np.empty(_MIN_SLOTS, np.uint64)
    for document in range(len(rows)):
        text, row = data[bounds[document] : bounds[document + 1]], rows[document]
        size = _MIN_SLOTS
        while size * _BYTES_A_SLOT < len(text):
            size *= 2
        whole = False
        while not whole:  # the costs of all trials together are 4 / 3 of the last one's
            if len(slots) < size:
                slots = np.empty(size, np.uint64)
            slots[:size] = 0
            row[:] = 0
            whole = _count_blocks(text, traits, blocks, slots[:size], row)
            size *= _WIDER
        _count_bytes(text, row)
        row[_FIRST_KANA] = _first_kana(text)
        row[_LINE_ENDS] = row[NEWLINE]


@compiled
def _count_bytes(data: Any, row: Any) -> None:
    """What ASCII bytes alone tell; such loops become vector instructions."""
    alphanumeric, signs, colons = 0, 0, 0
    for byte in data:
        lower = byte | 0x20
        alphanumeric += (0x30 <= byte <= 0x39) or (0x61 <= lower <= 0x7A)
        signs += byte == _HASH_SIGN
        colons += byte == _COLON
    row[_BYTES], row[_ALPHANUMERIC], row[_HASH_SIGNS] = len(data), alphanumeric, signs
    if colons:
        row[_URL] = _url_characters(data)


@compiled
def _url_characters(data: Any) -> int:
    """Characters in matches of https?://[!-~]+ ."""
    total, offset = 0, 0
    while offset < len(data):
        if data[offset] == _COLON and offset + 3 < len(data) and data[offset + 1] == 0x2F and data[offset + 2] == 0x2F:
            begin, end = _scheme(data, offset), offset + 3
            while begin >= 0 and end < len(data) and 0x21 <= data[end] <= 0x7E:
                end += 1
            if end > offset + 3:
                total += end - begin
                offset = end
        offset += 1
    return total


@compiled
def _scheme(data: Any, colon: int) -> int:
    """Where the http or https before a colon begins, -1 if there is none."""
    end = colon - 1 if colon and data[colon - 1] == 0x73 else colon  # s
    if end >= 4 and data[end - 4] == 0x68 and data[end - 3] == 0x74 and data[end - 2] == 0x74 and data[end - 1] == 0x70:
        return end - 4
    return -1


@compiled
def _first_kana(data: Any) -> int:
    result, offset, looked = 0, 0, 0
    while offset < len(data) and looked < LOOKUP:
        point, offset = decode(data, offset)
        result += 0x3041 <= point <= 0x3093 or 0x30A1 <= point <= 0x30F3  # ぁ-ん ァ-ン
        looked += 1
    return result


@compiled
def _breaks_off(last: int, before: int, third: int) -> bool:
    """Whether a line's latest three visible characters are … or ‥, or three times one of . ・ 。"""
    return last in (0x2026, 0x2025) or (last == before and before == third and last in (0x2E, 0x30FB, _MARU_MARK))


@compiled
def _count_blocks(data: Any, traits: Any, blocks: bool, slots: Any, row: Any) -> bool:
    """All that takes code points in their order; `slots` is the set of blocks seen, all free.

    Returns: False if the set is too small.
    """
    used, length, sentence, offset, characters, line_begin = 0, 0, 0, 0, 0, 0
    last, before, third, last_trait, before_trait = 0, 0, 0, 0, 0  # the line's latest visible characters
    line_mark, sentence_mark, paragraph_mark, paragraph = _FNV_LINE, _FNV_SENTENCE, _FNV_PARAGRAPH, 0
    end = len(data)
    while offset <= end:
        point, after = (_LINE_FEED, end + 1) if offset == end else decode(data, offset)
        trait = class_of(point, traits)
        kind = trait & CLASS
        if offset < end:
            row[kind] += 1
            characters += 1
        offset = after
        if kind < SPACE or kind > NEWLINE:
            line_mark = (line_mark ^ np.uint64(point)) * _FNV_PRIME
            sentence_mark = (sentence_mark ^ np.uint64(point)) * _FNV_PRIME
            if length == 0:
                row[_BULLETS] += (trait & BULLET) != 0
            length += 1
            sentence += 1
            third, before, last, before_trait, last_trait = before, last, point, last_trait, trait
            row[_REPLACEMENT] += point == _REPLACEMENT_CHARACTER
            if trait & KUTEN:
                row[_KUTEN] += 1
                row[_MARU] += point == _MARU_MARK
        if sentence and (trait & ENDS or kind == NEWLINE or (kind == SPACE and last == _FULL_STOP)):
            row[_SENTENCES] += 1
            row[_MAX_LENGTH] = max(row[_MAX_LENGTH], sentence)
            row[_LONG] += sentence if sentence > LONG_SENTENCE else 0
            if blocks:
                used += _count_block(sentence_mark, sentence, _REPEATED_SENTENCES, slots, row)
            sentence, sentence_mark = 0, _FNV_SENTENCE
            if 2 * used > len(slots):
                return False
        if kind == NEWLINE:  # or the end of the text
            if length:
                row[_LINES] += 1
                closed = (last_trait & CLOSES) != 0 and (before_trait & ENDS) != 0
                row[_CLOSED] += closed or (last_trait & ENDS) != 0 or last == _FULL_STOP
                row[_ELLIPSIS] += _breaks_off(last, before, third)
                used += _count_block(line_mark, length, _REPEATED, slots, row)
                paragraph_mark, paragraph = (paragraph_mark ^ line_mark) * _SPREAD, paragraph + length
            if paragraph and blocks and (length == 0 or offset > end):
                row[_PARAGRAPHS] += 1
                used += _count_block(paragraph_mark, paragraph, _REPEATED_PARAGRAPHS, slots, row)
            if length == 0:
                paragraph_mark, paragraph = _FNV_PARAGRAPH, 0
            row[_MAX_LINE] = max(row[_MAX_LINE], characters - line_begin - (offset <= end))
            line_begin = characters
            length, last, before, third, line_mark, last_trait, before_trait = 0, 0, 0, 0, _FNV_LINE, 0, 0
    row[_CHARACTERS], row[_VISIBLE] = characters, characters - row[SPACE] - row[NEWLINE]
    return True


@compiled
def _count_block(mark: Any, length: int, column: int, slots: Any, row: Any) -> int:
    """Count a block of `length` characters under `column` and the next if the set holds it, else put it there.

    Returns: how many blocks joined the set, 0 or 1.
    """
    last = len(slots) - 1
    offset = np.int64((mark * _SPREAD) >> np.uint64(32)) & last
    for _ in range(_PROBES):
        if slots[offset] == mark:
            row[column] += 1
            row[column + 1] += length
            return 0
        if slots[offset] == 0:
            slots[offset] = mark
            return 1
        offset = (offset + 1) & last
    return 0
