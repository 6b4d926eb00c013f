"""Candidate pairs of duplicates: joined by key, left as sorted runs, compared; for passes.py and base_join.py.

A join task reads one range of one kind of key (`living`) and leaves a folder of sorted runs (`write_runs`). A check reads
the pairs of its own documents from all runs (`pairs_of`) and keeps those that are duplicates (`keep_pairs`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from corpus.storage.arrays import ArrayWriter, forget
from corpus.storage.judged import Judged
from pipeline.files import atomic_path
from pipeline.text import minhash

# Keys a task holds at a time: 16 bytes each and four times that while sorting, about 0.3 GB.
KEYS_IN_MEMORY = 4_000_000
# Pairs sorted at a time: 16 bytes each and three times that while sorting, about 0.13 GB.
PAIRS_IN_MEMORY = 2_000_000
# Bytes of shingle sets kept at hand while comparing: a set takes 8 bytes a character.
_SETS_AT_HAND_BYTES = 128 << 20


@dataclass(frozen=True)
class JoinTask:
    """One range of one kind of key."""

    judged: Judged
    dropped: Path | None  # references that earlier passes removed, sorted
    kind: int
    part: int
    parts: int
    window: int
    out: Path


def living(task: JoinTask) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The task's range without those dropped before, in pieces that fit into memory: (N,) keys in order, (N,) references."""
    dropped = np.load(task.dropped, mmap_mode="r") if task.dropped else np.empty(0, np.uint64)
    for keys, references in task.judged.blocks(task.kind, task.part, task.parts, KEYS_IN_MEMORY):
        alive = np.ones(len(keys), bool)
        if len(dropped):
            alive = dropped[np.minimum(np.searchsorted(dropped, references), len(dropped) - 1)] != references
            forget(dropped)
        yield keys[alive], references[alive]


def write_runs(out: Path, pieces: Iterable[np.ndarray]) -> int:
    """Leave (P, 2) pairs as a folder of sorted runs, which may share pairs; returns how many pairs came."""
    runs, waiting, count, result = 0, [np.empty((0, 2), np.uint64)], 0, 0
    with atomic_path(out) as folder:
        folder.mkdir()
        for pairs in pieces:
            waiting.append(pairs)
            result, count = result + len(pairs), count + len(pairs)
            if count > PAIRS_IN_MEMORY:
                np.save(folder / f"{runs:05}.npy", distinct(np.concatenate(waiting)))
                runs, waiting, count = runs + 1, [np.empty((0, 2), np.uint64)], 0
        np.save(folder / f"{runs:05}.npy", distinct(np.concatenate(waiting)))
    return result


def keep_pairs(out: Path, folders: Sequence[Path], low: int, high: int, is_copy: Callable[[int, int], bool]) -> tuple[int, int]:
    """Write the pairs of all `folders` whose first reference is in [low, high) and that are copies.

    Returns: how many were compared, and how many of them stay.
    """
    runs = [run for folder in folders for run in sorted(folder.iterdir())]
    compared = 0
    with atomic_path(out) as path:
        writer = ArrayWriter(path, np.uint64, (2,))
        for pairs in pairs_of(runs, low, high):
            compared += len(pairs)
            writer.add(np.array([pair for pair in pairs.tolist() if is_copy(*pair)], np.uint64).reshape(-1, 2))
        writer.close()
    return compared, writer.count


def pairs_of(runs: Sequence[Path], low: int, high: int) -> Iterator[np.ndarray]:
    """Pairs whose first reference is in [low, high), sorted and each once, in pieces that fit into memory."""
    waiting = [(low, high)]
    while waiting:
        low, high = waiting.pop()
        ends = [(run, *np.searchsorted(np.load(run, mmap_mode="r")[:, 0], np.array([low, high], np.uint64))) for run in runs]
        count = sum(int(end - begin) for _, begin, end in ends)
        if count > PAIRS_IN_MEMORY and high - low > 1:
            middle = (low + high) // 2
            waiting += [(middle, high), (low, middle)]
        elif count:
            yield distinct(np.concatenate([np.load(run, mmap_mode="r")[begin:end] for run, begin, end in ends]))


def distinct(pairs_E2: np.ndarray) -> np.ndarray:
    """Pairs sorted, each once: (E, 2)."""
    ordered = pairs_E2[np.lexsort((pairs_E2[:, 1], pairs_E2[:, 0]))]
    return ordered[np.r_[True, (ordered[1:] != ordered[:-1]).any(axis=1)]] if len(ordered) else ordered


class ShingleSets:
    """Shingle sets of documents by reference; the latest are kept, as many as fit."""

    def __init__(self, text: Callable[[int], str], width: int) -> None:
        """`text`: reference -> what it says."""
        self._text, self._width = text, width
        self._sets: dict[int, np.ndarray] = {}
        self._bytes = 0

    def __getitem__(self, reference: int) -> np.ndarray:
        if reference not in self._sets:
            result = np.unique(minhash.shingles(self._text(reference), self._width))
            self._sets[reference] = result
            self._bytes += result.nbytes
            while self._bytes > _SETS_AT_HAND_BYTES and len(self._sets) > 1:
                self._bytes -= self._sets.pop(next(iter(self._sets))).nbytes
            return result
        return self._sets[reference]
