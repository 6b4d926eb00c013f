"""Files of a corpus shard without some documents, a row group at a time; the same columns, metadata and order."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.files import atomic_path


def rewrite_documents(old: Path, new: Path, removed: frozenset[str]) -> tuple[dict[str, int], np.ndarray]:
    """Leave documents out.

    Returns: how many went, their characters and UTF-8 bytes; (documents,) bool, which rows stay.
    """
    gone = {"removed": 0, "characters": 0, "bytes": 0}
    stays = [np.empty(0, bool)]

    def without(table: pa.Table) -> pa.Table:
        mask = ~_among(table["doc_id"], removed)
        stays.append(mask)
        texts = table["text"].filter(pa.array(~mask))
        gone["removed"] += len(texts)
        gone["characters"] += sum(len(text) for text in texts.to_pylist())
        gone["bytes"] += sum(len(text.encode()) for text in texts.to_pylist())
        return table.filter(pa.array(mask))

    _rewrite(old, new, without)
    return gone, np.concatenate(stays)


def rewrite_decisions(old: Path, new: Path, removed: frozenset[str], stage: str, rule: str) -> None:
    """Turn kept rows into dropped ones; values of rules stay, so that judging again still works."""

    def dropped(table: pa.Table) -> pa.Table:
        kept = pc.call_function("equal", [table["verdict"], "kept"])
        mask = pc.call_function("and", [kept, pa.array(_among(table["doc_id"], removed))])
        for name, value in (("verdict", "dropped"), ("stage", stage), ("rule", rule)):
            index = table.schema.get_field_index(name)
            values = pc.call_function("if_else", [mask, pa.scalar(value, pa.string()), table[name]])
            table = table.set_column(index, table.schema.field(name), values)
        return table

    _rewrite(old, new, dropped)


def rewrite_clusters(old: Path, new: Path, removed: frozenset[str]) -> bool:
    """Leave out the clusters whose kept representative went; False, and nothing written, where there are none."""
    if not _among(pq.read_table(old, columns=["survivor"])["survivor"], removed).any():
        return False
    _rewrite(old, new, lambda table: table.filter(pa.array(~_among(table["survivor"], removed))))
    return True


def rewrite_keys(old: Path, new: Path, stays_D: np.ndarray) -> None:
    """Leave out the keys of documents, and name the others by their new rows."""
    rows = (np.cumsum(stays_D) - 1).astype(np.uint32)
    keys, owners = np.load(old / "keys.npy", mmap_mode="r"), np.load(old / "owners.npy", mmap_mode="r")
    shape = (len(keys), int(stays_D.sum()))
    with atomic_path(new) as folder:
        folder.mkdir()
        new_keys, new_owners = np.empty(shape, np.uint64), np.empty(shape, np.uint32)
        for kind in range(len(keys)):
            mask = stays_D[owners[kind]]
            new_keys[kind], new_owners[kind] = keys[kind][mask], rows[owners[kind][mask]]
        np.save(folder / "keys.npy", new_keys)
        np.save(folder / "owners.npy", new_owners)
        for name in ("ids", "sizes"):
            np.save(folder / f"{name}.npy", np.load(old / f"{name}.npy", mmap_mode="r")[stays_D])


def _among(column: pa.ChunkedArray, names: frozenset[str]) -> np.ndarray:
    return np.array([name in names for name in column.to_pylist()], bool)


def _rewrite(old: Path, new: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    with atomic_path(new) as temporary, pq.ParquetFile(old) as file:
        with pq.ParquetWriter(temporary, file.schema_arrow, compression="zstd") as writer:
            for group in range(file.num_row_groups):
                writer.write_table(change(file.read_row_group(group)))
