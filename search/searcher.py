"""Ask the index: hits of a query, each with its document and the exact training iterations of what it shows."""

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
from search.query_text import normalize_query, normalize_text
from search.settings import IndexSettings
from search.shard.catalog import catalog_path, open_catalog
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
    """One state of the index; a search uses the same one from beginning to end."""

    texts: Texts
    neighbours: tuple["Neighbours", ...]
    version: tuple[int, int] | None  # of the catalog's file, as `_read_version` gives it


class Searcher:
    """An opened index, safe for many threads; the next search sees what was added to it or removed."""

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
        self._state = self._open_state()

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
        return self._current_state().texts

    def _current_state(self) -> _State:
        if self._state.version != _read_version(self._index):
            self._state = self._open_state()
        return self._state

    def _open_state(self) -> _State:
        version = _read_version(self._index)
        catalog = open_catalog(self._index)
        neighbours = [Neighbours(part.data / VECTOR / part.name, part.passages, self.identity) for part in catalog.parts()]
        return _State(Texts(catalog), tuple(neighbours), version)

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
        state = self._current_state()
        answer: _Answer
        if mode == "vector":
            answer = _Passages(self._find_neighbours(state, text), text)
        elif mode == "normalized":
            answer = _Exact.find_folded(state.texts, text)
        elif mode == "ngram":
            exact = _Exact.find(state.texts, text)
            answer = exact if exact.occurrences else _Passages(rank.rank(state.texts.shards, text), text)
        else:
            raise ConfigError(f"unknown search mode {mode!r}; expected one of {list(EVERY_MODE)}")
        page = answer.page(state.texts, offset, limit)
        hits = tuple(self._make_hit(state.texts, number, mode, row) for number, row in enumerate(page, start=offset + 1))
        return Page(
            hits=hits,
            total=answer.total,
            occurrences=answer.occurrences,
            searched_bytes=state.texts.searched_bytes,
            index=state.texts.digest,
        )

    def count(self, query: str) -> int:
        """How often `query` occurs, character for character; occurrences may overlap."""
        return self.texts.count(normalize_text(query))

    def document(self, doc_id: str) -> DocumentRead | None:
        """Where a document comes from and when it was read, None if it is not in the index."""
        for shard in self.texts.shards:
            if (number := shard.ids.number(doc_id)) is not None and number not in shard.removed:
                document = shard.document(number)
                iterations, discarded = self._split_discarded(shard.iterations(document, [(document.begin, document.end)]))
                return DocumentRead(
                    doc_id=document.doc_id,
                    source=document.source,
                    url=document.url,
                    title=document.title,
                    date=document.date,
                    iterations=iterations,
                    discarded=discarded,
                    total_iterations=self.total,
                )
        return None

    def _find_neighbours(self, state: _State, text: str) -> list[rank.Ranked]:
        """The NEIGHBOURS passages whose vectors are nearest."""
        vector = self.embedder.embed_query(text)
        if not vector.any():
            return []
        ranked = [
            rank.Ranked(number, passage, score)
            for number, (shard, near) in enumerate(zip(state.texts.shards, state.neighbours, strict=True))
            for passage, score in near.search(vector, NEIGHBOURS)
            if not shard.is_removed(passage)
        ]
        return sorted(ranked, key=lambda row: (-row.score, row.shard, row.passage))[:NEIGHBOURS]

    def _make_hit(self, texts: Texts, number: int, mode: Mode, row: "_Row") -> Hit:
        """Read text and provenance of a hit; `number` is its rank."""
        shard = texts.shards[row.ranked.shard]
        begin, end, spans = int(shard.passage_begins[row.ranked.passage]), row.end, row.spans
        text, document = shard.text(begin, end), shard.document_at(begin)
        shown = [(begin, end)] if mode == "vector" else _to_byte_spans(spans, text, begin)
        iterations, discarded = self._split_discarded(shard.iterations(document, shown))
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
            score=row.ranked.score,
            iterations=iterations,
            discarded=discarded,
            total_iterations=self.total,
        )

    def _split_discarded(self, iterations: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Iterations whose effect is in the weights, and discarded ones."""
        return tuple(i for i in iterations if i not in self.discarded), tuple(i for i in iterations if i in self.discarded)


class _Answer(Protocol):
    """All hits of a query, of which a page is made."""

    @property
    def total(self) -> int: ...
    @property
    def occurrences(self) -> int: ...
    def page(self, texts: Texts, offset: int, limit: int) -> Iterator["_Row"]: ...


@dataclass(frozen=True)
class _Row:
    """A hit before its text is read."""

    ranked: rank.Ranked
    end: int  # byte of the shard's text where what is shown ends; it begins with the passage
    spans: tuple[tuple[int, int], ...]  # character ranges of what is shown


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
        for ranked in self.ranked[offset : offset + limit]:
            shard = texts.shards[ranked.shard]
            begin, end = shard.bounds(ranked.passage)
            yield _Row(ranked, end, rank.find_highlights(self.query, shard.text(begin, end)))


@dataclass(frozen=True)
class _Exact:
    """Every passage in which an occurrence of the whole query begins, in corpus order."""

    begins: Sequence[np.ndarray]  # of each shard (n,) int64, bytes of its text, ascending
    ends: Sequence[np.ndarray] | int  # where they end, or the length of all of them
    passages: Sequence[np.ndarray]  # of each shard, ascending
    score: float

    @classmethod
    def find(cls, texts: Texts, text: str) -> "_Exact":
        """Find every occurrence, character for character."""
        offsets = [shard.suffixes.positions(*ranks) for shard, ranks in zip(texts.shards, texts.ranges(text), strict=True)]
        return cls._from_spans(texts, text, offsets, len(text.encode()))

    @classmethod
    def find_folded(cls, texts: Texts, text: str) -> "_Exact":
        """Find every occurrence in the normalized view.

        Raises: BadInput if the index has no normalized view, or nothing of the query is left when it is folded.
        """
        if not fold.fold_query(text):
            raise BadInput(f"the query {text!r} is empty after folding; search for it with mode ngram")
        if any(shard.normal is None for shard in texts.shards):
            raise BadInput("this index has no normalized view; make it with `normalized = true` in [index]")
        spans = [shard.normal.spans(text) for shard in texts.shards if shard.normal]
        begins, ends = ([np.ascontiguousarray(own[:, side]) for own in spans] for side in range(2))
        return cls._from_spans(texts, text, begins, ends)

    @classmethod
    def _from_spans(cls, texts: Texts, text: str, begins: Sequence[np.ndarray], ends: Sequence[np.ndarray] | int) -> "_Exact":
        passages = [shard.passages_of(own) for shard, own in zip(texts.shards, begins, strict=True)]
        count = sum(map(len, begins))
        return cls(begins, ends, passages, rank.weigh_span(text, count, texts.characters) if count else 0.0)

    @property
    def occurrences(self) -> int:
        return sum(map(len, self.begins))

    @property
    def total(self) -> int:
        return sum(map(len, self.passages))

    def page(self, texts: Texts, offset: int, limit: int) -> Iterator[_Row]:
        """Passages in corpus order; where an occurrence runs beyond its passage, the following passages are shown too."""
        for number, passages in enumerate(self.passages):
            for passage in passages[offset : offset + limit].tolist():
                yield self._make_row(texts.shards[number], rank.Ranked(number, passage, self.score))
            limit -= len(passages[offset : offset + limit])
            offset = max(offset - len(passages), 0)

    def _make_row(self, shard: Shard, ranked: rank.Ranked) -> _Row:
        begin, end = shard.bounds(ranked.passage)
        mine = self.begins[ranked.shard]
        first, last = np.searchsorted(mine, [begin, end]).tolist()
        begins = mine[first:last].tolist()
        if isinstance(self.ends, int):
            ends = [offset + self.ends for offset in begins]
        else:
            ends = self.ends[ranked.shard][first:last].tolist()
        if (furthest := max(ends)) > end:
            end = shard.bounds(shard.passage_at(furthest - 1))[1]
        characters = [(len(shard.text(begin, a)), len(shard.text(begin, b))) for a, b in zip(begins, ends, strict=True)]
        return _Row(ranked, end, rank.merge_spans(characters))


def _to_byte_spans(spans: Sequence[tuple[int, int]], text: str, begin: int) -> list[tuple[int, int]]:
    """Character ranges of `text`, which begins at byte `begin` of a shard, as byte ranges of it."""
    return [(begin + len(text[:a].encode()), begin + len(text[:b].encode())) for a, b in spans]


def _read_version(index: Manifest) -> tuple[int, int] | None:
    """What differs between one catalog file and the next; None if there is none."""
    try:
        status = catalog_path(index.root).stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns
