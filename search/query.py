"""Ask the index: hits of a query, each with its document and the exact training iterations of what it shows."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.artifact import Manifest, open_sealed
from pipeline.errors import BadInput, ConfigError, RecipeDrift
from pipeline.runfile import RunFile
from search import rank
from search.catalog import open_catalog, path_of
from search.embed import Embedder
from search.hits import MODES, Hit, Mode, Page
from search.store import MODEL, VECTOR, Shard
from search.texts import Texts
from search.vector import Neighbours

__all__ = ["MODES", "Hit", "Mode", "Page", "Searcher"]

# The artifacts whose digests an index holds; at query time these must be there still.
INPUTS = ("corpus", "tokenizer", "pack", "pretrain")
# Passages that a query which occurs nowhere as a whole is compared with, and vector neighbours that can be paged through.
CANDIDATES, NEIGHBOURS = 400, 200
# Shared spans up to this long (characters) nominate passages; a longer one has them as parts.
LONGEST_NOMINATOR = 12
# A span that occurs more often than this nominates nothing: it says nothing, and fetching it would be slow.
COMMON = 20_000


@dataclass(frozen=True)
class _State:
    """An opened catalog; a search uses one from its beginning to its end."""

    texts: Texts
    neighbours: tuple["Neighbours", ...]
    version: tuple[int, int] | None  # of the catalog's file


class Searcher:
    """An opened index; for many threads. What is added to the index or removed from it is seen by the next search."""

    def __init__(self, index: Manifest, undone: Sequence[Sequence[int]] = ()) -> None:
        """Open the shards of a sealed index; use `open`.

        Args:
            undone: first and last of the iterations that read their data and left nothing in the weights.
        Raises: CorruptArtifact if a shard is missing, damaged, or not what the manifest counted.
        """
        self._index = index
        self.total: int = index.stats["iterations"]
        self.undone = frozenset(i for first, last in undone for i in range(first, last + 1))
        self.embedder = Embedder.open(index.data / VECTOR / MODEL)
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
                f"{index.root}: made for pretrain {index.inputs['pretrain'][7:15]}, but {pretrain.root} now is "
                f"{pretrain.digest[7:15]}; `make clean-index index RUN={run.name}`"
            )
        return cls(index, pretrain.stats.get("undone", ()))

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
        identity = self.embedder.identity
        found = [Neighbours(part.data / VECTOR / part.name, part.passages, identity) for part in catalog.parts()]
        return _State(Texts(catalog), tuple(found), version)

    def search(self, query: str, mode: Mode, *, offset: int = 0, limit: int = 5) -> Page:
        """One page of hits, best first; the same query gives the same page, for any number of shards.

        "ngram": passages where the whole query occurs, in corpus order; where it occurs nowhere, passages that share
        its longest and rarest parts. "vector": passages that resemble it.

        Args:
            offset: hits to leave out, those of earlier pages.
            limit: hits of this page at most.
        Raises: BadInput for an empty query or one that is no Unicode text, and for a bad page; ConfigError for an unknown mode.
        """
        text = _clean(query)
        if offset < 0 or limit < 1:
            raise BadInput(f"page of {limit} hits from {offset}: expected offset >= 0 and limit >= 1")
        state, occurrences = self._now(), 0
        if mode == "vector":
            ranked = self._near(state, text)
        elif mode == "ngram":
            ranked, occurrences = _exact(state.texts, text)
            ranked = ranked or _alike(state.texts, text)
        else:
            raise ConfigError(f"unknown search mode {mode!r}; expected one of {list(MODES)}")
        page = enumerate(ranked[offset : offset + limit], start=offset + 1)
        hits = tuple(self._hit(state.texts, number, mode, found, text, whole=occurrences > 0) for number, found in page)
        return Page(hits, len(ranked), occurrences, state.texts.searched_bytes, state.texts.digest)

    def count(self, query: str) -> int:
        """How often `query` occurs, character for character; occurrences may overlap."""
        return self.texts.count(_clean(query))

    def _near(self, state: _State, text: str) -> list["_Found"]:
        """The NEIGHBOURS passages whose vectors are nearest."""
        vector = self.embedder.embed_query(text)
        if not vector.any():
            return []
        found = [
            _Found(number, passage, score)
            for number, (shard, near) in enumerate(zip(state.texts.shards, state.neighbours, strict=True))
            for passage, score in near.search(vector, NEIGHBOURS)
            if not shard.is_removed(passage)
        ]
        return sorted(found, key=_best_first)[:NEIGHBOURS]

    def _hit(self, texts: Texts, number: int, mode: Mode, found: "_Found", query: str, *, whole: bool) -> Hit:
        """Fill in text, spans and provenance.

        Args:
            whole: the query occurs here as a whole; where it runs beyond its passage, the following ones come along.
        """
        shard = texts.shards[found.shard]
        begin, end = shard.bounds(found.passage)
        if whole:
            key = query.encode()
            places = shard.suffixes.occurrences(key, begin, end)
            end = shard.bounds(shard.passage_at(places[-1] + len(key) - 1))[1]
            starts = [len(shard.text(begin, place)) for place in places]
            text, spans = shard.text(begin, end), rank.joined([(start, start + len(query)) for start in starts])
        else:
            text = shard.text(begin, end)
            spans = rank.places({query[a:b] for a, b in rank.shared_spans(query, text)}, text)
        read = _bytes_of(spans, text, begin) if mode == "ngram" else [(begin, end)]
        document = shard.document_at(begin)
        iterations = shard.iterations(document, read)
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
            iterations=tuple(i for i in iterations if i not in self.undone),
            undone=tuple(i for i in iterations if i in self.undone),
            total_iterations=self.total,
        )


def _exact(texts: Texts, text: str) -> tuple[Sequence["_Found"], int]:
    """Every passage in which an occurrence of the whole text begins, in corpus order, and the number of occurrences."""
    occurrences = texts.count(text)
    if not occurrences:
        return [], 0
    score = rank.weight(text, occurrences, texts.characters)
    shards = {id(shard): number for number, shard in enumerate(texts.shards)}
    return [
        _Found(shards[id(shard)], passage, score)
        for shard, places in texts.places(text)
        for passage in shard.passages_of(places)
    ], occurrences


def _alike(texts: Texts, text: str) -> list["_Found"]:
    """Candidates by the summed weight of the distinct maximal spans that they share with the text."""
    weights = _Weights(texts.shards, texts.characters)
    scored = []
    for number, passage in _nominate(texts, text, weights):
        (body,) = texts.shards[number].passage_texts([passage])
        spans = {text[begin:end] for begin, end in rank.shared_spans(text, body)}
        score = sum(sorted(map(weights, spans)))
        if score > 0:
            scored.append(_Found(number, passage, score))
    return sorted(scored, key=_best_first)


def _nominate(texts: Texts, text: str, weights: "_Weights") -> list[tuple[int, int]]:
    """The first CANDIDATES (shard, passage) that have the weightiest parts of the text."""
    key = text.encode()
    longest = [len(key[begin : begin + length].decode()) for begin, length in zip(*texts.matches(text), strict=True)]
    parts = {
        text[begin : begin + size]
        for begin, most in enumerate(longest)
        for size in range(rank.LEAST_SPAN, min(most, LONGEST_NOMINATOR) + 1)
    }
    chosen: dict[tuple[int, int], None] = {}
    for part in sorted(parts, key=lambda part: (-weights(part), part)):
        if weights(part) <= 0 or len(chosen) >= CANDIDATES:
            break
        if weights.count(part) > COMMON:
            continue
        for number, (shard, found) in enumerate(zip(texts.shards, weights.ranges(part), strict=True)):
            passages = shard.passages_of(shard.suffixes.positions(*found))
            chosen |= dict.fromkeys((number, passage) for passage in passages)
    return list(chosen)[:CANDIDATES]


def _bytes_of(spans: Sequence[tuple[int, int]], text: str, begin: int) -> list[tuple[int, int]]:
    """Character ranges of `text`, which begins at byte `begin` of a shard, as byte ranges of it."""
    return [(begin + len(text[:a].encode()), begin + len(text[:b].encode())) for a, b in spans]


def _version(index: Manifest) -> tuple[int, int] | None:
    """What tells one catalog file from the next, None where there is none."""
    try:
        found = path_of(index.root).stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


class _Found(NamedTuple):
    """A passage that answers, before its text is fetched."""

    shard: int
    passage: int
    score: float


class _Weights:
    """Memory of how often parts of one query occur, and so of what they say."""

    def __init__(self, shards: Sequence[Shard], characters: int) -> None:
        self._shards, self._characters = shards, characters
        self._ranges: dict[str, list[tuple[int, int]]] = {}
        self._weights: dict[str, float] = {}

    def ranges(self, part: str) -> list[tuple[int, int]]:
        """Suffix ranks of a part in each shard."""
        if part not in self._ranges:
            self._ranges[part] = [shard.suffixes.range(part.encode()) for shard in self._shards]
        return self._ranges[part]

    def count(self, part: str) -> int:
        """How often it occurs."""
        return sum(high - low for low, high in self.ranges(part))

    def __call__(self, part: str) -> float:
        if part not in self._weights:
            self._weights[part] = rank.weight(part, max(self.count(part), 1), self._characters)
        return self._weights[part]


def _best_first(found: _Found) -> tuple[float, int, int]:
    return -found.score, found.shard, found.passage


def _clean(query: str) -> str:
    """The query as the corpus writes text: NFC, no white space around it.

    Raises: BadInput if nothing is left, or it holds what no UTF-8 text can.
    """
    text = unicodedata.normalize("NFC", query).strip()
    if not text:
        raise BadInput("the query is empty; give some text to look for")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadInput(f"the query is no Unicode text: {error.reason} at character {error.start}") from error
    return text
