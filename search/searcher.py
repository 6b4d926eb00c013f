"""Ask the index: hits of a query, each with its document and the exact training iterations of what it shows."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from pipeline.artifact import Manifest, open_sealed
from pipeline.errors import BadInput, ConfigError, RecipeDrift
from pipeline.files import short_digest
from pipeline.runfile import RunFile
from search.bm25 import rank
from search.hits import EVERY_MODE, MODES, DocumentRead, Hit, Mode, Page
from search.normalized import fold
from search.settings import IndexSettings
from search.shard.catalog import open_catalog, path_of
from search.shard.store import MODEL, VECTOR, Shard
from search.shard.texts import Texts
from search.vectors.embedder import Embedder, read_identity
from search.vectors.factory import check_embedder, open_embedder
from search.vectors.nearest import Neighbours

__all__ = ["MODES", "Hit", "Mode", "Page", "Searcher"]

# Vector neighbours that can be paged through.
NEIGHBOURS = 200


@dataclass(frozen=True)
class _State:
    """An opened catalog; a search uses one from its beginning to its end."""

    texts: Texts
    neighbours: tuple["Neighbours", ...]
    version: tuple[int, int] | None  # of the catalog's file


class Searcher:
    """An opened index; for many threads. What is added to the index or removed from it is seen by the next search."""

    def __init__(self, index: Manifest, discarded: Sequence[Sequence[int]] = ()) -> None:
        """Open the shards of a sealed index; use `open`.

        Args:
            discarded: first and last of the iterations that read their data and left nothing in the weights.
        Raises: CorruptArtifact if a shard is missing, damaged, or not what the manifest counted.
        """
        self._index = index
        self.total: int = index.stats["iterations"]
        self.discarded = frozenset(i for first, last in discarded for i in range(first, last + 1))
        self.identity = read_identity(index.data / VECTOR / MODEL)
        self._state = self._opened()

    @classmethod
    def open(cls, run: RunFile) -> "Searcher":
        """Open the index of a run.

        Raises: MissingInput if an artifact is not made; CorruptArtifact if one is damaged; RecipeDrift if the index
            describes another model than the one that is there now.
        """
        index = open_sealed(run.root("index"))
        pretrain = open_sealed(run.root("pretrain"))
        if index.inputs["pretrain"] != pretrain.digest:
            raise RecipeDrift(
                f"{index.root}: made for pretrain {short_digest(index.inputs['pretrain'])}, but {pretrain.root} now is "
                f"{pretrain.short}; `make clean-index index RUN={run.name}`"
            )
        searcher = cls(index, pretrain.stats.get("undone", ()))
        check_embedder(run.settings("index", IndexSettings), searcher.identity, str(run.path))
        return searcher

    @cached_property
    def embedder(self) -> Embedder:
        """What made the vectors; loaded when it is first asked for, which takes seconds for a large one.

        Raises: RecipeDrift, MissingInput or CorruptArtifact if it is not what the index was made with.
        """
        return open_embedder(self._index.data / VECTOR / MODEL)

    @property
    def texts(self) -> Texts:
        """The text that is searched now."""
        return self._now().texts

    def _now(self) -> _State:
        if self._state.version != _version(self._index):
            self._state = self._opened()
        return self._state

    def _opened(self) -> _State:
        version = _version(self._index)
        catalog = open_catalog(self._index)
        matches = [Neighbours(part.data / VECTOR / part.name, part.passages, self.identity) for part in catalog.parts()]
        return _State(Texts(catalog), tuple(matches), version)

    def search(self, query: str, mode: Mode, *, offset: int = 0, limit: int = 5) -> Page:
        """One page of hits, best first; the same query gives the same page, for any number of shards.

        "ngram": passages where the whole query occurs, in corpus order; where it occurs nowhere, passages that share its rare
        parts. "normalized": as "ngram", but only where the whole query occurs, for all spellings of it that mean the
        same (width, case, old characters). "vector": passages that resemble it.

        Args:
            offset: hits to leave out, those of earlier pages.
            limit: hits of this page at most.
        Raises: BadInput for an empty query, one that is not valid Unicode, and a bad page; ConfigError for an unknown mode.
        """
        text = normalize_query(query)
        if offset < 0 or limit < 1:
            raise BadInput(f"page of {limit} hits from {offset}: expected offset >= 0 and limit >= 1")
        state = self._now()
        result: _Answer
        if mode == "vector":
            result = _Passages(self._near(state, text), text)
        elif mode == "normalized":
            result = _Exact.folded(state.texts, text)
        elif mode == "ngram":
            exact = _Exact.of(state.texts, text)
            result = exact if exact.occurrences else _Passages(rank.rank(state.texts.shards, text), text)
        else:
            raise ConfigError(f"unknown search mode {mode!r}; expected one of {list(EVERY_MODE)}")
        page = result.page(state.texts, offset, limit)
        hits = tuple(self._hit(state.texts, number, mode, *row) for number, row in enumerate(page, start=offset + 1))
        return Page(hits, result.total, result.occurrences, state.texts.searched_bytes, state.texts.digest)

    def count(self, query: str) -> int:
        """How often `query` occurs, character for character; occurrences may overlap."""
        return self.texts.count(exact_text(query))

    def document(self, doc_id: str) -> DocumentRead | None:
        """Where a document comes from and when it was read, None where the index has it not."""
        for shard in self.texts.shards:
            if (number := shard.ids.number(doc_id)) is not None and number not in shard.removed:
                result = shard.document(number)
                iterations = self._read(shard.iterations(result, [(result.begin, result.end)]))
                about = (result.doc_id, result.source, result.url, result.title, result.date)
                return DocumentRead(*about, *iterations, self.total)
        return None

    def _near(self, state: _State, text: str) -> list[rank.Ranked]:
        """The NEIGHBOURS passages whose vectors are nearest."""
        vector = self.embedder.embed_query(text)
        if not vector.any():
            return []
        matches = [
            rank.Ranked(number, passage, score)
            for number, (shard, near) in enumerate(zip(state.texts.shards, state.neighbours, strict=True))
            for passage, score in near.search(vector, NEIGHBOURS)
            if not shard.is_removed(passage)
        ]
        return sorted(matches, key=lambda row: (-row.score, row.shard, row.passage))[:NEIGHBOURS]

    def _hit(
        self, texts: Texts, number: int, mode: Mode, found: rank.Ranked, end: int, spans: tuple[tuple[int, int], ...]
    ) -> Hit:
        """Fill in text and provenance.

        Args:
            end: byte of the shard's text where what is shown ends; it begins with the passage.
            spans: character ranges of what is shown.
        """
        shard = texts.shards[found.shard]
        begin = int(shard.passage_begins[found.passage])
        text, document = shard.text(begin, end), shard.document_at(begin)
        shown = [(begin, end)] if mode == "vector" else _bytes_of(spans, text, begin)
        iterations, discarded = self._read(shard.iterations(document, shown))
        return Hit(
            rank=number,
            mode=mode,
            source=document.source,
            url=document.url,
            title=document.title,
            date=document.date,
            doc_id=document.doc_id,
            text=text,
            spans=spans,
            score=found.score,
            iterations=iterations,
            discarded=discarded,
            total_iterations=self.total,
        )

    def _read(self, iterations: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Those whose effect is in the weights, and the others."""
        return tuple(i for i in iterations if i not in self.discarded), tuple(i for i in iterations if i in self.discarded)


class _Answer(Protocol):
    """All hits of a query, of which a page is made."""

    @property
    def total(self) -> int: ...
    @property
    def occurrences(self) -> int: ...
    def page(self, texts: Texts, offset: int, limit: int) -> Iterator["_Row"]: ...


_Row = tuple[rank.Ranked, int, tuple[tuple[int, int], ...]]  # passage, where what is shown ends, character ranges of it


@dataclass(frozen=True)
class _Passages:
    """Passages that are like the query, best first."""

    ranked: Sequence[rank.Ranked]
    query: str
    occurrences: int = 0

    @property
    def total(self) -> int:
        return len(self.ranked)

    def page(self, texts: Texts, offset: int, limit: int) -> Iterator[_Row]:
        for matches in self.ranked[offset : offset + limit]:
            begin, end = texts.shards[matches.shard].bounds(matches.passage)
            yield matches, end, rank.find_highlights(self.query, texts.shards[matches.shard].text(begin, end))


@dataclass(frozen=True)
class _Exact:
    """Every passage in which an occurrence of the whole query begins, in corpus order."""

    begins: Sequence[np.ndarray]  # of each shard (n,) int64, bytes of its text, ascending
    ends: Sequence[np.ndarray] | int  # where they end; or how long each of them is
    passages: Sequence[np.ndarray]  # of each shard, ascending
    score: float

    @classmethod
    def of(cls, texts: Texts, text: str) -> "_Exact":
        offsets = [shard.suffixes.positions(*matches) for shard, matches in zip(texts.shards, texts.ranges(text), strict=True)]
        return cls._made(texts, text, offsets, len(text.encode()))

    @classmethod
    def folded(cls, texts: Texts, text: str) -> "_Exact":
        """Raises: BadInput if the index has no normalized view, or nothing of the query is left when it is folded."""
        if not fold.fold_query(text):
            raise BadInput(f"the query {text!r} is empty once spelling is put aside; search for it with mode ngram")
        if any(shard.normal is None for shard in texts.shards):
            raise BadInput("this index has no normalized view; make it with `normalized = true` in [index]")
        spans = [shard.normal.spans(text) for shard in texts.shards if shard.normal]
        begins, ends = ([np.ascontiguousarray(matches[:, side]) for matches in spans] for side in range(2))
        return cls._made(texts, text, begins, ends)

    @classmethod
    def _made(cls, texts: Texts, text: str, begins: Sequence[np.ndarray], ends: Sequence[np.ndarray] | int) -> "_Exact":
        passages = [shard.passages_of(matches) for shard, matches in zip(texts.shards, begins, strict=True)]
        count = sum(map(len, begins))
        return cls(begins, ends, passages, rank.weigh_span(text, count, texts.characters) if count else 0.0)

    @property
    def occurrences(self) -> int:
        return sum(map(len, self.begins))

    @property
    def total(self) -> int:
        return sum(map(len, self.passages))

    def page(self, texts: Texts, offset: int, limit: int) -> Iterator[_Row]:
        """An occurrence that runs beyond its passage brings the following ones along."""
        for number, passages in enumerate(self.passages):
            for passage in passages[offset : offset + limit].tolist():
                yield self._row(texts.shards[number], rank.Ranked(number, passage, self.score))
            limit -= len(passages[offset : offset + limit])
            offset = max(offset - len(passages), 0)

    def _row(self, shard: Shard, found: rank.Ranked) -> _Row:
        begin, end = shard.bounds(found.passage)
        mine = self.begins[found.shard]
        first, last = np.searchsorted(mine, [begin, end]).tolist()
        begins = mine[first:last].tolist()
        if isinstance(self.ends, int):
            ends = [offset + self.ends for offset in begins]
        else:
            ends = self.ends[found.shard][first:last].tolist()
        if (furthest := max(ends)) > end:
            end = shard.bounds(shard.passage_at(furthest - 1))[1]
        characters = [(len(shard.text(begin, a)), len(shard.text(begin, b))) for a, b in zip(begins, ends, strict=True)]
        return found, end, rank.merge_spans(characters)


def _bytes_of(spans: Sequence[tuple[int, int]], text: str, begin: int) -> list[tuple[int, int]]:
    """Character ranges of `text`, which begins at byte `begin` of a shard, as byte ranges of it."""
    return [(begin + len(text[:a].encode()), begin + len(text[:b].encode())) for a, b in spans]


def _version(index: Manifest) -> tuple[int, int] | None:
    """What tells one catalog file from the next, None where there is none."""
    try:
        result = path_of(index.root).stat()
    except FileNotFoundError:
        return None
    return result.st_ino, result.st_mtime_ns


def normalize_query(query: str) -> str:
    """The query as the corpus writes text: NFC, no white space around it.

    Raises: BadInput if nothing is left, or it is not valid Unicode.
    """
    return exact_text(query.strip())


def exact_text(query: str) -> str:
    """A string to count, as the corpus writes text: NFC; white space around it is part of it.

    Raises: BadInput if it is empty, or not valid Unicode.
    """
    text = unicodedata.normalize("NFC", query)
    if not text:
        raise BadInput("the query is empty; give some text to look for")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadInput(f"the query is not valid Unicode: {error.reason} at character {error.start}") from error
    return text
