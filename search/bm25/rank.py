"""Finds passages for a question that occurs nowhere word for word: BM25 over its character 1-, 2- and 3-grams.

No word segmentation and no table beside the suffix array: the width of an n-gram's range of suffixes is how often it occurs,
the suffixes of the rarest n-grams nominate passages, and the text of the best of those is read to count every n-gram in it.
The result is the same for any number of shards: counts are summed over all shards before anything is weighed.

Source: Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and Beyond", §3; occurrences in the corpus
are counted in place of passages that hold an n-gram. Measured by `make bench-search ONLY=rank`: docs/search.md.
"""

import math
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple, Protocol

import numpy as np

from search.bm25 import kernels
from search.exact.suffix_array import SuffixArray

# Weight of an n-gram by its characters. R@1 on the tuning half of JSQuAD, alone and among 183,000 passages: 1, 2 and 3 as here
# .922/.892, .3 and .1 .923/.897, all alike .901/.885, pairs alone .898/.881.
ORDERS = (1.0, 0.5, 0.2)
# BM25: a second occurrence adds a sixth of the first one, and length counts nearly in full. R@1 there: k1 .1 .922/.895,
# .2 .922/.892, .3 .922/.885, .6 .906/.872; b .5 to 1 differ by .002.
SATURATION, LENGTH = 0.2, 0.75
# Suffixes whose passages are looked up, those of the rarest n-grams first and of the rarest one always: BUDGET, or in a large
# corpus one for each CHARACTERS_PER_SUFFIX characters, so that the work of a shard does not depend on the corpus. R@1 and R@3
# of 740 questions among 23,700,000 characters: 100 suffixes .882/.908, 300 .891/.926, 1,000 .893/.927, 3,000 to 120,000
# .893/.928.
BUDGET, CHARACTERS_PER_SUFFIX = 10_000, 4_000
# Nominated passages whose text is read. R@3 there: 50 .927, 100 to 1,000 .928.
CANDIDATES = 200
# Characters of a query that are used: more than an answer of a bot has.
MAX_QUERY = 2000
# Shorter shared runs are single characters: noise.
MIN_SPAN = 2
# Weight of a hiragana; a kanji, katakana, letter or digit, which carry the content of a Japanese sentence, counts 1.
HIRAGANA = 0.2
_FIRST_HIRAGANA, _LAST_HIRAGANA = "\u3041", "\u309f"
# Blocks of characters that are forms of others: width, compatibility, mathematical letters.
_VARIANT_BLOCKS = ((0x20, 0x3400), (0xF900, 0xFB00), (0xFE30, 0xFFF0), (0x1D400, 0x1D800))
_TO_FULL_WIDTH = str.maketrans({chr(point): chr(point + 0xFEE0) for point in range(0x21, 0x7F)} | {" ": "\u3000"})


class RankedIndex(Protocol):
    """What ranking reads of a shard; `search.shard.store.Shard` is one."""

    @property
    def suffixes(self) -> SuffixArray: ...  # noqa: D102

    @property
    def passage_begins(self) -> np.ndarray:
        """(P,) ascending: where each passage begins in the text."""
        ...


class Ranked(NamedTuple):
    """A passage that shares something with a query."""

    shard: int
    passage: int
    score: float


class _Query(NamedTuple):
    """A query's G distinct n-grams as the kernels count them."""

    ranges: list[list[list[tuple[int, int, int]]]]  # of each n-gram in each shard: ranks and bytes of every spelling
    weights: np.ndarray  # (G,) float64
    counts: np.ndarray  # (G,) int64: occurrences in all shards
    characters: tuple[np.ndarray, np.ndarray, int]  # `kernels.make_table` of code points and their ids
    grams: tuple[np.ndarray, np.ndarray, int]  # `kernels.make_table` of n-grams and their numbers


def rank(shards: Sequence[RankedIndex], query: str, most: int = CANDIDATES) -> list[Ranked]:
    """Rank up to `most` passages by BM25 over character n-grams, best first, equal ones in corpus order.

    Case, width and compatibility forms of a character are equal, in the query and in the text. What is removed from a shard is
    not found, but still counts in the rarity of n-grams until the shard is made again.

    Args:
        query: any text; characters beyond MAX_QUERY are ignored.
        most: at most CANDIDATES are found.
    Returns: [] where no shard has any of its n-grams.
    """
    grams = _build_query(shards, fold(query[:MAX_QUERY]))
    if not grams.counts.any():
        return []
    mean = sum(shard.suffixes.size for shard in shards) / sum(len(shard.passage_begins) for shard in shards)
    ranked = []
    for number, passages in enumerate(_nominate_passages(shards, grams)):
        shard = shards[number]
        scores = kernels.score_passages(
            (np.frombuffer(shard.suffixes.text, np.uint8), shard.passage_begins),
            passages,
            grams.characters,
            grams.grams,
            grams.weights,
            constants=(SATURATION, LENGTH, mean),
        )
        ranked += [Ranked(number, *row) for row in zip(passages.tolist(), scores.tolist(), strict=True)]
    return sorted(ranked, key=lambda row: (-row.score, row.shard, row.passage))[:most]


def find_highlights(query: str, passage: str) -> tuple[tuple[int, int], ...]:
    """Find what of a passage made it a hit: character ranges, ascending and disjoint.

    These are the maximal runs of at least MIN_SPAN characters that both share, apart from case and width; if any of them have
    the content of at least one kanji, only those.
    """
    text = passage.translate(_list_folds())
    asked = fold(query)
    shared = {asked[begin:end] for begin, end in find_shared_spans(asked, text)}
    return find_spans({span for span in shared if count_content(span) >= 1} or shared, text)


def fold(text: str) -> str:
    """Remove differences of case, width and compatibility forms."""
    return unicodedata.normalize("NFKC", text).lower()


def _build_query(shards: Sequence[RankedIndex], query: str) -> _Query:
    """Every distinct n-gram of a folded query but single hiragana and marks, which say nothing."""
    ids = {character: number for number, character in enumerate(sorted(set(query)), start=1)}
    starts = ((begin, size) for size in range(1, len(ORDERS) + 1) for begin in range(len(query) - size + 1))
    grams = list(dict.fromkeys(query[begin : begin + size] for begin, size in starts))
    grams = [gram for gram in grams if len(gram) > 1 or count_content(gram) == 1]
    ranges = [
        [[(*shard.suffixes.range(spelling), len(spelling)) for spelling in spellings] for shard in shards]
        for spellings in map(_list_spellings, grams)
    ]
    counts = np.array([sum(high - low for shard in matches for low, high, _ in shard) for matches in ranges], np.int64)
    passages = sum(len(shard.passage_begins) for shard in shards)
    order = np.array([ORDERS[len(gram) - 1] for gram in grams])
    points = [
        (point, number) for character, number in ids.items() for point in (ord(character), *_list_variants().get(character, ()))
    ]
    numbers = [sum(ids[c] << kernels.ID_BITS * index for index, c in enumerate(reversed(gram))) for gram in grams]
    return _Query(
        ranges=ranges,
        weights=order * np.log1p(passages / np.maximum(counts, 1)),
        counts=counts,
        characters=kernels.make_table([point for point, _ in points], [number for _, number in points]),
        grams=kernels.make_table(numbers, range(len(numbers))),
    )


def _nominate_passages(shards: Sequence[RankedIndex], query: _Query) -> list[np.ndarray]:
    """Passages of each shard, ascending: the CANDIDATES with the greatest weight of the n-grams that BUDGET allows."""
    budget = max(BUDGET, sum(shard.suffixes.size for shard in shards) // CHARACTERS_PER_SUFFIX)
    rarest = [number for number in np.argsort(query.counts, kind="stable").tolist() if query.counts[number]]
    reach = int(np.searchsorted(np.cumsum(query.counts[rarest]), budget, side="right"))
    matches = [_sum_weights(shard, number, query, rarest[: max(reach, 1)]) for number, shard in enumerate(shards)]
    every = np.concatenate([partial for _, partial in matches])
    best = np.zeros(len(every), bool)
    best[np.argsort(-every, kind="stable")[:CANDIDATES]] = True
    ends = np.cumsum([len(passages) for passages, _ in matches])
    return [passages[kept] for (passages, _), kept in zip(matches, np.split(best, ends[:-1]), strict=True)]


def _sum_weights(shard: RankedIndex, number: int, query: _Query, grams: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Passages of a shard that hold any of some n-grams, ascending, and the sum of the weights of those that each holds."""
    sums, passages = np.zeros(len(shard.passage_begins)), [np.empty(0, np.int64)]
    for gram in grams:
        for low, high, size in query.ranges[gram][number]:
            if low < high:
                offsets = shard.suffixes.positions(low, high)
                passages.append(kernels.nominate_passages(offsets, size, shard.passage_begins, query.weights[gram], sums))
    existing = np.sort(np.concatenate(passages))
    return existing, sums[existing]


def _list_spellings(gram: str) -> list[bytes]:
    """How a folded n-gram may be written in a text: as it is and, if it has ASCII, in capitals and full width."""
    if not any(character.isascii() or character != character.upper() for character in gram):
        return [gram.encode()]
    cases = dict.fromkeys((gram, gram.upper(), gram.capitalize(), gram[0] + gram[1:].upper()))
    same = [spelling for spelling in cases if len(spelling) == len(gram)]
    full = (spelling.translate(_TO_FULL_WIDTH) for spelling in same)
    return [spelling.encode() for spelling in dict.fromkeys([*same, *full])]


@cache
def _list_folds() -> dict[int, str]:
    """Characters whose folded form is one other character."""
    points = (point for first, last in _VARIANT_BLOCKS for point in range(first, last))
    folded = ((point, fold(chr(point))) for point in points)
    return {point: other for point, other in folded if len(other) == 1 and other != chr(point)}


@cache
def _list_variants() -> dict[str, list[int]]:
    """The inverse of `_list_folds`: code points of a folded character's other forms."""
    matches: dict[str, list[int]] = {}
    for point, folded in _list_folds().items():
        matches.setdefault(folded, []).append(point)
    return matches


def find_shared_spans(query: str, passage: str) -> list[tuple[int, int]]:
    """Maximal ranges [begin, end) of `query` that occur in `passage`: none can be extended on either side.

    Each has at least MIN_SPAN characters; ascending; they may overlap.
    """
    spans: list[tuple[int, int]] = []
    end = 0
    for begin in range(len(query)):
        end = max(end, begin)
        before = end
        while end < len(query) and query[begin : end + 1] in passage:
            end += 1
        if end - begin >= MIN_SPAN and end > before:
            spans.append((begin, end))
    return spans


def count_content(text: str) -> float:
    """Count the characters of content in a text: HIRAGANA for a hiragana, 0 for punctuation and space, else 1."""
    return sum(map(_character_content, text))


def weigh_span(text: str, count: int, characters: int) -> float:
    """Weigh a shared span: its content times its information, -ln(count / characters).

    Args:
        count: how often it occurs in the corpus, at least 1.
        characters: size of the corpus.
    """
    return count_content(text) * math.log(characters / count)


def find_spans(texts: set[str], passage: str) -> tuple[tuple[int, int], ...]:
    """Where any of `texts` occurs in `passage`, ascending; occurrences that overlap or touch are one span."""
    matches: list[tuple[int, int]] = []
    for text in texts:
        begin = passage.find(text)
        while begin >= 0:
            matches.append((begin, begin + len(text)))
            begin = passage.find(text, begin + 1)
    return merge_spans(matches)


def merge_spans(spans: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Merge spans that overlap or touch; ascending."""
    results: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if results and begin <= results[-1][1]:
            results[-1] = (results[-1][0], max(results[-1][1], end))
        else:
            results.append((begin, end))
    return tuple(results)


def _character_content(character: str) -> float:
    if _FIRST_HIRAGANA <= character <= _LAST_HIRAGANA:
        return HIRAGANA
    return 1.0 if unicodedata.category(character)[0] in "LNS" else 0.0
