"""Cut documents into passages: whole sentences, long enough to mean something, short enough to read."""

import re
import unicodedata
from collections.abc import Iterator

# Where a Japanese sentence ends: its mark with the brackets that close after it, or a line's end.
_SENTENCE_END = re.compile(r"[。！？]+[」』）】〕］》]*\n*|\n+")
# Where a sentence that is too long is best cut: after a comma or a space.
_PAUSE = re.compile(r"[、，,;；:：\s]")
_ZERO_WIDTH_JOINER = "\u200d"


def cut_passages(text: str, *, least: int, most: int) -> list[tuple[int, int]]:
    """Cut a document into passages, [begin, end) characters that cover all of it.

    A passage is made of whole sentences: it closes once it has `least` characters, or before the sentence that
    would carry it beyond `most`. A sentence longer than `most` is cut at a pause, else between two characters
    that a reader sees as two. A short rest joins the passage before it where both fit into `most`.

    Args:
        least, most: characters of a passage, 1 <= least <= most; only the last passage, and one before a long
            sentence, may be shorter than `least`; none is longer than `most`.
    Returns: ascending, each beginning where the one before ends; [] for an empty document.
    """
    results: list[tuple[int, int]] = []
    opened = 0
    for begin, end in _split_sentences(text, most):
        if end - opened > most and begin > opened:
            results.append((opened, begin))
            opened = begin
        if end - opened >= least:
            results.append((opened, end))
            opened = end
    if opened < len(text):
        if results and len(text) - results[-1][0] <= most:
            opened = results.pop()[0]
        results.append((opened, len(text)))
    return results


def _split_sentences(text: str, most: int) -> Iterator[tuple[int, int]]:
    """Sentences as [begin, end), those beyond `most` characters cut."""
    begin = 0
    ends = (match.end() for match in _SENTENCE_END.finditer(text))
    for end in (*ends, len(text)):
        while end - begin > most:
            stop = _find_stop(text, begin, most)
            yield begin, stop
            begin = stop
        if end > begin:
            yield begin, end
            begin = end


def _find_stop(text: str, begin: int, most: int) -> int:
    """End of the first part of a sentence that begins at `begin` and is longer than `most`."""
    pauses = [match.end() for match in _PAUSE.finditer(text, begin + most // 2, begin + most)]
    if pauses:
        return pauses[-1]
    stop = begin + most
    while stop > begin + 1 and _is_joined(text, stop):
        stop -= 1
    return stop if stop > begin + 1 else begin + most


def _is_joined(text: str, offset: int) -> bool:
    """Whether the characters on both sides of `offset` are one to a reader: a base and its mark, or an emoji sequence."""
    return (
        unicodedata.category(text[offset]).startswith("M")
        or text[offset] == _ZERO_WIDTH_JOINER
        or text[offset - 1] == _ZERO_WIDTH_JOINER
    )
