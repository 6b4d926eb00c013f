"""Finds what of an evaluation benchmark is in the training data, and which checkpoint had read it.

Whether a document holds a text is decided by `pipeline.text.benchmark_match`, as decontamination of the corpus decides it:
what decontamination would remove is reported here, whatever its width or case. Exact: a document contains the whole folded
text. Near: a document contains at least a share of its distinct n-grams. A checkpoint had read an n-gram, or the whole text,
when the iterations up to its own had read every byte of it.

Every document is scanned, so the time grows with the training data and hardly with the benchmark.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from pipeline.errors import ConfigError
from pipeline.text.benchmark_files import Passage
from pipeline.text.benchmark_match import BenchmarkIndex, Check, HeldText, MatchSettings
from pipeline.text.fold import fold, fold_offsets
from search.provenance.occurrences import TracedIndex, make_ranges
from search.shard.reads import UNREAD
from search.shard.store import Shard

Verdict = Literal["exact", "near"]
# Documents that a thread scans at once: enough that the cost of handing them out does not count.
DOCUMENTS_PER_TASK = 256


@dataclass(frozen=True)
class ItemReport:
    """One text of the benchmark."""

    item: str
    field: str
    text: str
    characters: int  # folded
    check: Check  # how it is searched for; "too short": not at all
    count: int  # occurrences of the whole text
    documents: int  # that contain it, exactly or nearly
    share: float  # the greatest share of its distinct n-grams in one of those documents; 0 where there is none
    first: int | None  # by which iteration one whole occurrence had been read; None where none had
    shares: tuple[float, ...]  # of each checkpoint: the greatest share that it had read in one document

    def as_dict(self) -> dict[str, Any]:
        """The text as JSON values."""
        return vars(self) | {"share": round(self.share, 6), "shares": [round(share, 6) for share in self.shares]}


@dataclass(frozen=True)
class Total:
    """Numbers of texts: those of one field, or all."""

    texts: int
    short: int  # too short to be searched for
    exact: int
    near: int  # not exact
    read: tuple[tuple[int, int], ...]  # exact and near ones of each checkpoint

    def as_dict(self) -> dict[str, Any]:
        """The numbers as JSON values."""
        return vars(self) | {"read": [{"exact": exact, "near": near} for exact, near in self.read]}


@dataclass(frozen=True)
class Contamination:
    """What of a benchmark is in the training data, and what was searched to find it."""

    benchmark: str
    items: tuple[ItemReport, ...]  # in the order of the file
    checkpoints: tuple[int, ...]  # iterations, ascending
    settings: MatchSettings
    total_iterations: int
    searched_bytes: int
    index: str  # digest of what was searched

    def verdict(self, item: ItemReport, checkpoint: int | None = None) -> Verdict | None:
        """What a text is in the training data, or in what one of `checkpoints` had read of it; None for neither."""
        if checkpoint is None:
            exact, share = item.count > 0, item.share
        else:
            exact = item.first is not None and item.first <= checkpoint
            share = item.shares[self.checkpoints.index(checkpoint)]
        return "exact" if exact else "near" if item.check == "ngrams" and share >= self.settings.min_share else None

    def total(self, field: str | None = None) -> Total:
        """Numbers of one field's texts, or of all."""
        rows = [item for item in self.items if field in (None, item.field)]
        verdicts = [self.verdict(item) for item in rows]
        read = []
        for checkpoint in self.checkpoints:
            then = [self.verdict(item, checkpoint) for item in rows]
            read.append((then.count("exact"), then.count("near")))
        short = sum(item.check == "too short" for item in rows)
        return Total(len(rows), short, verdicts.count("exact"), verdicts.count("near"), tuple(read))

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields of the texts, in the order of the file."""
        return tuple(dict.fromkeys(item.field for item in self.items))

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON values."""
        rows = [
            item.as_dict() | {"verdict": self.verdict(item), "read": [self.verdict(item, c) for c in self.checkpoints]}
            for item in self.items
        ]
        return vars(self) | {
            "settings": vars(self.settings),
            "checkpoints": list(self.checkpoints),
            "total": self.total().as_dict(),
            "by_field": {field: self.total(field).as_dict() for field in self.fields},
            "items": rows,
        }


def find_contamination(
    searcher: TracedIndex,
    passages: Sequence[Passage],
    checkpoints: Sequence[int] = (),
    settings: MatchSettings | None = None,
    *,
    benchmark: str = "",
    advance: Callable[[int], None] = lambda documents: None,
) -> Contamination:
    """Search every document for every text of a benchmark; the result is the same for any number of shards.

    Args:
        passages: as `read_passages` gives them.
        checkpoints: iterations after which checkpoints were saved; the end of the training is always added.
        settings: MatchSettings() where left out.
        benchmark: its name.
        advance: called with the number of documents that were scanned since the last call.
    Raises: ConfigError if a checkpoint is none of the training's iterations.
    """
    if outside := [c for c in checkpoints if not 1 <= c <= searcher.total]:
        raise ConfigError(f"checkpoints {outside}: expected iterations of 1 to {searcher.total:,}, those of the training")
    settings, texts = settings or MatchSettings(), searcher.texts
    ordered = tuple(sorted({*checkpoints, searcher.total}))
    index = BenchmarkIndex.build(passages, settings)
    scan = _Scan(index, ordered, make_ranges(searcher.discarded))
    evidence = [_Evidence(np.zeros(len(ordered))) for _ in passages]
    with ThreadPoolExecutor() as pool:
        for scanned, matches in pool.map(scan.documents, _plan_tasks(texts.shards)):
            for text, one in matches:
                evidence[text].add(one)
            advance(scanned)
    items = tuple(
        ItemReport(
            item=passage.item,
            field=passage.field,
            text=passage.text,
            characters=about.characters,
            check=about.check,
            count=one.count,
            documents=one.documents,
            share=one.share,
            first=None if one.first == UNREAD else one.first,
            shares=tuple(one.shares.tolist()),
        )
        for passage, about, one in zip(passages, index.texts, evidence, strict=True)
    )
    return Contamination(
        benchmark=benchmark,
        items=items,
        checkpoints=ordered,
        settings=settings,
        total_iterations=searcher.total,
        searched_bytes=texts.searched_bytes,
        index=texts.digest,
    )


def _plan_tasks(shards: Sequence[Shard]) -> Iterator[tuple[Shard, range]]:
    """Numbers of the documents of each shard, DOCUMENTS_PER_TASK at a time."""
    for shard in shards:
        for begin in range(0, shard.documents, DOCUMENTS_PER_TASK):
            yield shard, range(begin, min(begin + DOCUMENTS_PER_TASK, shard.documents))


@dataclass
class _Evidence:
    """What was found of one text in one document, or in all that were scanned."""

    shares: np.ndarray  # (C,) float64, by checkpoint
    count: int = 0
    documents: int = 0
    share: float = 0.0
    first: int = field(default=UNREAD)

    def add(self, other: "_Evidence") -> None:
        """Add what was found in another document."""
        self.shares = np.maximum(self.shares, other.shares)
        self.count, self.documents = self.count + other.count, self.documents + other.documents
        self.share, self.first = max(self.share, other.share), min(self.first, other.first)


@dataclass(frozen=True)
class _Scan:
    """Finds the texts of an index in documents, and when training had read them."""

    index: BenchmarkIndex
    checkpoints: tuple[int, ...]
    discarded: np.ndarray  # (U, 2) ranges of iterations that left nothing in the weights

    def documents(self, task: tuple[Shard, range]) -> tuple[int, list[tuple[int, _Evidence]]]:
        """Scan some documents of a shard, without removed ones. Returns: how many, and (text, evidence) for each text found."""
        (shard, numbers), matches = task, []
        for number in numbers:
            if number in shard.removed:
                continue
            text = shard.text(int(shard.document_begins[number]), int(shard.document_begins[number + 1]) - 1)
            existing = self.index.held(fold(text))
            if existing:
                byte_offsets = np.cumsum([0, *(len(character.encode()) for character in text)])
                characters = fold_offsets(text)
                matches += [(one.text, self._evidence(shard, number, one, characters, byte_offsets)) for one in existing]
        return len(numbers), matches

    def _evidence(
        self, shard: Shard, document: int, held: HeldText, characters: np.ndarray, byte_offsets: np.ndarray
    ) -> _Evidence:
        """When training had read what one document has of a text; `characters` and `byte_offsets` are the document's."""

        def read_by(offsets: np.ndarray, width: int) -> np.ndarray:
            begins, ends = byte_offsets[characters[offsets]], byte_offsets[characters[offsets + width - 1] + 1]
            return shard.reads.complete_by(document, begins, ends, self.discarded)

        length = self.index.texts[held.text].characters
        whole = read_by(held.whole, length) if len(held.whole) else np.empty(0, np.int64)
        first = int(whole.min(initial=UNREAD))
        if held.check == "whole":
            shares = np.array([float(first <= checkpoint) for checkpoint in self.checkpoints])
        else:
            reads = read_by(held.offsets, held.width)
            distinct = len(np.unique(held.grams))
            shares = np.array([held.share * (len(np.unique(held.grams[reads <= c])) / distinct) for c in self.checkpoints])
        return _Evidence(shares=shares, count=len(held.whole), documents=1, share=held.share, first=first)
