"""Every occurrence of a string as tracing needs it: where it is, in which documents, and when training read it."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import NamedTuple, Protocol
from weakref import WeakKeyDictionary

import numpy as np

from search.exact.suffix_array import NO_RANGES
from search.provenance import kernels
from search.shard.store import Shard
from search.shard.texts import Texts

# Suffixes read at once where there are many: 512 KiB of offsets.
CHUNK = 1 << 16


class TracedIndex(Protocol):
    """What provenance needs of an index; `search.searcher.Searcher` has it."""

    total: int  # iterations of the training
    discarded: frozenset[int]  # those of them that left nothing in the weights

    @property
    def texts(self) -> Texts:
        """The text that is searched now."""
        ...


class ShardOccurrences(NamedTuple):
    """Occurrences in one shard."""

    shard: int
    offsets: np.ndarray  # (m,) int64 bytes of the shard's text, ascending
    documents: np.ndarray  # (d,) int64 numbers of the documents that they are in, ascending


@dataclass(frozen=True)
class Occurrences:
    """Occurrences of one string."""

    count: int  # all of them; they may overlap
    examined: int  # those that the rest is about: the first ones in corpus order
    found: tuple[ShardOccurrences, ...]
    first: int | None  # iteration that read a byte of one, the earliest of all epochs; None where none did
    last: int | None

    @property
    def documents(self) -> int:
        """Distinct documents."""
        return sum(len(part.documents) for part in self.found)


def make_ranges(iterations: Collection[int]) -> np.ndarray:
    """The same iterations as (U, 2) int64 ranges [begin, end), ascending and disjoint."""
    if not iterations:
        return NO_RANGES
    numbers = np.array(sorted(iterations), np.int64)
    firsts = numbers[np.diff(numbers, prepend=numbers[0] - 2) > 1]
    lasts = numbers[np.diff(numbers, append=numbers[-1] + 2) > 1]
    return np.stack([firsts, lasts + 1], axis=1)


def find_occurrences(texts: Texts, key: bytes, discarded: np.ndarray, most: int) -> Occurrences:
    """Find `key`, and when its first `most` occurrences in corpus order were read; the same for any number of shards.

    Args:
        discarded: `ranges` of iterations that do not count.
    """
    count = examined = 0
    matches: list[ShardOccurrences] = []
    first, last = 0, 0
    for number, shard in enumerate(texts.shards):
        low, high = shard.suffixes.range(key)
        if low == high:
            continue
        here = shard.suffixes.count_kept(low, high)
        count += here
        if not here or examined >= most:
            continue
        offsets = find_first_offsets(shard, low, high, most - examined)
        examined += len(offsets)
        documents = np.empty(len(offsets), np.int64)
        inside = (shard.document_begins, shard.reads.arrays)
        distinct, begin, end = kernels.find_reads(offsets, len(key), inside, discarded, documents)
        matches.append(ShardOccurrences(number, offsets, documents[:distinct]))
        if begin:
            first, last = min(first or begin, begin), max(last, end)
    return Occurrences(count, examined, tuple(matches), first or None, last or None)


def find_first_offsets(shard: Shard, low: int, high: int, most: int) -> np.ndarray:
    """Find the `most` lowest offsets of the suffixes of ranks [low, high), ascending; reads all of them, keeps few."""
    if high - low <= max(CHUNK, most):
        return shard.suffixes.positions(low, high)[:most]
    best = np.empty(0, np.int64)
    for offsets in iterate_offsets(shard, low, high):
        near = offsets if len(best) < most else offsets[: np.searchsorted(offsets, best[-1])]
        if len(near):
            best = np.sort(np.concatenate([best, near]))[:most]
    return best


def iterate_offsets(shard: Shard, low: int, high: int) -> Iterator[np.ndarray]:
    """Offsets of the suffixes of ranks [low, high), CHUNK at a time, each chunk ascending."""
    for begin in range(low, high, CHUNK):
        yield shard.suffixes.positions(begin, min(begin + CHUNK, high))


class DocumentSources:
    """The source of every document as a small number, read when it is first asked for; safe for many threads."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        """Args: shards: those of `Texts`."""
        self.names: list[str] = []
        self._shards, self._lock = shards, Lock()
        self._codes: list[np.ndarray | None] = [None] * len(shards)

    @staticmethod
    def of(texts: Texts) -> "DocumentSources":
        """Those of some texts, kept as long as the texts are."""
        return _SOURCES.setdefault(texts, DocumentSources(texts.shards))

    def codes(self, shard: int, documents: np.ndarray) -> np.ndarray:
        """(D,) int32, of all documents of the shard: an index into `names` for the given documents; others may be -1."""
        codes = self._codes[shard]
        if codes is None:
            codes = self._codes[shard] = np.full(self._shards[shard].documents, -1, np.int32)
        unknown = documents[codes[documents] < 0]
        if len(unknown):
            with self._lock:
                for number in unknown.tolist():
                    name = self._shards[shard].document(number).source
                    if name not in self.names:
                        self.names.append(name)
                    codes[number] = self.names.index(name)
        return codes


_SOURCES: WeakKeyDictionary[Texts, DocumentSources] = WeakKeyDictionary()
