"""The sealed corpus that a new one extends: only new keys are matched, against the stored keys of the base.

A document of the base always stays, because its artifact is immutable: a new document that duplicates one is dropped in
its favour (base_join.py). No signature of the base is computed again: its sorted keys (data/keys/<shard>/) are memory maps
in which new keys are looked up, and only documents that share a key with a new one are read, a row group at a time. The
base's files are in the new artifact under their own names, as hard links (`corpus.increment.removals`).
"""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from corpus.dedup.pairs import distinct
from corpus.dedup.settings import DedupSettings
from corpus.dedup.signatures import compute_keys
from corpus.storage.judged import FIRST_BAND, TEXT_KEY
from corpus.storage.references import BASE, split_base
from pipeline.artifact import Manifest
from pipeline.errors import ConfigError

KEY_ARRAYS = ("keys", "owners", "ids", "sizes")
# Memory maps held open at once by a process: four files each, below the usual limit of 1,024.
_OPEN_SHARDS = 64
# Row groups of 1,024 documents held at once: references come in order, so one would do; two for a pair across a border.
_OPEN_GROUPS = 2
# Documents of the base whose keys are made again to see that this version makes the same ones.
_PROBED = 16
Sizes = Callable[[np.ndarray], np.ndarray]  # references -> characters
Keyed = tuple[np.ndarray, np.ndarray]  # (N,) uint64 keys in order, (N,) uint64 references


@dataclass(frozen=True)
class BaseShard:
    """Memory maps of the keys of one shard's documents; `owners` are rows of its documents file."""

    keys: np.ndarray  # (2 + bands, D) uint64, each row in order
    owners: np.ndarray  # (2 + bands, D) uint32
    ids: np.ndarray  # (D, 2) uint64
    sizes: np.ndarray  # (D,) uint32 characters


@dataclass(frozen=True)
class BaseCorpus:
    """A sealed corpus to extend; picklable, opened shard by shard."""

    data: Path
    names: tuple[str, ...]  # shards; a shard's index is its place
    masked: tuple[str, ...] = ()  # kinds of personal data that its texts have masked, after their keys were made

    @classmethod
    def open(cls, manifest: Manifest, dedup: DedupSettings) -> "BaseCorpus":
        """The corpus of a sealed artifact.

        Raises: ConfigError if its keys are not comparable with those that `dedup` makes, or it holds none.
        """
        folder = manifest.data / "keys"
        names = tuple(sorted(path.name for path in folder.iterdir())) if folder.is_dir() else ()
        if not names:
            raise ConfigError(f"{manifest.root}: holds no keys to extend it by (data/keys/); make this corpus again")
        settings = manifest.body["made"]["settings"]
        for name in ("shingle", "bands", "rows"):
            theirs, ours = settings["dedup"][name], getattr(dedup, name)
            if theirs != ours:
                raise ConfigError(
                    f"[corpus.dedup] {name} = {ours}, but the base {manifest.root} was made with {name} = {theirs}; "
                    f"its keys are only comparable with equal ones: set {name} = {theirs}, or make the base again"
                )
        base = cls(manifest.data, names, tuple(settings.get("mask", {}).get("kinds", ())))
        base._check_version(manifest.root, dedup)
        return base

    def shard(self, index: int) -> BaseShard:
        """Open one shard (kept open for the next call)."""
        return _open(self.data / "keys" / self.names[index])

    def text(self, reference: int) -> str:
        """A document's text, from the row group in which it stands; fastest for references in order."""
        index, row = split_base(reference)
        return document(self.data / "documents" / f"{self.names[index]}.parquet", row)["text"]

    def ranks(self, references_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What documents are ranked by among copies: (N,) uint32 characters, (N, 2) uint64 halves of the doc_id."""
        sizes_N, ids_N2 = np.empty(len(references_N), np.uint32), np.empty((len(references_N), 2), np.uint64)
        plain = references_N & np.uint64(BASE - 1)
        for index in np.unique(plain >> np.uint64(32)).tolist():
            mine = np.flatnonzero(plain >> np.uint64(32) == np.uint64(index))
            shard, rows = self.shard(index), plain[mine] & np.uint64(0xFFFFFFFF)
            sizes_N[mine], ids_N2[mine] = shard.sizes[rows], shard.ids[rows]
        return sizes_N, ids_N2

    def lookup(self, kind: int, wanted: np.ndarray) -> Keyed:
        """Documents of the base that have one of the `wanted` keys of a kind.

        Args:
            wanted: (N,) uint64 in order, without repeats.
        """
        keys, references = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
        for index in range(len(self.names) if len(wanted) else 0):
            shard = self.shard(index)
            row = shard.keys[kind]
            begin = int(np.searchsorted(row, wanted[0], "left"))
            within = row[begin : int(np.searchsorted(row, wanted[-1], "right"))]
            if len(within) <= len(wanted):
                position = np.searchsorted(wanted, within)
                result = np.flatnonzero(wanted[position] == within)
            else:  # few new keys in a large shard: look each up, so that the rest is never read from disk
                low, high = np.searchsorted(within, wanted, "left"), np.searchsorted(within, wanted, "right")
                result = _ranges(low, high)
            keys.append(within[result])
            references.append(np.uint64(BASE | index << 32) | shard.owners[kind][begin + result].astype(np.uint64))
        all_keys, all_references = np.concatenate(keys), np.concatenate(references)
        order = np.lexsort((all_references, all_keys))
        return all_keys[order], all_references[order]

    def as_published(self, text: str) -> str:
        """A new text as it would be in the base's documents, whose personal data may be masked."""
        if not self.masked:
            return text
        from corpus.pii.mask import mask

        return mask(text, self.masked)[0]

    def _check_version(self, root: Path, dedup: DedupSettings) -> None:
        """Make some documents' keys again; a text that was changed after signing says nothing and is passed over."""

        for index, row in itertools.islice(self._rows(), _PROBED):
            got = document(self.data / "documents" / f"{self.names[index]}.parquet", row)
            keys = compute_keys([(got["source"], got["url"])], [got["text"]], dedup)[:, 0]
            stored = self._keys_of(index, row)
            if stored[TEXT_KEY] == keys[TEXT_KEY] and (stored[FIRST_BAND:] != keys[FIRST_BAND:]).any():
                raise ConfigError(
                    f"{root}: its signatures were computed by another version of this stage (first {got['doc_id']}); "
                    f"make the base again under a new name"
                )

    def _rows(self) -> Iterator[tuple[int, int]]:
        """The first documents of every shard."""
        for index in range(len(self.names)):
            for row in range(min(len(self.shard(index).ids), 2)):
                yield index, row

    def _keys_of(self, index: int, row: int) -> np.ndarray:
        shard = self.shard(index)
        return np.array([keys[owners == row][0] for keys, owners in zip(shard.keys, shard.owners, strict=True)], np.uint64)


def matches(new: Keyed, base: Keyed, window: int, sizes: Sizes, new_sizes: Sizes) -> np.ndarray:
    """Pairs of one base and one new document that share a key.

    Args:
        new: keys in order, of new documents.
        base: keys in order, of the base's (`BaseCorpus.lookup`).
        window: of a crowded bucket a new document meets this many, those nearest to it in size: likeness needs like sizes.
        sizes: characters of base references; new_sizes: of new ones. Only asked about crowded buckets.
    Returns: (P, 2) uint64, base and new, sorted by both, without repeats.
    """
    low, high = np.searchsorted(base[0], new[0], "left"), np.searchsorted(base[0], new[0], "right")
    crowded = high - low > window
    low_usual, high_usual = low[~crowded], high[~crowded]
    usual = [base[1][_ranges(low_usual, high_usual)], np.repeat(new[1][~crowded], high_usual - low_usual)]
    pairs = [np.stack(usual, axis=1)]
    for bucket in np.unique(low[crowded]).tolist():
        members = np.flatnonzero(crowded & (low == bucket))
        existing = base[1][bucket : int(high[members[0]])]
        held_sizes = sizes(existing).astype(np.int64)
        order = np.lexsort((existing, held_sizes))
        existing, held_sizes = existing[order], held_sizes[order]
        middles = np.searchsorted(held_sizes, new_sizes(new[1][members]).astype(np.int64))
        begins = np.clip(middles - window // 2, 0, len(existing) - window)
        pairs.append(np.stack([existing[_ranges(begins, begins + window)], np.repeat(new[1][members], window)], axis=1))
    return distinct(np.concatenate(pairs))


def renumber(shard_names: Sequence[str], base_names: Iterable[str]) -> dict[str, str]:
    """New names for new shards: <source>-<number> counted on after the base's, so that names stay unique.

    The source stays the part before the number, for every later stage reads it from there.
    """
    last: dict[str, int] = {}
    for name in base_names:
        source, _, number = name.rpartition("-")
        last[source] = max(last.get(source, -1), int(number))
    named = {}
    for name in shard_names:
        source, _, number = name.rpartition("-")
        named[name] = f"{source}-{int(number) + last.get(source, -1) + 1:05d}"
    return named


def _ranges(begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """[begin, end) of every pair, back to back: (sum,) int64."""
    lengths = ends - begins
    starts = np.repeat(begins - np.r_[0, np.cumsum(lengths)[:-1]], lengths) if len(lengths) else np.empty(0, np.int64)
    return (starts + np.arange(len(starts))).astype(np.int64)


def document(path: Path, row: int) -> dict[str, Any]:
    """One row of a documents file, by way of its row group."""
    first, group = _group(path, _group_of(path, row))
    return group.slice(row - first, 1).to_pylist()[0]


def _group_of(path: Path, row: int) -> int:
    return int(np.searchsorted(_group_starts(path), row, "right")) - 1


@functools.lru_cache(_OPEN_SHARDS)
def _group_starts(path: Path) -> np.ndarray:
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(path)
    return np.cumsum([0, *(metadata.row_group(index).num_rows for index in range(metadata.num_row_groups - 1))])


@functools.lru_cache(_OPEN_GROUPS)
def _group(path: Path, group: int) -> tuple[int, Any]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        return int(_group_starts(path)[group]), file.read_row_group(group, columns=["doc_id", "source", "url", "text"])


@functools.lru_cache(_OPEN_SHARDS)
def _open(folder: Path) -> BaseShard:
    return BaseShard(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in KEY_ARRAYS))
