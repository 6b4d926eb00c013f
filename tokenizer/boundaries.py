"""How the tokens of a tokenizer are on the words of an analyzer.

A token straddles where it covers part of a word and reaches over that word's edge: `がで|きる` for が, できる. A token of
whole words does not straddle, and neither does a part of one word.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tokenizer.analyzer import Analyzer

IntArray = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class BoundaryFigures:
    """Counts over lines; the start of a line, which every cut has, is not counted as a boundary."""

    tokens: int
    straddling: int
    token_starts: int  # distinct places: the bytes of one character begin at one place
    word_starts: int
    shared_starts: int  # places where both a token and a word begin
    repeated_words: int  # occurrences of words of two characters or more that occur at least twice
    consistent_words: int  # of those, the ones cut inside as that word is cut most often
    repeated_kinds: int  # distinct words of two characters or more that occur at least twice
    constant_kinds: int  # of those, the ones cut inside in one way only

    @property
    def precision(self) -> float:
        """Of the places where tokens begin, the share where words begin."""
        return _ratio(self.shared_starts, self.token_starts)

    @property
    def recall(self) -> float:
        """Of the places where words begin, the share where tokens begin."""
        return _ratio(self.shared_starts, self.word_starts)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return _ratio(2 * self.shared_starts, self.token_starts + self.word_starts)

    @property
    def straddle_share(self) -> float:
        """Of the tokens, the share that straddles."""
        return _ratio(self.straddling, self.tokens)

    @property
    def consistency(self) -> float:
        """Of the occurrences of repeated words, the share that is cut as that word is cut most often."""
        return _ratio(self.consistent_words, self.repeated_words)

    @property
    def constancy(self) -> float:
        """Of the distinct repeated words, the share that is always cut the same way."""
        return _ratio(self.constant_kinds, self.repeated_kinds)


def find_straddling(token_starts: IntArray, word_starts: IntArray, end: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which tokens straddle a word boundary.

    Args:
        token_starts: (T,) character at which each token begins, ascending; equal for the bytes of one character.
        word_starts: (W,) characters at which words begin, strictly ascending.
        end: characters of the text. Lines laid end to end are one text, where each begins a token and a word.
    Returns: (T,) whether the token covers part of a word and reaches over its edge.
    """
    edges = np.append(word_starts, end)
    token_ends = np.append(token_starts[1:], end)
    first_after = np.searchsorted(edges, token_starts, side="right")
    first_at_end = np.searchsorted(edges, token_ends, side="left")
    begins_word = edges[np.searchsorted(edges, token_starts, side="left")] == token_starts
    ends_word = edges[first_at_end] == token_ends
    return (first_after < first_at_end) & ~(begins_word & ends_word)


def measure_boundaries(
    lines: Iterable[str], token_starts: Callable[[str], Sequence[int]], analyzer: Analyzer
) -> BoundaryFigures:
    """Compare where tokens and words begin.

    Args:
        lines: text without line breaks, empty lines allowed.
        token_starts: from a line to the character at which each of its tokens begins, one entry a token, ascending;
            `Tokenizer.encode_with_offsets(line)[1]` for ours.
        analyzer: what a word is.
    """
    counts: Counter[str] = Counter()
    cuts: defaultdict[str, Counter[tuple[int, ...]]] = defaultdict(Counter)
    for line in lines:
        if not line:
            continue
        tokens, words = token_starts(line), analyzer.starts(line)
        if not tokens:
            continue
        token_array, word_array = np.asarray(tokens, np.int64), np.asarray(words, np.int64)
        begun = set(tokens) - {0}
        counts["tokens"] += len(tokens)
        counts["straddling"] += int(find_straddling(token_array, word_array, len(line)).sum())
        counts["token_starts"] += len(begun)
        counts["word_starts"] += len(words) - 1
        counts["shared_starts"] += len(begun.intersection(words))
        for begin, end in zip(words, [*words[1:], len(line)], strict=True):
            if end - begin > 1:
                cuts[line[begin:end]][tuple(place - begin for place in range(begin + 1, end) if place in begun)] += 1
    repeated = [ways for ways in cuts.values() if ways.total() > 1]
    return BoundaryFigures(
        **{name: counts[name] for name in ("tokens", "straddling", "token_starts", "word_starts", "shared_starts")},
        repeated_words=sum(ways.total() for ways in repeated),
        consistent_words=sum(max(ways.values()) for ways in repeated),
        repeated_kinds=len(repeated),
        constant_kinds=sum(len(ways) == 1 for ways in repeated),
    )


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
