"""Documents that hold items of evaluation benchmarks, found by folded character n-grams and compared exactly.

Texts are folded first (`corpus.fold`). An item of at least `ngram` folded characters is held by a document where at least
`min_share` of the item's different n-grams stand in it; a shorter one, of at least `shortest`, where it stands in it whole.
Items shorter still are never sought: ordinary text holds them; they are listed as "too short".
Source of the method: GPT-3 (arXiv:2005.14165 §C, 13-grams); on characters, for Japanese has no spaces.
"""

import functools
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from pipeline.text.benchmark_files import Passage, read_passages
from pipeline.text.fold import fold, fold_offsets
from pipeline.text.ngrams import NgramIndex, ranges

Check = Literal["ngrams", "whole", "too short"]


@dataclass(frozen=True)
class DecontaminateSettings:
    """`[corpus.decontaminate]`: benchmark files whose items no kept document may hold; no files: switched off."""

    files: tuple[Path, ...] = ()  # JSON or JSONL, SQuAD layout too
    fields: tuple[str, ...] = ()  # texts to look for; (): those of the known layouts
    # Chosen by benchmarks/corpus/contamination.py: 13,500 texts of JGLUE against 16 million characters of Wikipedia and Aozora
    # Bunko that hold none of them. Widths and lengths are in folded characters.
    ngram: int = 13  # by chance 81 and 1 such n-grams stand in a million characters; of width 10 984 and 118, of 20 2 and 0
    min_share: float = 0.6  # of an item's different n-grams: from here on a document holds the item; by chance up to .58
    shortest: int = 12  # items shorter than `ngram` are sought whole from here on, all others listed; of 10, 3 stand by chance

    def __post_init__(self) -> None:
        if not 1 <= self.shortest <= self.ngram:
            raise ValueError(f"shortest = {self.shortest}, ngram = {self.ngram}: expected 1 <= shortest <= ngram")
        if not 0 < self.min_share <= 1:
            raise ValueError(f"min_share = {self.min_share}: expected a share above 0 and at most 1")
        names = [path.name for path in self.files]
        if len(set(names)) != len(names) or len(set(self.fields)) != len(self.fields):
            raise ValueError(f"files = {names}, fields = {list(self.fields)}: expected different names")
        if self.fields and not self.files:
            raise ValueError("fields has no effect without files")


class Item(NamedTuple):
    """One text of a benchmark and how it is looked for."""

    file: str
    item: str
    field: str
    characters: int  # folded
    check: Check


class Hit(NamedTuple):
    """A benchmark text that a document holds."""

    file: str
    item: str
    field: str
    share: float  # of the text's different n-grams that stand in the document; 1 for a text sought whole
    begin: int  # code points of the document: its longest stretch in which every n-gram is one of the text's
    end: int

    @property
    def detail(self) -> str:
        """What the decision row says."""
        return f"{self.file}#{self.item}"


@dataclass(frozen=True)
class Benchmarks:
    """All texts of the benchmark files, indexed."""

    items: tuple[Item, ...]
    digest: str  # of the texts and of the settings that decide a hit; part of the recipe
    min_share: float
    long: NgramIndex
    long_items: np.ndarray  # (texts of `long`,) int64 indices into items
    short: NgramIndex  # by the first characters of the texts sought whole
    short_items: np.ndarray
    short_texts: tuple[np.ndarray, ...]

    @staticmethod
    def load(settings: DecontaminateSettings) -> "Benchmarks":
        """Read and index the files; once a process for the same settings.

        Raises: MissingInput, BadInput, ConfigError as `read_passages`.
        """
        return _load(settings)

    def hits(self, text: str) -> list[Hit]:
        """Benchmark texts that a document holds, the largest share first, then in the order of the files."""
        folded = fold(text)
        found = self._long_hits(folded) + self._short_hits(folded)
        if not found:
            return []
        offsets = fold_offsets(text)
        hits = [
            (-share, item, Hit(*self.items[item][:3], share, int(offsets[begin]), int(offsets[end - 1]) + 1))
            for item, share, begin, end in found
        ]
        return [hit for _, _, hit in sorted(hits)]

    def _long_hits(self, folded: np.ndarray) -> list[tuple[int, float, int, int]]:
        positions, grams = self.long.find(folded)
        if not len(grams):
            return []
        counts = np.bincount(self.long.texts_of(np.unique(grams)), minlength=len(self.long_items))
        shares = counts / np.diff(self.long.first_gram)
        order = np.argsort(grams, kind="stable")
        ordered = grams[order]
        out = []
        for text in np.flatnonzero(shares >= self.min_share):
            own = self.long.grams_of(int(text))
            places = ranges(np.searchsorted(ordered, own), np.searchsorted(ordered, own, "right"))
            begin, end = _longest_run(np.sort(positions[order[places]]))
            out.append((int(self.long_items[text]), float(shares[text]), begin, end + self.long.width - 1))
        return out

    def _short_hits(self, folded: np.ndarray) -> list[tuple[int, float, int, int]]:
        first: dict[int, tuple[int, float, int, int]] = {}
        for position, gram in zip(*self.short.find(folded), strict=True):
            for text in self.short.texts_of(np.array([gram])):
                whole, item = self.short_texts[text], int(self.short_items[text])
                begin, end = int(position), int(position) + len(whole)
                if item not in first and np.array_equal(folded[begin:end], whole):
                    first[item] = (item, 1.0, begin, end)
        return list(first.values())


@functools.lru_cache(maxsize=2)
def _load(settings: DecontaminateSettings) -> Benchmarks:
    passages = [passage for path in settings.files for passage in read_passages(path, settings.fields)]
    folded = [fold(passage.text) for passage in passages]
    items = tuple(Item(*p[:3], len(text), _check(len(text), settings)) for p, text in zip(passages, folded, strict=True))
    chosen = {check: [i for i, item in enumerate(items) if item.check == check] for check in ("ngrams", "whole")}
    short_texts = tuple(folded[i] for i in chosen["whole"])
    return Benchmarks(
        items,
        _digest(passages, settings),
        settings.min_share,
        NgramIndex.build([folded[i] for i in chosen["ngrams"]], settings.ngram),
        np.array(chosen["ngrams"], np.int64),
        NgramIndex.build(list(short_texts), settings.shortest, windows=1),
        np.array(chosen["whole"], np.int64),
        short_texts,
    )


def _check(characters: int, settings: DecontaminateSettings) -> Check:
    if characters >= settings.ngram:
        return "ngrams"
    return "whole" if characters >= settings.shortest else "too short"


def _digest(passages: Iterable[Passage], settings: DecontaminateSettings) -> str:
    digest = hashlib.sha256(repr((settings.ngram, settings.min_share, settings.shortest)).encode())
    for passage in passages:
        digest.update(repr(tuple(passage)).encode())
    return digest.hexdigest()


def _longest_run(positions: np.ndarray) -> tuple[int, int]:
    """Begin and end of the first longest run of consecutive ascending positions."""
    breaks = np.flatnonzero(np.diff(positions) != 1) + 1
    runs = np.split(positions, breaks)
    longest = max(runs, key=len)
    return int(longest[0]), int(longest[-1]) + 1


def contamination_rows(doc_id: str, hits: Iterable[Hit]) -> list[dict[str, Any]]:
    """A document's rows of data/contamination/<shard>.jsonl."""
    return [{"doc_id": doc_id, **hit._asdict()} for hit in hits]


def item_table(items: Iterable[Item], rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row for each benchmark text: how it was looked for, in how many documents it stands, the clearest of them.

    Args:
        items: `Benchmarks.items`.
        rows: those of all shards, in any order.
    Returns: {file, item, field, characters, check, documents, max_share, doc_id}; doc_id None where no document holds it.
    """
    table = {item[:3]: {**item._asdict(), "documents": 0, "max_share": 0.0, "doc_id": None} for item in items}
    documents: dict[tuple[str, str, str], dict[str, float]] = {}
    for row in rows:
        shares = documents.setdefault((row["file"], row["item"], row["field"]), {})
        shares[row["doc_id"]] = max(row["share"], shares.get(row["doc_id"], 0.0))
    for key, shares in documents.items():
        clearest = min(shares, key=lambda doc_id: (-shares[doc_id], doc_id))
        table[key] |= {"documents": len(shares), "max_share": shares[clearest], "doc_id": clearest}
    return list(table.values())
