"""What judging leaves for removing copies and for writing: one folder a shard, read through memory maps.

work/judged/<shard>/
    rows.parquet    one row for every record that came in, in order: its fate so far and the value of every rule
    kept.npy        (kept,) rows.parquet row of every document that passed the rules; `ordinal` means an index into it
    texts.bin       their texts, UTF-8, one behind the other; ends.npy: (kept,) where each ends
    sizes.npy       (kept,) characters; ids.npy: (kept, 2) the doc_id as two big halves
    keys.npy        (2 + bands, kept) sorted hashes of url, of text, and of each MinHash band
    owners.npy      (2 + bands, kept) the ordinal that each key belongs to

A document is named across shards by its `reference`: shard index << 32 | ordinal.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.files import whole_path

URL_KEY, TEXT_KEY, FIRST_BAND = 0, 1, 2
_KEYS = 1 << 64
# Memory maps held open at once by a process: far below the usual limit of 1,024 files.
_OPEN_SHARDS = 64


@dataclass(frozen=True)
class Kept:
    """Memory maps of one judged shard."""

    folder: Path
    texts: np.ndarray
    ends: np.ndarray
    sizes: np.ndarray
    ids: np.ndarray
    keys: np.ndarray
    owners: np.ndarray

    def text(self, ordinal: int) -> str:
        """A document's text."""
        begin = int(self.ends[ordinal - 1]) if ordinal else 0
        return self.texts[begin : int(self.ends[ordinal])].tobytes().decode()


@dataclass(frozen=True)
class Judged:
    """All judged shards; shard index = place of the name."""

    root: Path
    names: tuple[str, ...]

    def shard(self, index: int) -> Kept:
        """Open one shard (kept open for the next call)."""
        return _open(self.root / self.names[index])

    def text(self, reference: int) -> str:
        """A document's text."""
        shard, ordinal = split(reference)
        return self.shard(shard).text(ordinal)

    def rank(self, reference: int) -> tuple[int, int, int, int]:
        """Who survives among copies: the least. The longest text, then the least doc_id; arrival decides nothing."""
        shard, ordinal = split(reference)
        kept = self.shard(shard)
        return -int(kept.sizes[ordinal]), int(kept.ids[ordinal, 0]), int(kept.ids[ordinal, 1]), reference

    def keys(self, kind: int, part: int, parts: int) -> tuple[np.ndarray, np.ndarray]:
        """Keys of one kind in one of `parts` equal ranges, of all shards: (N,) uint64 sorted, (N,) references."""
        low, high = part * _KEYS // parts, (part + 1) * _KEYS // parts - 1
        keys, references = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
        for index in range(len(self.names)):
            kept = self.shard(index)
            row = kept.keys[kind]
            begin, end = np.searchsorted(row, np.uint64(low), "left"), np.searchsorted(row, np.uint64(high), "right")
            keys.append(row[begin:end])
            references.append(np.uint64(index << 32) | kept.owners[kind, begin:end].astype(np.uint64))
        all_keys, all_references = np.concatenate(keys), np.concatenate(references)
        order = np.lexsort((all_references, all_keys))
        return all_keys[order], all_references[order]


def split(reference: int) -> tuple[int, int]:
    """Shard index and ordinal of a reference."""
    return int(reference) >> 32, int(reference) & 0xFFFFFFFF


class KeptWriter:
    """Writes what `Kept` reads into an existing folder; texts go to disk as they come."""

    def __init__(self, folder: Path, kinds: int) -> None:
        """`kinds`: 2 + bands."""
        self._folder, self._texts = folder, (folder / "texts.bin").open("wb")
        self._rows: list[int] = []
        self._ends: list[int] = []
        self._sizes: list[int] = []
        self._ids: list[tuple[int, int]] = []
        self._keys = [np.empty((kinds, 0), np.uint64)]

    def add(self, rows: Sequence[int], texts: Sequence[str], doc_ids: Sequence[str], keys_KN: np.ndarray) -> None:
        """Append documents.

        Args:
            rows: their places in rows.parquet.
            keys_KN: (2 + bands, documents) uint64.
        """
        for text in texts:
            self._texts.write(text.encode())
            self._ends.append(self._texts.tell())
        self._rows += rows
        self._sizes += [len(text) for text in texts]
        self._ids += [(int(doc_id[:16], 16), int(doc_id[16:], 16)) for doc_id in doc_ids]
        self._keys.append(keys_KN)

    def close(self) -> None:
        """Write the arrays."""
        self._texts.close()
        keys_KN = np.concatenate(self._keys, axis=1)
        owners_KN = np.argsort(keys_KN, axis=1, kind="stable")
        arrays = {
            "kept": np.array(self._rows, np.uint32),
            "ends": np.array(self._ends, np.uint64),
            "sizes": np.array(self._sizes, np.uint32),
            "ids": np.array(self._ids, np.uint64).reshape(-1, 2),
            "keys": np.take_along_axis(keys_KN, owners_KN, axis=1),
            "owners": owners_KN.astype(np.uint32),
        }
        for name, array in arrays.items():
            np.save(self._folder / f"{name}.npy", array)


def save_array(path: Path, array: np.ndarray) -> None:
    """Write an .npy file whole or not at all."""
    with whole_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, array)


@functools.lru_cache(_OPEN_SHARDS)
def _open(folder: Path) -> Kept:
    def array(name: str) -> np.ndarray:
        return np.load(folder / f"{name}.npy", mmap_mode="r")

    texts = folder / "texts.bin"
    data = np.memmap(texts, np.uint8, "r") if texts.stat().st_size else np.empty(0, np.uint8)
    return Kept(folder, data, array("ends"), array("sizes"), array("ids"), array("keys"), array("owners"))
