"""Ask the index: hits of a query, each with its document and the exact training iterations of what it shows."""

import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from pipeline.artifact import Manifest, open_sealed
from pipeline.errors import BadInput, ConfigError, CorruptArtifact, RecipeDrift
from pipeline.runfile import RunFile
from search import rank
from search.embed import Embedder
from search.hits import MODES, Hit, Mode, Page
from search.ngram import LONGEST_BYTES
from search.store import VECTOR, Document, Shard

__all__ = ["MODES", "Hit", "Mode", "Page", "Searcher"]

# The artifacts whose digests an index holds; at query time the order, the pack and the tokenizer must be those.
INPUTS = ("corpus", "tokenizer", "pack", "pretrain")
# Passages that a query which occurs nowhere as a whole is compared with, and vector neighbours that can be paged through.
CANDIDATES, NEIGHBOURS = 400, 200
# Shared spans up to this long (characters) nominate passages; a longer one has them as parts.
LONGEST_NOMINATOR = 12
# A span that occurs more often than this nominates nothing: it says nothing, and fetching it would be slow.
COMMON = 20_000
# Documents whose token places are kept: a page of hits and the next.
ENCODED_DOCUMENTS = 32


class Searcher:
    """An opened index, joined with the tokenizer and the data order of the model that it describes."""

    def __init__(self, index: Manifest, tokenizer: Path, order: Path, pack: Path) -> None:
        """Open the shards of a sealed index; use `open`.

        Raises: CorruptArtifact if a shard is missing, damaged, or not what the manifest counted.
        """
        from pretrain.order import Order
        from search.vector import Neighbours
        from tokenizer.encode import Tokenizer

        self.digest = index.digest
        rows = index.stats["shards"]
        self.shards = [Shard(index.data, name) for name in sorted(rows)]
        for shard in self.shards:
            if shard.passages != rows[shard.name]["passages"]:
                raise CorruptArtifact(
                    f"{index.root}: shard {shard.name} has {shard.passages} passages, the manifest says "
                    f"{rows[shard.name]['passages']}; make the index again"
                )
        self.embedder = Embedder.open(index.data / VECTOR / "model")
        self.neighbours = [
            Neighbours(index.data / VECTOR / f"{s.name}.faiss", s.passages, self.embedder.dimensions) for s in self.shards
        ]
        self.searched_bytes = sum(shard.text_bytes for shard in self.shards)
        self.characters = sum(len(shard.suffixes.suffixes) for shard in self.shards)
        self.order, self.tokenizer = Order.open(order, pack), Tokenizer.load(tokenizer)
        self._token_begins = lru_cache(ENCODED_DOCUMENTS)(self._encode)

    @classmethod
    def open(cls, run: RunFile) -> "Searcher":
        """Open the index of a run.

        Raises: MissingInput if an artifact is not made; CorruptArtifact if one is damaged; RecipeDrift if the index
            describes other artifacts than those that are there now.
        """
        index = open_sealed(run.root("index"))
        found = {stage: open_sealed(run.root(stage)) for stage in INPUTS if stage != "corpus"}
        for stage, manifest in found.items():
            if index.inputs[stage] != manifest.digest:
                raise RecipeDrift(
                    f"{index.root}: made for {stage} {index.inputs[stage][7:15]}, but {manifest.root} now is "
                    f"{manifest.digest[7:15]}; `make clean-index index RUN={run.name}`"
                )
        return cls(index, found["tokenizer"].data, found["pretrain"].data / "order", found["pack"].data)

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
        occurrences = 0
        if mode == "vector":
            ranked = self._near(text)
        elif mode == "ngram":
            ranked, occurrences = self._exact(text)
            ranked = ranked or self._alike(text)
        else:
            raise ConfigError(f"unknown search mode {mode!r}; expected one of {list(MODES)}")
        page = enumerate(ranked[offset : offset + limit], start=offset + 1)
        hits = tuple(self._hit(number, mode, found, text, whole=occurrences > 0) for number, found in page)
        return Page(hits, len(ranked), occurrences, self.searched_bytes, self.digest)

    def count(self, query: str) -> int:
        """How often `query` occurs, character for character; occurrences may overlap."""
        key = _clean(query).encode()
        return sum(shard.suffixes.count(key) for shard in self.shards)

    def _exact(self, text: str) -> tuple[list["_Found"], int]:
        """Every passage in which an occurrence of the whole text begins, in corpus order, and the number of occurrences."""
        ranges = [shard.suffixes.range(text.encode()) for shard in self.shards]
        occurrences = sum(high - low for low, high in ranges)
        if not occurrences:
            return [], 0
        score = rank.weight(text, occurrences, self.characters)
        return [
            _Found(number, passage, score)
            for number, (shard, found) in enumerate(zip(self.shards, ranges, strict=True))
            for passage in shard.passages_of(shard.suffixes.positions(*found))
        ], occurrences

    def _alike(self, text: str) -> list["_Found"]:
        """Candidates by the summed weight of the distinct maximal spans that they share with the text."""
        weights = _Weights(self.shards, self.characters)
        scored = []
        for number, passage in self._nominate(text, weights):
            (body,) = self.shards[number].passage_texts([passage])
            spans = {text[begin:end] for begin, end in rank.shared_spans(text, body)}
            score = sum(sorted(map(weights, spans)))
            if score > 0:
                scored.append(_Found(number, passage, score))
        return sorted(scored, key=_best_first)

    def _nominate(self, text: str, weights: "_Weights") -> list[tuple[int, int]]:
        """The first CANDIDATES (shard, passage) that have the weightiest parts of the text."""
        longest = self._longest(text)
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
            for number, (shard, found) in enumerate(zip(self.shards, weights.ranges(part), strict=True)):
                passages = shard.passages_of(shard.suffixes.positions(*found))
                chosen |= dict.fromkeys((number, passage) for passage in passages)
        return list(chosen)[:CANDIDATES]

    def _longest(self, text: str) -> list[int]:
        """For each character of the text, how many characters from there on occur somewhere in the corpus."""
        sizes = []
        for begin in range(len(text)):
            key = text[begin : begin + LONGEST_BYTES].encode()
            best = max(shard.suffixes.longest(key) for shard in self.shards)
            sizes.append(len(key[:best].decode()))
        return sizes

    def _near(self, text: str) -> list["_Found"]:
        """The NEIGHBOURS passages whose vectors are nearest."""
        vector = self.embedder.embed_query(text)
        if not vector.any():
            return []
        found = [
            _Found(number, passage, score)
            for number, near in enumerate(self.neighbours)
            for passage, score in near.search(vector, NEIGHBOURS)
        ]
        return sorted(found, key=_best_first)[:NEIGHBOURS]

    def _hit(self, number: int, mode: Mode, found: "_Found", query: str, *, whole: bool) -> Hit:
        """Fill in text, spans and provenance.

        Args:
            whole: the query occurs here as a whole; where it runs beyond its passage, the following ones come along.
        """
        shard = self.shards[found.shard]
        begin, end = shard.bounds(found.passage)
        if whole:
            places = shard.suffixes.occurrences(query.encode(), begin, end)
            end = shard.bounds(shard.passage_at(places[-1] + len(query.encode()) - 1))[1]
            starts = [len(shard.text(begin, place)) for place in places]
            spans = rank.joined([(start, start + len(query)) for start in starts])
            text = shard.text(begin, end)
        else:
            text = shard.text(begin, end)
            spans = rank.places({query[a:b] for a, b in rank.shared_spans(query, text)}, text)
        document = shard.document_at(begin)
        first = len(shard.text(document.begin, begin))
        read = spans if mode == "ngram" else [(0, len(text))]
        return Hit(
            rank=number,
            mode=mode,
            source=document.source,
            url=document.url,
            title=document.title,
            doc_id=document.doc_id,
            text=text,
            spans=spans,
            score=found.score,
            iterations=self._iterations(found.shard, document, [(first + a, first + b) for a, b in read]),
            total_iterations=self.order.total,
        )

    def _iterations(self, shard: int, document: Document, spans: Iterable[tuple[int, int]]) -> tuple[int, ...]:
        """Every iteration that read a token of one of the character ranges of the document."""
        begins = self._token_begins(shard, document.begin, document.end)
        read: set[int] = set()
        for begin, end in spans:
            tokens = token_range(begins, begin, end)
            read.update(self.order.iterations(document.source, document.doc_id, *tokens))
        return tuple(sorted(read))

    def _encode(self, shard: int, begin: int, end: int) -> list[int]:
        return self.tokenizer.encode_with_offsets(self.shards[shard].text(begin, end))[1]


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


def token_range(begins: Sequence[int], begin: int, end: int) -> tuple[int, int]:
    """Tokens [first, last) that hold any of the characters [begin, end).

    Args:
        begins: for each token, ascending, the character where it begins; bytes of one character share it.
    """
    if begin >= end or not begins:
        return 0, 0
    first = begins[max(bisect_right(begins, begin) - 1, 0)]
    return bisect_left(begins, first), bisect_left(begins, end)


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
