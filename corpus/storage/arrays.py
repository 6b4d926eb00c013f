"""Arrays on disk: .npy files that grow at their end, written whole, and sorted by ranges where memory is short."""

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.files import atomic_path

# Room for any header of ours; a multiple of 64, as the format asks (numpy.lib.format, version 1.0).
_HEADER_BYTES = 128
# Keys sorted at a time: 8 bytes each, their order 8 more, and a sorted copy, about 0.4 GB.
SORTED_AT_ONCE = 16_000_000
_LOOK = 1 << 20  # keys compared with a range at a time


class ArrayWriter:
    """An .npy file that rows are added to; only the batch at hand is in memory."""

    def __init__(self, path: Path, dtype: np.typing.DTypeLike, row: tuple[int, ...] = ()) -> None:
        """`row`: the shape of one entry, () for a number."""
        self.count = 0
        self._dtype, self._row = np.dtype(dtype), row
        self._file = path.open("wb")
        self._file.write(bytes(_HEADER_BYTES))

    def add(self, rows: np.ndarray) -> None:
        """Append entries, (entries, *row)."""
        assert rows.shape[1:] == self._row, f"rows of {rows.shape[1:]}, expected {self._row}"
        self._file.write(np.ascontiguousarray(rows, self._dtype).data)
        self.count += len(rows)

    def close(self) -> None:
        """Write the header, which says how many there are."""
        self._file.seek(0)
        self._file.write(npy_header(self._dtype, (self.count, *self._row)))
        self._file.close()


def npy_header(dtype: np.typing.DTypeLike, shape: tuple[int, ...]) -> bytes:
    """The head of an .npy file of this content, always equally long."""
    about = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    magic = np.lib.format.magic(1, 0)
    length = _HEADER_BYTES - len(magic) - 2
    return magic + struct.pack("<H", length) + repr(about).encode().ljust(length - 1) + b"\n"


def save_array(path: Path, array: np.ndarray) -> None:
    """Write an .npy file whole or not at all."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, array)


def forget(array: np.ndarray) -> None:
    """Give back the pages of a memory map that were read: they stay in the system's cache, not in this process's memory."""
    existing: object = array
    while existing is not None and not isinstance(existing, mmap.mmap):
        existing = getattr(existing, "base", None)
    if isinstance(existing, mmap.mmap):
        existing.madvise(mmap.MADV_DONTNEED)


def sorted_ranges(raw: Path, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Sort a file of uint64 hashes a range at a time.

    Args:
        raw: `count` uint64, no header. Hashes, so ranges of their values hold about equally many.
    Yields: (keys sorted, their places in the file) of one range after the other; equal keys in order of place.
    """
    if not count:
        return
    keys = np.memmap(raw, np.uint64, "r", shape=(count,))
    parts = -(-count // SORTED_AT_ONCE)
    for part in range(parts):
        low, high = np.uint64((part << 64) // parts), np.uint64(((part + 1) << 64) // parts - 1)
        inside = [_inside(keys[begin : begin + _LOOK], low, high) + begin for begin in range(0, count, _LOOK)]
        indices = np.concatenate(inside)
        result = keys[indices]
        order = np.argsort(result, kind="stable")
        yield result[order], indices[order]


def _inside(keys: np.ndarray, low: np.uint64, high: np.uint64) -> np.ndarray:
    return np.flatnonzero((keys >= low) & (keys <= high)).astype(np.uint32)
