"""What judging leaves for removing copies and for writing: one folder a shard, read through memory maps.

work/judged/<shard>/
    rows.parquet    one row for every record that came in, in order: its fate so far and the value of every rule
    kept.npy        (kept,) rows.parquet row of every document that passed the rules; `ordinal` means an index into it
    texts.bin       their texts, UTF-8, back to back; ends.npy: (kept,) where each ends
    sizes.npy       (kept,) characters; ids.npy: (kept, 2) the doc_id as two big halves
    keys.npy        (2 + bands, kept) sorted hashes of url, of text, and of each MinHash band
    owners.npy      (2 + bands, kept) the ordinal that each key belongs to

A document is named across shards by its `reference`: shard index << 32 | ordinal.
"""

import functools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import numpy as np

from corpus.storage.arrays import ArrayWriter, forget, npy_header, sorted_ranges
from corpus.storage.references import split
from pipeline.documents import doc_id_array

URL_KEY, TEXT_KEY, FIRST_BAND = 0, 1, 2
# Rows of a Parquet row group: with more, smaller footers; with fewer, less to hold.
ROW_GROUP = 1 << 14
_KEYS = 1 << 64
# Memory maps held open at once by a process: five a shard, far below the usual limit of 1,024 files.
_OPEN_SHARDS = 64
# Halvings of a range of keys after which it holds a single one.
_FINEST = 64


@dataclass(frozen=True)
class Kept:
    """One judged shard: memory maps, and its texts as a file, for a map of them would grow with all that is read."""

    folder: Path
    texts: FileIO
    ends: np.ndarray
    sizes: np.ndarray
    ids: np.ndarray
    keys: np.ndarray
    owners: np.ndarray

    def raw(self, ordinal: int) -> bytes:
        """A document's text as UTF-8."""
        begin = int(self.ends[ordinal - 1]) if ordinal else 0
        return os.pread(self.texts.fileno(), int(self.ends[ordinal]) - begin, begin)

    def text(self, ordinal: int) -> str:
        """A document's text."""
        return self.raw(ordinal).decode()

    def forget(self) -> None:
        """Let go of what was read of the maps."""
        for array in (self.ends, self.sizes, self.ids, self.keys, self.owners):
            forget(array)


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

    def order(self, groups_N: np.ndarray, references_N: np.ndarray) -> np.ndarray:
        """The permutation that sorts references by group and, inside a group, by rank: among copies the first survives.

        By rank the longest text comes first, then the least doc_id; arrival decides nothing.
        """
        sizes_N, ids_N2 = self.ranks(references_N)
        return np.lexsort((references_N, ids_N2[:, 1], ids_N2[:, 0], ~sizes_N, groups_N))

    def ranks(self, references_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What rank depends on: (N,) uint32 characters, (N, 2) uint64 halves of the doc_id."""
        sizes_N, ids_N2 = np.empty(len(references_N), np.uint32), np.empty((len(references_N), 2), np.uint64)
        for index, indices in self.by_shard(references_N):
            kept, ordinals = self.shard(index), references_N[indices] & np.uint64(0xFFFFFFFF)
            sizes_N[indices], ids_N2[indices] = kept.sizes[ordinals], kept.ids[ordinals]
        return sizes_N, ids_N2

    def by_shard(self, references_N: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Where the references of each shard stand: (shard index, places), shard by shard, places by ordinal."""
        order = np.argsort(references_N, kind="stable")
        shards = references_N[order] >> np.uint64(32)
        cuts = np.flatnonzero(shards[1:] != shards[:-1]) + 1
        for indices in np.split(order, cuts) if len(order) else ():
            index = int(references_N[indices[0]] >> np.uint64(32))
            yield index, indices
            self.shard(index).forget()

    def keys(self, kind: int, part: int, parts: int) -> tuple[np.ndarray, np.ndarray]:
        """Keys of one kind in one of `parts` equal ranges, of all shards: (N,) uint64 sorted, (N,) references."""
        keys, references = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
        for index in range(len(self.names)):
            kept = self.shard(index)
            begin, end = self._range(index, kind, part, parts)
            keys.append(kept.keys[kind, begin:end])
            references.append(np.uint64(index << 32) | kept.owners[kind, begin:end].astype(np.uint64))
            keys[-1] = keys[-1].copy()
            kept.forget()
        all_keys, all_references = np.concatenate(keys), np.concatenate(references)
        order = np.argsort(all_keys, kind="stable")  # shards were read in order, so references are sorted inside a key
        return all_keys[order], all_references[order]

    def blocks(self, kind: int, part: int, parts: int, limit: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """`keys` of the range, halved until no piece holds more than `limit`; one key is never divided.

        So a piece is larger only where one key has more members than `limit`, at 16 bytes each.
        """
        waiting = [(part, parts, 0)]
        while waiting:
            part, parts, halved = waiting.pop()
            count = sum(
                end - begin for index in range(len(self.names)) for begin, end in [self._range(index, kind, part, parts)]
            )
            if count > limit and halved < _FINEST:
                waiting += [(2 * part + 1, 2 * parts, halved + 1), (2 * part, 2 * parts, halved + 1)]
            elif count:
                yield self.keys(kind, part, parts)

    def _range(self, index: int, kind: int, part: int, parts: int) -> tuple[int, int]:
        return _range(self.shard(index).keys[kind], part, parts)


def doc_ids(ids_N2: np.ndarray) -> list[str]:
    """The names whose halves these are, as `KeptWriter.add` takes them."""
    return [f"{high:016x}{low:016x}" for high, low in ids_N2.tolist()]


class KeptWriter:
    """Writes what `Kept` reads into an existing folder; everything goes to disk as it comes."""

    def __init__(self, folder: Path, kinds: int) -> None:
        """`kinds`: 2 + bands."""
        self._folder, self._texts = folder, (folder / "texts.bin").open("wb")
        self._rows = ArrayWriter(folder / "kept.npy", np.uint32)
        self._ends = ArrayWriter(folder / "ends.npy", np.uint64)
        self._sizes = ArrayWriter(folder / "sizes.npy", np.uint32)
        self._ids = ArrayWriter(folder / "ids.npy", np.uint64, (2,))
        self._keys = [(folder / f"keys-{kind:03}.raw").open("wb") for kind in range(kinds)]

    def add(self, rows: Sequence[int], texts: Sequence[str], doc_ids: Sequence[str], keys_KN: np.ndarray) -> None:
        """Append documents.

        Args:
            rows: their places in rows.parquet.
            keys_KN: (2 + bands, documents) uint64.
        """
        raw = [text.encode() for text in texts]
        self._ends.add(self._texts.tell() + np.cumsum([len(text) for text in raw], dtype=np.uint64))
        self._texts.writelines(raw)
        self._rows.add(np.array(rows, np.uint32))
        self._sizes.add(np.array([len(text) for text in texts], np.uint32))
        self._ids.add(doc_id_array(doc_ids).view(">u8"))
        for file, keys in zip(self._keys, keys_KN, strict=True):
            file.write(np.ascontiguousarray(keys).data)

    def close(self) -> None:
        """Sort the keys, one kind at a time, and end the files."""
        for part in (self._texts, self._rows, self._ends, self._sizes, self._ids, *self._keys):
            part.close()
        count = self._rows.count
        with (self._folder / "keys.npy").open("wb") as keys, (self._folder / "owners.npy").open("wb") as owners:
            for file, dtype in ((keys, np.uint64), (owners, np.uint32)):
                file.write(npy_header(dtype, (len(self._keys), count)))
            for raw in self._keys:
                for sorted_keys, indices in sorted_ranges(Path(raw.name), count):
                    keys.write(sorted_keys.data)
                    owners.write(indices.data)
                Path(raw.name).unlink()


def _range(row: np.ndarray, part: int, parts: int) -> tuple[int, int]:
    """Where the keys of one of `parts` equal ranges are in a sorted row."""
    low, high = np.uint64(part * _KEYS // parts), np.uint64((part + 1) * _KEYS // parts - 1)
    return int(np.searchsorted(row, low, "left")), int(np.searchsorted(row, high, "right"))


@functools.lru_cache(_OPEN_SHARDS)
def _open(folder: Path) -> Kept:
    def array(name: str) -> np.ndarray:
        return np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r"))  # as memmap every slice takes microseconds

    texts = (folder / "texts.bin").open("rb", buffering=0)  # closed with the last reference
    return Kept(
        folder=folder,
        texts=texts,
        ends=array("ends"),
        sizes=array("sizes"),
        ids=array("ids"),
        keys=array("keys"),
        owners=array("owners"),
    )
