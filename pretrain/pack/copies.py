"""Training documents that are duplicates of held-out ones: a model that trained on them would be measured on its memory.

Of each held-out text, folded (`pipeline.text.fold`), up to MAX_FINGERPRINTS hashes of its character n-grams are kept,
evenly spaced: its fingerprints. A document is a duplicate if it has at least a share of the fingerprints of one held-out
text, anywhere: the same text, one with passages changed, one inside a longer page. A text of fewer than NGRAM_CHARS
characters is compared whole.
Source of the sampling: Manber, Finding similar files in a large file system, 1994; of the measure: Broder's containment, 1997.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.documents import read_documents
from pipeline.files import atomic_path
from pipeline.text.fold import fold
from pretrain.pack.splits import Splits

# Folded characters of an n-gram (benchmarks/pretrain/copies.py). Of the demo's 9,523 documents that are not held out, 26
# have half of one of the 170 that are (pages of one mould: tanh and atanh), with n-grams of 12 characters 46, of 32 2; a
# copy in which every 40th character is another keeps 54 % of its n-grams of 16, and 8 % of those of 32.
NGRAM_CHARS = 16
# N-grams kept of a held-out text: from here on its share is an estimate, within .06 (one standard deviation of 64 draws).
MAX_FINGERPRINTS = 64
# Polynomial hash (Karp and Rabin 1987) and the finalizer of splitmix64 (Steele et al. 2014).
_BASE, _WORD = 0x9E3779B97F4A7C15, (1 << 64) - 1
_MIX = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)))
_LAST_SHIFT = np.uint64(31)
# Bits of the filter before the search, for each fingerprint: it lets one other n-gram in 16 through.
_FILTER_BITS = 16


class Copy(NamedTuple):
    """A document that is a copy, and of what."""

    doc_id: str
    copy_of: str  # the held-out document of the largest share, the first of several
    share: float  # of its fingerprints


@dataclass(frozen=True)
class FingerprintShard:
    """One file of the corpus, whose held-out documents are marked."""

    documents: Path
    splits: Splits
    output: Path


@dataclass(frozen=True)
class CopyShard:
    """One file of the corpus, whose training documents are compared with the fingerprints."""

    documents: Path
    splits: Splits
    fingerprints: Path  # folder that `merge_fingerprints` wrote
    share: float
    output: Path  # table of copies


def fingerprint_shard(shard: FingerprintShard) -> Mapping[str, Any]:
    """Write the fingerprints of a file's held-out documents."""
    ids: list[str] = []
    fingerprints = [np.zeros(0, np.uint64)]
    for row in read_documents(shard.documents, ("doc_id", "text")):
        if shard.splits.split_of(row["doc_id"]) == "valid":
            ids.append(row["doc_id"])
            fingerprints.append(sample_hashes(hash_ngrams(row["text"])))
    with atomic_path(shard.output) as folder:
        folder.mkdir()
        _save(folder, ids, np.concatenate(fingerprints), [len(part) for part in fingerprints[1:]])
    return {"documents": len(ids), "fingerprints": sum(map(len, fingerprints))}


def merge_fingerprints(parts: Sequence[Path], output: Path) -> None:
    """Put the fingerprints of all files together, sorted, whole or not at all."""
    ids: list[str] = []
    fingerprints, sizes = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for part in parts:
        ids += json.loads((part / "doc_ids.json").read_text("utf-8"))
        fingerprints.append(np.load(part / "fingerprints.npy"))
        sizes.append(np.load(part / "sizes.npy"))
    with atomic_path(output) as folder:
        folder.mkdir()
        _save(folder, ids, np.concatenate(fingerprints), np.concatenate(sizes))


def _save(folder: Path, ids: list[str], fingerprints: np.ndarray, sizes: Sequence[int] | np.ndarray) -> None:
    np.save(folder / "fingerprints.npy", fingerprints)
    np.save(folder / "sizes.npy", np.asarray(sizes, np.int64))
    (folder / "doc_ids.json").write_text(json.dumps(ids), "utf-8")


def find_copies(shard: CopyShard) -> Mapping[str, Any]:
    """Write the copies among a file's training documents."""
    held_out = load_held_out(shard.fingerprints)
    found = [
        Copy(row["doc_id"], *copied)
        for row in read_documents(shard.documents, ("doc_id", "text"))
        if shard.splits.split_of(row["doc_id"]) == "train" and (copied := held_out.find_copied(row["text"], shard.share))
    ]
    write_copies(shard.output, found)
    return {"copies": len(found)}


def write_copies(path: Path, copies: Iterable[Copy]) -> None:
    """Write a Parquet table, a row a copy."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("doc_id", pa.string()), ("copy_of", pa.string()), ("share", pa.float64())])
    with atomic_path(path) as fresh:
        pq.write_table(pa.Table.from_pylist([copy._asdict() for copy in copies], schema=schema), fresh, compression="zstd")


def read_copies(path: Path) -> list[Copy]:
    """What `write_copies` wrote."""
    import pyarrow.parquet as pq

    return [Copy(**row) for row in pq.read_table(path).to_pylist()]


class HeldOutTexts:
    """The fingerprints of all held-out documents, and a filter before them."""

    def __init__(self, ids: Sequence[str], fingerprints: np.ndarray, sizes: np.ndarray) -> None:
        """
        Args:
            ids: doc_ids of H documents.
            fingerprints: their fingerprints, one document after the other; each once within a document.
            sizes: (H,) fingerprints of each.
        """
        owners = np.repeat(np.arange(len(ids)), sizes)
        order = np.argsort(fingerprints, kind="stable")
        self._ids, self._sizes = ids, sizes
        self._fingerprints, self._owners = fingerprints[order], owners[order]
        bits = max(int(len(fingerprints) * _FILTER_BITS).bit_length(), 6)
        self._shift = np.uint64(64 - bits)
        self._filter = np.zeros(1 << bits, bool)
        self._filter[fingerprints >> self._shift] = True

    def find_copied(self, text: str, share: float, width: int = NGRAM_CHARS) -> tuple[str, float] | None:
        """(doc_id, share of its fingerprints) of the held-out document of which a text holds most, None below `share`."""
        hashes = hash_ngrams(text, width)
        hashes = np.unique(hashes[self._filter[hashes >> self._shift]])
        first, last = np.searchsorted(self._fingerprints, hashes), np.searchsorted(self._fingerprints, hashes, "right")
        if not (last > first).any():
            return None
        owners = np.concatenate([self._owners[a:b] for a, b in zip(first.tolist(), last.tolist(), strict=True)])
        documents, counts = np.unique(owners, return_counts=True)
        shares = counts / self._sizes[documents]
        best = int(np.argmax(shares))
        return (self._ids[int(documents[best])], float(shares[best])) if shares[best] >= share else None


@lru_cache(maxsize=1)
def load_held_out(folder: Path) -> HeldOutTexts:
    """What `merge_fingerprints` wrote, loaded once a worker process."""
    ids = json.loads((folder / "doc_ids.json").read_text("utf-8"))
    return HeldOutTexts(ids, np.load(folder / "fingerprints.npy"), np.load(folder / "sizes.npy"))


def hash_ngrams(text: str, width: int = NGRAM_CHARS) -> np.ndarray:
    """Hashes of all n-grams of a folded text, in order: (n-grams,) uint64; a shorter text is one n-gram, "" none."""
    points = fold(text).astype(np.uint64)
    if not len(points):
        return points
    width = min(width, len(points))
    value, length = points + np.uint64(1), 1
    power = _BASE
    while 2 * length <= width:  # n-grams of twice the length from two neighbours
        value = value[:-length] * np.uint64(power) + value[length:]
        length, power = 2 * length, power * power & _WORD
    for offset in range(length, width):  # and what is left of it one by one
        value = value[:-1] * np.uint64(_BASE) + (points[offset:] + np.uint64(1))
    for shift, factor in _MIX:
        value = (value ^ (value >> shift)) * factor
    return value ^ (value >> _LAST_SHIFT)


def sample_hashes(hashes: np.ndarray) -> np.ndarray:
    """At most MAX_FINGERPRINTS different ones of a text's n-grams, evenly spaced, its first and last among them."""
    every = np.linspace(0, len(hashes) - 1, min(len(hashes), MAX_FINGERPRINTS)).round().astype(np.int64)
    return np.unique(hashes[every])
