"""Every occurrence of a string as tracing needs it: where it is, in which documents, and when training read it."""

import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import NamedTuple, Protocol
from weakref import WeakKeyDictionary

import numpy as np

from pipeline.errors import BadInput
from search.exact.suffix_array import NOTHING
from search.provenance import kernels
from search.shard.store import Shard
from search.shard.texts import Texts

# Suffixes examined at in one go where there are many: 512 KiB of places.
CHUNK = 1 << 16


class TracedIndex(Protocol):
    """What is traced in; `search.searcher.Searcher` is one."""

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


def normalize_text(text: str, what: str, *, blank: bool = False) -> str:
    """A text as the corpus writes text: NFC.

    Args:
        what: its name in errors.
        blank: white space alone is a text too.
    Raises: BadInput if it is empty or blank, or not valid Unicode.
    """
    result = unicodedata.normalize("NFC", text)
    if not (result if blank else result.strip()):
        raise BadInput(f"{what} is empty; give some text")
    try:
        result.encode()
    except UnicodeEncodeError as error:
        raise BadInput(f"{what} is not valid Unicode: {error.reason} at character {error.start}") from error
    return result


def ranges(iterations: Collection[int]) -> np.ndarray:
    """The same iterations as (U, 2) int64 ranges [begin, end), ascending and disjoint."""
    if not iterations:
        return NOTHING
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
        here = shard.suffixes.kept(low, high)
        count += here
        if not here or examined >= most:
            continue
        offsets = smallest(shard, low, high, most - examined)
        examined += len(offsets)
        documents = np.empty(len(offsets), np.int64)
        distinct, begin, end = kernels.seen(offsets, len(key), shard.document_begins, shard.reads.arrays, discarded, documents)
        matches.append(ShardOccurrences(number, offsets, documents[:distinct]))
        if begin:
            first, last = min(first or begin, begin), max(last, end)
    return Occurrences(count, examined, tuple(matches), first or None, last or None)


def smallest(shard: Shard, low: int, high: int, most: int) -> np.ndarray:
    """The `most` first places of the suffixes of ranks [low, high), ascending; reads all of them, keeps few."""
    if high - low <= max(CHUNK, most):
        return shard.suffixes.positions(low, high)[:most]
    best = np.empty(0, np.int64)
    for offsets in chunks(shard, low, high):
        near = offsets if len(best) < most else offsets[: np.searchsorted(offsets, best[-1])]
        if len(near):
            best = np.sort(np.concatenate([best, near]))[:most]
    return best


def chunks(shard: Shard, low: int, high: int) -> Iterator[np.ndarray]:
    """ShardOccurrences of the suffixes of ranks [low, high), some at a time, ascending in each."""
    for begin in range(low, high, CHUNK):
        yield shard.suffixes.positions(begin, min(begin + CHUNK, high))


class DocumentSources:
    """The source of every document as a small number, examined up when it is first asked for. For many threads."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        """Args: shards: those of `Texts`."""
        self.names: list[str] = []
        self._shards, self._lock = shards, Lock()
        self._codes: list[np.ndarray | None] = [None] * len(shards)

    @staticmethod
    def of(texts: Texts) -> "DocumentSources":
        """Those of some texts, remembered as long as the texts are."""
        return _SOURCES.setdefault(texts, DocumentSources(texts.shards))

    def codes(self, shard: int, documents: np.ndarray) -> np.ndarray:
        """(D,) int32, of all documents of the shard: a place in `names` for the given documents, -1 for some others."""
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
