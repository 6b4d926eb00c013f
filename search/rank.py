"""What a query and a passage share, and how much that says: pure functions on text."""

import math
import unicodedata

# Shorter shared runs are single characters: noise.
LEAST_SPAN = 2
# How much a hiragana counts beside a kanji, katakana, letter or digit, which carry the content of a Japanese sentence.
# R@1 of 300 JSQuAD questions among 38,691 passages: 1.0 -> .860, 0.5 -> .883, 0.3 -> .893, 0.2 -> .893, 0 -> .883.
HIRAGANA = 0.2
_FIRST_HIRAGANA, _LAST_HIRAGANA = "\u3041", "\u309f"


def shared_spans(query: str, passage: str) -> list[tuple[int, int]]:
    """Maximal [begin, end) of `query` that occur in `passage`: none can be longer on either side.

    At least LEAST_SPAN characters each; ascending; they may overlap.
    """
    spans: list[tuple[int, int]] = []
    end = 0
    for begin in range(len(query)):
        end = max(end, begin)
        before = end
        while end < len(query) and query[begin : end + 1] in passage:
            end += 1
        if end - begin >= LEAST_SPAN and end > before:
            spans.append((begin, end))
    return spans


def content(text: str) -> float:
    """How many characters of content a text has: HIRAGANA for a hiragana, 0 for punctuation and space, else 1."""
    return sum(map(_content, text))


def weight(text: str, count: int, characters: int) -> float:
    """How much a shared span says: its content times how surprising it is, -ln(count / characters).

    Args:
        count: how often it occurs in the corpus, at least 1.
        characters: size of the corpus.
    """
    return content(text) * math.log(characters / count)


def places(texts: set[str], passage: str) -> tuple[tuple[int, int], ...]:
    """Where any of `texts` occurs in `passage`, overlapping and touching places joined, ascending."""
    found: list[tuple[int, int]] = []
    for text in texts:
        begin = passage.find(text)
        while begin >= 0:
            found.append((begin, begin + len(text)))
            begin = passage.find(text, begin + 1)
    return joined(found)


def joined(spans: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The same characters as disjoint spans, ascending."""
    made: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if made and begin <= made[-1][1]:
            made[-1] = (made[-1][0], max(made[-1][1], end))
        else:
            made.append((begin, end))
    return tuple(made)


def _content(character: str) -> float:
    if _FIRST_HIRAGANA <= character <= _LAST_HIRAGANA:
        return HIRAGANA
    return 1.0 if unicodedata.category(character)[0] in "LNS" else 0.0
