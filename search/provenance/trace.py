"""Traces a text, mostly a model's answer, back to the training data: what of it is there word for word, where, and when read.

A span is maximal: it occurs, and with one more character on either side it does not. No span is inside another one.

Source: OLMoTrace (Liu et al. 2025, arXiv:2504.07096) §3, but for characters: a span begins and ends anywhere, every count is
exact, and every occurrence has the iterations that read it.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from pipeline.errors import BadInput
from search.bm25.rank import merge_spans
from search.provenance.occurrences import (
    DocumentSources,
    Occurrences,
    ShardOccurrences,
    TracedIndex,
    find_occurrences,
    make_ranges,
)
from search.query_text import normalize_text
from search.shard.texts import Texts


@dataclass(frozen=True)
class TraceSettings:
    """What is searched for and how much of it is shown."""

    # Characters of a span. In 1,364 works of Aozora Bunko, by chance: of Wikipedia's text 27 % are in spans of 6, 7 % of 8,
    # 1.4 % of 10, .3 % of 12; all of 8 are phrases that anybody writes (によって発表され; benchmarks/search/trace.py).
    min_chars: int = 8
    # Occurrences of a span whose documents and iterations are read: 35 µs for a thousand, with three epochs.
    max_occurrences: int = 10_000
    # Documents shown, as many as a reader looks at; OLMoTrace fetches ten a span.
    documents: int = 10
    # Characters of a document before and after what is shown of it: a sentence or two.
    context_chars: int = 60
    # Spans kept for each character of the text, those of the least likely characters; 0: all. OLMoTrace keeps .05.
    keep_per_char: float = 0.0

    def __post_init__(self) -> None:
        if min(self.min_chars, self.max_occurrences) < 1 or min(self.documents, self.context_chars) < 0:
            raise BadInput(
                f"min_chars = {self.min_chars}, max_occurrences = {self.max_occurrences}, documents = {self.documents}, "
                f"context_chars = {self.context_chars}: "
                "expected min_chars and max_occurrences of at least 1, the others of at least 0"
            )
        if not 0 <= self.keep_per_char <= 1:
            raise BadInput(f"keep_per_char = {self.keep_per_char}: expected spans a character between 0 (all) and 1")


@dataclass(frozen=True)
class Span:
    """A maximal part of the text that is in the training data."""

    begin: int  # characters [begin, end) of the text
    end: int
    text: str
    count: int  # occurrences, all of them
    examined: int  # the first ones in corpus order; what follows is about these only
    documents: int  # distinct ones
    sources: tuple[tuple[str, int], ...]  # documents by source, most first
    first: int | None  # first and last iteration that read one of them, of all epochs; None where none did
    last: int | None
    shown: tuple[int, ...]  # which of the trace's documents show it
    log10_probability: float | None = None  # of its characters, each by itself; only where it was asked for

    def as_dict(self) -> dict[str, Any]:
        """The span as JSON values."""
        return vars(self) | {"sources": dict(self.sources), "shown": list(self.shown)}


@dataclass(frozen=True)
class Snippet:
    """A part of a document with spans of the text and the context around them."""

    text: str
    spans: tuple[tuple[int, int], ...]  # character ranges of `text`, ascending, disjoint
    byte: int  # of the document, where it begins
    iterations: tuple[int, ...]  # that read the spans, ascending, of all epochs
    discarded: tuple[int, ...]  # that read them and left nothing in the weights

    def as_dict(self) -> dict[str, Any]:
        """The snippet as JSON values."""
        return vars(self) | {name: list(vars(self)[name]) for name in ("spans", "iterations", "discarded")}


@dataclass(frozen=True)
class TracedDocument:
    """A document of the training data and what of it is shown."""

    doc_id: str
    source: str
    url: str
    title: str
    date: str
    snippets: tuple[Snippet, ...]

    def as_dict(self) -> dict[str, Any]:
        """The document as JSON values."""
        return vars(self) | {"snippets": [snippet.as_dict() for snippet in self.snippets]}


@dataclass(frozen=True)
class Trace:
    """What of a text is in the training data word for word, and what was searched; no spans is an answer too."""

    text: str  # as it was searched for: NFC
    spans: tuple[Span, ...]  # rarest first
    found: int  # maximal spans before `keep_per_char`
    documents: tuple[TracedDocument, ...]  # in the order in which the spans led to them
    covered: float  # share of the text's characters that are in a maximal span, shown or not
    min_chars: int  # characters of a span
    total_iterations: int
    searched_bytes: int
    index: str  # digest of what was searched

    def as_dict(self) -> dict[str, Any]:
        """The trace as JSON values."""
        return vars(self) | {
            "spans": [span.as_dict() for span in self.spans],
            "documents": [document.as_dict() for document in self.documents],
            "covered": round(self.covered, 6),
        }


class _SpanOccurrences(NamedTuple):
    """A maximal span, and its occurrences."""

    begin: int
    end: int
    text: str
    occurrences: Occurrences
    probability: float | None


def trace_text(searcher: TracedIndex, text: str, settings: TraceSettings | None = None) -> Trace:
    """Trace a text; the same result for any number of shards.

    Args:
        settings: TraceSettings() where left out.
    Raises: BadInput if the text is blank or not valid Unicode.
    """
    settings, texts, text = settings or TraceSettings(), searcher.texts, normalize_text(text, "the text to trace")
    if not text.strip():
        raise BadInput("the text to trace is empty; give some text")
    discarded = make_ranges(searcher.discarded)
    bounds = find_maximal_spans(*texts.matches(text), min_chars=settings.min_chars)
    kept = _keep_unlikely(texts, text, bounds, settings.keep_per_char)
    matches = [
        _SpanOccurrences(
            a, b, text[a:b], find_occurrences(texts, text[a:b].encode(), discarded, settings.max_occurrences), likely
        )
        for (a, b), likely in kept
    ]
    matches.sort(key=lambda one: (one.occurrences.count, one.begin - one.end, one.begin))
    chosen = _choose_documents(matches, settings.documents)
    marked: list[list[tuple[int, int]]] = [[] for _ in chosen]  # bytes of the shard's text that each document shows
    spans, sources = [], DocumentSources.of(texts)
    for one in matches:
        holding = _find_holders(one, chosen)
        spans.append(_build_span(one, sources, tuple(number for number, _ in holding)))
        for number, part in holding:
            offset = _choose_offset(texts, part, chosen[number][1], marked[number][0][0] if marked[number] else None)
            marked[number].append((offset, offset + len(one.text.encode())))
    return Trace(
        text=text,
        spans=tuple(spans),
        found=len(bounds),
        documents=tuple(
            _build_document(searcher, texts, key, shown, context_chars=settings.context_chars)
            for key, shown in zip(chosen, marked, strict=True)
        ),
        covered=count_covered(bounds) / len(text),
        min_chars=settings.min_chars,
        total_iterations=searcher.total,
        searched_bytes=texts.searched_bytes,
        index=texts.digest,
    )


def find_maximal_spans(begins: np.ndarray, lengths: np.ndarray, *, min_chars: int) -> list[tuple[int, int]]:
    """Character ranges of the maximal spans of at least `min_chars` characters, ascending, from matching statistics.

    Args:
        begins, lengths: (characters,) int64, as `Texts.matches` gives them.
    """
    # A match never ends before that of the previous character; where it ends later, no other match contains it.
    ends = np.searchsorted(begins, begins + lengths)
    first = np.flatnonzero((np.diff(ends, prepend=0) > 0) & (ends - np.arange(len(begins)) >= min_chars))
    return list(zip(first.tolist(), ends[first].tolist(), strict=True))


def count_covered(bounds: Sequence[tuple[int, int]]) -> int:
    """Characters that are in any of the ranges."""
    return sum(end - begin for begin, end in merge_spans(list(bounds)))


def _keep_unlikely(
    texts: Texts, text: str, bounds: list[tuple[int, int]], keep: float
) -> Sequence[tuple[tuple[int, int], float | None]]:
    """The spans that are kept, with the logarithm of their characters' probability where `keep_per_char` asks for it.

    Source: OLMoTrace §3: the ceil(.05 L) spans of the lowest unigram probability.
    """
    if not keep:
        return [(span, None) for span in bounds]
    characters = set().union(*(text[begin:end] for begin, end in bounds))
    logs = {character: math.log10(texts.count(character) / texts.characters) for character in sorted(characters)}
    # Added exactly: equal characters in another order are equally likely.
    rows = [((begin, end), math.fsum(logs[character] for character in text[begin:end])) for begin, end in bounds]
    return sorted(rows, key=lambda row: (row[1], row[0]))[: math.ceil(keep * len(text))]


# Numbers of a shard and of a document in it.
_Key = tuple[int, int]


def _choose_documents(found: Sequence[_SpanOccurrences], most: int) -> list[_Key]:
    """At most `most` documents: for the rarest span first, the first one of the corpus, unless a chosen one contains it."""
    chosen: list[_Key] = []
    for one in found:
        if len(chosen) < most and one.occurrences.found and not _find_holders(one, chosen):
            first = one.occurrences.found[0]
            chosen.append((first.shard, int(first.documents[0])))
    return chosen


def _find_holders(one: _SpanOccurrences, chosen: Sequence[_Key]) -> list[tuple[int, ShardOccurrences]]:
    """Which of the chosen documents contain a span, ascending, and the occurrences in their shard."""
    matches = []
    for part in one.occurrences.found:
        inside = [(number, document) for number, (shard, document) in enumerate(chosen) if shard == part.shard]
        index = np.searchsorted(part.documents, [document for _, document in inside]).tolist() if inside else []
        last = len(part.documents) - 1
        matches += [
            (n, part)
            for (n, document), at_most in zip(inside, index, strict=True)
            if part.documents[min(at_most, last)] == document
        ]
    return sorted(matches, key=lambda row: row[0])


def _choose_offset(texts: Texts, part: ShardOccurrences, document: int, near: int | None) -> int:
    """Offset of the occurrence of a span to show: the one nearest to what the document shows already, else the first."""
    begins = texts.shards[part.shard].document_begins
    first, last = np.searchsorted(part.offsets, (int(begins[document]), int(begins[document + 1])))
    offsets = part.offsets[first:last]
    return int(offsets[0] if near is None else offsets[np.argmin(np.abs(offsets - near))])


def _build_span(one: _SpanOccurrences, sources: DocumentSources, shown: tuple[int, ...]) -> Span:
    by_source: Counter[str] = Counter()
    for part in one.occurrences.found:
        counts = np.bincount(sources.codes(part.shard, part.documents)[part.documents]).tolist()
        by_source.update({sources.names[code]: count for code, count in enumerate(counts) if count})
    occurrences = one.occurrences
    return Span(
        begin=one.begin,
        end=one.end,
        text=one.text,
        count=occurrences.count,
        examined=occurrences.examined,
        documents=occurrences.documents,
        sources=tuple(sorted(by_source.items(), key=lambda row: (-row[1], row[0]))),
        first=occurrences.first,
        last=occurrences.last,
        shown=shown,
        log10_probability=one.probability,
    )


def _build_document(
    searcher: TracedIndex, texts: Texts, key: _Key, spans: list[tuple[int, int]], context_chars: int
) -> TracedDocument:
    """A document with its snippets; those that overlap or touch are one."""
    shard = texts.shards[key[0]]
    document = shard.document(key[1])
    windows: list[tuple[int, int, list[tuple[int, int]]]] = []
    for begin, end in sorted(set(spans)):
        before = shard.suffixes.text[max(begin - 4 * context_chars, document.begin) : begin].decode(errors="ignore")
        after = shard.suffixes.text[end : min(end + 4 * context_chars, document.end)].decode(errors="ignore")
        low = begin - len(before[max(len(before) - context_chars, 0) :].encode())
        high = end + len(after[:context_chars].encode())
        if windows and low <= windows[-1][1]:
            low, last, inside = windows.pop()
            windows.append((low, max(last, high), [*inside, (begin, end)]))
        else:
            windows.append((low, high, [(begin, end)]))
    snippets = []
    for low, high, inside in windows:
        iterations = shard.iterations(document, inside)
        marks = [(len(shard.text(low, begin)), len(shard.text(low, end))) for begin, end in inside]
        snippets.append(
            Snippet(
                text=shard.text(low, high),
                spans=merge_spans(marks),
                byte=low - document.begin,
                iterations=tuple(i for i in iterations if i not in searcher.discarded),
                discarded=tuple(i for i in iterations if i in searcher.discarded),
            )
        )
    return TracedDocument(
        doc_id=document.doc_id,
        source=document.source,
        url=document.url,
        title=document.title,
        date=document.date,
        snippets=tuple(snippets),
    )
