"""Finds texts of evaluation benchmarks in documents, by folded character n-grams that are compared exactly.

The project's one notion of "the same text" as a benchmark item: decontamination removes the documents that hold one,
`make contamination` reports the items that a training document holds. Texts are folded first (`pipeline.text.fold`).
A document holds a benchmark text of at least `ngram` folded characters if it has at least `min_share` of the text's distinct
n-grams; a shorter one, of at least `shortest` characters, if it has it whole. Still shorter ones occur in ordinary text: they
are listed as "too short" and never searched for.
Source of the method: GPT-3 (arXiv:2005.14165 §C, 13-grams); over characters, because Japanese has no spaces.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from pipeline.text.benchmark_files import Passage
from pipeline.text.fold import fold, fold_offsets
from pipeline.text.ngrams import NgramIndex, ranges

Check = Literal["ngrams", "whole", "too short"]


@dataclass(frozen=True)
class MatchSettings:
    """When a document holds a benchmark text; lengths are in folded characters.

    Chosen by benchmarks/corpus/contamination.py: 13,500 texts of JGLUE against 16 million characters of Wikipedia and Aozora
    Bunko that hold none of them.
    """

    ngram: int = 13  # by chance 81 and 1 such n-grams occur in a million characters; of width 10 984 and 118, of 20 2 and 0
    min_share: float = 0.6  # of a text's distinct n-grams; the largest share by chance is .58
    shortest: int = 12  # texts shorter than `ngram` are searched for whole from here on; of 10 characters 3 occur by chance

    def __post_init__(self) -> None:
        if not 1 <= self.shortest <= self.ngram:
            raise ValueError(f"shortest = {self.shortest}, ngram = {self.ngram}: expected 1 <= shortest <= ngram")
        if not 0 < self.min_share <= 1:
            raise ValueError(f"min_share = {self.min_share}: expected a share above 0 and at most 1")

    def check(self, characters: int) -> Check:
        """Return how a text of that many folded characters is searched for."""
        if characters >= self.ngram:
            return "ngrams"
        return "whole" if characters >= self.shortest else "too short"


class BenchmarkText(NamedTuple):
    """One text of a benchmark and how it is searched for."""

    file: str
    item: str
    field: str
    characters: int  # folded
    check: Check


class BenchmarkHit(NamedTuple):
    """A benchmark text that a document holds."""

    file: str
    item: str
    field: str
    share: float  # of the text's distinct n-grams that the document has; 1 for a text searched for whole
    begin: int  # code points of the document: its longest stretch in which every n-gram is one of the text's
    end: int

    @property
    def detail(self) -> str:
        """The text of the decision row."""
        return f"{self.file}#{self.item}"


@dataclass(frozen=True)
class HeldText:
    """A benchmark text that a folded document holds; offsets are in folded characters of the document."""

    text: int  # index in `BenchmarkIndex.texts`
    share: float
    offsets: np.ndarray  # (n,) int64, ascending: where its n-grams begin, or all its whole occurrences
    grams: np.ndarray  # (n,) int64: which of its n-grams; 0 for whole occurrences
    width: int  # characters of each n-gram, or of the whole text
    whole: np.ndarray  # (w,) int64, ascending: where the whole text begins
    check: Check

    def longest(self) -> tuple[int, int]:
        """Return begin and end of the first longest stretch in which every n-gram is one of the text's."""
        if self.check == "whole":
            return int(self.offsets[0]), int(self.offsets[0]) + self.width
        begin, end = _longest_run(self.offsets)
        return begin, end + self.width - 1


@dataclass(frozen=True)
class BenchmarkIndex:
    """All texts of some benchmark files, indexed. T texts, of which L are found by n-grams and S whole."""

    texts: tuple[BenchmarkText, ...]
    digest: str  # of the texts and of the settings that decide a hit; part of the corpus recipe
    min_share: float
    folded: tuple[np.ndarray, ...]  # folded code points of each text
    long: NgramIndex
    long_texts: np.ndarray  # (L,) int64 indices into `texts`
    short: NgramIndex  # by the first characters of the texts searched for whole
    short_texts: np.ndarray  # (S,) int64

    @staticmethod
    def build(passages: Sequence[Passage], settings: MatchSettings) -> "BenchmarkIndex":
        """Fold and index the texts of benchmarks."""
        folded = tuple(fold(passage.text) for passage in passages)
        checks: list[Check] = [settings.check(len(text)) for text in folded]
        texts = tuple(
            BenchmarkText(*passage[:3], len(text), check) for passage, text, check in zip(passages, folded, checks, strict=True)
        )
        long, short = ([i for i, check in enumerate(checks) if check == kind] for kind in ("ngrams", "whole"))
        return BenchmarkIndex(
            texts=texts,
            digest=_digest(passages, settings),
            min_share=settings.min_share,
            folded=folded,
            long=NgramIndex.build([folded[i] for i in long], settings.ngram),
            long_texts=np.array(long, np.int64),
            short=NgramIndex.build([folded[i] for i in short], settings.shortest, windows=1),
            short_texts=np.array(short, np.int64),
        )

    def hits(self, text: str) -> list[BenchmarkHit]:
        """Return the benchmark texts that a document holds, the largest share first, then in the order of the files."""
        existing = self.held(fold(text))
        if not existing:
            return []
        offsets = fold_offsets(text)
        hits = []
        for one in existing:
            begin, end = one.longest()
            hit = BenchmarkHit(*self.texts[one.text][:3], one.share, int(offsets[begin]), int(offsets[end - 1]) + 1)
            hits.append((-one.share, one.text, hit))
        return [hit for _, _, hit in sorted(hits)]

    def held(self, folded: np.ndarray) -> list[HeldText]:
        """Return the benchmark texts that a folded document holds, long ones first, each in the order of the files."""
        return self._held_by_ngrams(folded) + self._held_whole(folded)

    def _held_by_ngrams(self, folded: np.ndarray) -> list[HeldText]:
        offsets, grams = self.long.find(folded)
        if not len(grams):
            return []
        counts = np.bincount(self.long.texts_of(np.unique(grams)), minlength=len(self.long_texts))
        shares = counts / np.diff(self.long.first_gram)
        order = np.argsort(grams, kind="stable")
        ordered = grams[order]
        existing = []
        for number in np.flatnonzero(shares >= self.min_share):
            own = self.long.grams_of(int(number))
            here = order[ranges(np.searchsorted(ordered, own), np.searchsorted(ordered, own, "right"))]
            here.sort()  # `find` returns ascending offsets
            text = int(self.long_texts[number])
            whole = _whole_occurrences(folded, self.folded[text], offsets[here])
            existing.append(
                HeldText(
                    text=text,
                    share=float(shares[number]),
                    offsets=offsets[here],
                    grams=grams[here],
                    width=self.long.width,
                    whole=whole,
                    check="ngrams",
                )
            )
        return existing

    def _held_whole(self, folded: np.ndarray) -> list[HeldText]:
        offsets, grams = self.short.find(folded)
        existing = []
        for number in np.unique(self.short.texts_of(np.unique(grams))) if len(grams) else ():
            text = int(self.short_texts[number])
            whole = _whole_occurrences(folded, self.folded[text], offsets[np.isin(grams, self.short.grams_of(int(number)))])
            if len(whole):
                existing.append(
                    HeldText(
                        text=text,
                        share=1.0,
                        offsets=whole,
                        grams=np.zeros(len(whole), np.int64),
                        width=len(self.folded[text]),
                        whole=whole,
                        check="whole",
                    )
                )
        return existing


def _whole_occurrences(folded: np.ndarray, text: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Return those of the candidate offsets at which the whole folded text begins."""
    fits = candidates[candidates + len(text) <= len(folded)]
    return np.array([offset for offset in fits.tolist() if np.array_equal(folded[offset : offset + len(text)], text)], np.int64)


def _longest_run(offsets: np.ndarray) -> tuple[int, int]:
    """Return begin and end of the first longest run of consecutive ascending offsets."""
    breaks = np.flatnonzero(np.diff(offsets) != 1) + 1
    longest = max(np.split(offsets, breaks), key=len)
    return int(longest[0]), int(longest[-1]) + 1


def _digest(passages: Sequence[Passage], settings: MatchSettings) -> str:
    digest = hashlib.sha256(repr((settings.ngram, settings.min_share, settings.shortest)).encode())
    for passage in passages:
        digest.update(repr(tuple(passage)).encode())
    return digest.hexdigest()
