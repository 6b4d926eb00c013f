"""When training read each byte of a document: its samples and their iterations, computed once, while the index is built.

A document is cut anew in every epoch, where the samples of the data order begin; each part was read in one iteration, or
in none. So the iterations of a hit are found in a few steps, without the tokenizer and the data order.

    reads.documents.npy   (D + 1,) where each document's epochs begin in reads.epochs
    reads.epochs.npy      (E + 1,) where each epoch's parts begin in the next two
    reads.begins.npy      (P,) uint32: where each part begins in its document, bytes
    reads.iterations.npy  (P,) uint32: the iteration that read it, 1-based; 0 for none
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.compiled import compiled, inlined
from pipeline.errors import CorruptArtifact
from search.arrays import compact, load
from search.exact.kernels import find_first_above

# In place of the iteration of text that no iteration has read; greater than all of them.
UNREAD = np.iinfo(np.int64).max
DOCUMENTS, EPOCHS, BEGINS, ITERATIONS = (f"reads.{name}.npy" for name in ("documents", "epochs", "begins", "iterations"))


@dataclass
class ReadsWriter:
    """Collects the parts of a shard's documents, one document after the other."""

    documents: list[int] = field(default_factory=lambda: [0])
    epochs: list[int] = field(default_factory=lambda: [0])
    begins: list[np.ndarray] = field(default_factory=list)
    iterations: list[np.ndarray] = field(default_factory=list)

    def add(self, token_begins: np.ndarray, samples: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
        """Add one document, as training cut it.

        Args:
            token_begins: (tokens,) int64 bytes of the document at which its tokens begin, `</s>` included.
            samples: for each epoch the first token and the iteration of each part, as `Order.samples` gives them.
        """
        for tokens, iterations in samples:
            self.begins.append(token_begins[tokens].astype(np.uint32))
            self.iterations.append(iterations.astype(np.uint32))
            self.epochs.append(self.epochs[-1] + len(tokens))
        self.documents.append(len(self.epochs) - 1)

    def save(self, folder: Path) -> None:
        """Write the four arrays."""
        np.save(folder / DOCUMENTS, compact(np.array(self.documents)))
        np.save(folder / EPOCHS, compact(np.array(self.epochs)))
        for name, parts in ((BEGINS, self.begins), (ITERATIONS, self.iterations)):
            np.save(folder / name, np.concatenate([np.empty(0, np.uint32), *parts]))


class ReadsArrays(NamedTuple):
    """One shard's parts as kernels read them."""

    documents: np.ndarray  # (D + 1,)
    epochs: np.ndarray  # (E + 1,)
    begins: np.ndarray  # (P,) uint32
    iterations: np.ndarray  # (P,) uint32


class Reads:
    """One shard's reads, opened by mmap."""

    def __init__(self, folder: Path, documents: int) -> None:
        """Raises: CorruptArtifact if a file is missing, or they do not fit `documents` documents."""
        self.arrays = arrays = ReadsArrays(*(load(folder / name) for name in (DOCUMENTS, EPOCHS, BEGINS, ITERATIONS)))
        sizes = [len(array) for array in arrays]
        if sizes[0] != documents + 1 or int(arrays[0][-1]) != sizes[1] - 1 or not sizes[2] == sizes[3] == int(arrays[1][-1]):
            raise CorruptArtifact(f"{folder}: reads of sizes {sizes} do not fit {documents} documents; make the index again")

    def iterations(self, document: int, spans: Sequence[tuple[int, int]]) -> tuple[int, ...]:
        """Ascending iterations of all epochs that read a token with any byte of the spans, [begin, end) of the document.

        A token is read whole: a part begins where its first token does.
        """
        result = _collect_iterations(*self.arrays, document, np.array(spans, np.int64).reshape(-1, 2))
        return tuple(result.tolist())

    def complete_by(self, document: int, begins: np.ndarray, ends: np.ndarray, discarded: np.ndarray) -> np.ndarray:
        """By which iteration every byte of a span had been read at least once.

        Args:
            begins, ends: (n,) int64, spans [begin, end) in bytes of the document, none empty.
            discarded: (U, 2) int64 ranges [begin, end) of iterations that do not count, ascending and disjoint.
        Returns: (n,) int64; UNREAD where a byte was read by none.
        """
        breaks, firsts = self._first_reads(document, discarded)
        low, high = np.searchsorted(breaks, begins, "right") - 1, np.searchsorted(breaks, ends, "left")
        latest = np.full(len(low), 0, np.int64)
        for step in range(int((high - low).max(initial=0))):
            latest = np.maximum(latest, firsts[np.minimum(low + step, high - 1)])
        return latest

    def _first_reads(self, document: int, discarded: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cut a document where the iteration that read its bytes first changes.

        Returns: where each part begins, ascending from 0, and the iteration that read it first.
        """
        arrays = self.arrays
        epochs = arrays.epochs[arrays.documents[document] : int(arrays.documents[document + 1]) + 1].astype(np.int64)
        breaks = np.unique(np.append(arrays.begins[epochs[0] : epochs[-1]].astype(np.int64), 0))
        firsts = np.full(len(breaks), UNREAD)
        for begin, end in zip(epochs[:-1].tolist(), epochs[1:].tolist(), strict=True):
            if begin == end:
                continue
            iterations = arrays.iterations[begin:end].astype(np.int64)
            iterations[(iterations == 0) | _is_within(iterations, discarded)] = UNREAD
            part = np.searchsorted(arrays.begins[begin:end], breaks, "right") - 1
            firsts = np.where(part >= 0, np.minimum(firsts, iterations[np.maximum(part, 0)]), firsts)
        return breaks, firsts

    def parts(self, document: int) -> Iterator[tuple[int, int]]:
        """Every part of every epoch: where it begins in the document, and its iteration."""
        arrays = self.arrays
        first, last = (int(arrays.epochs[epoch]) for epoch in arrays.documents[document : document + 2])
        yield from zip(arrays.begins[first:last].tolist(), arrays.iterations[first:last].tolist(), strict=True)


def _is_within(numbers: np.ndarray, ranges: np.ndarray) -> np.ndarray:
    """Which numbers are in one of the ascending, disjoint ranges, (n,) bool."""
    if not len(ranges):
        return np.zeros(len(numbers), bool)
    index = np.searchsorted(ranges[:, 0], numbers, "right") - 1
    return (index >= 0) & (numbers < ranges[np.maximum(index, 0), 1])


@inlined
def part_at(begins: Any, low: int, high: int, offset: int) -> Any:
    """The last of the parts [low, high) of one epoch that begins at or before a byte of the document."""
    return max(find_first_above(begins, np.int64(low), np.int64(high), offset) - 1, np.int64(low))


@compiled
def _collect_iterations(documents: Any, epochs: Any, begins: Any, iterations: Any, document: int, spans: Any) -> Any:
    """Distinct iterations other than 0 of the parts that the (n, 2) spans touch, ascending."""
    matches = []
    for epoch in range(documents[document], documents[document + 1]):
        low, high = np.int64(epochs[epoch]), np.int64(epochs[epoch + 1])
        for number in range(len(spans)):
            begin, end = spans[number, 0], spans[number, 1]
            part = part_at(begins, low, high, begin)
            while begin < end and part < high and begins[part] < end:
                if iterations[part] > 0:
                    matches.append(np.int64(iterations[part]))
                part += 1
    return np.unique(np.array(matches, np.int64))
