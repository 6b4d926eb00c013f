"""Nearest passages of one shard, by cosine: a faiss index of unit vectors.

Small shards are scanned whole in half precision, exact but for rounding to 11 bits. Large ones are inverted lists of
8-bit codes: memory falls from 2 d to d bytes a passage, and a query reads a few per cent of them.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import CorruptArtifact

# Above this a scan of 256 half-precision dimensions takes longer than the rest of a query (measured: 0.1 ms a 1,000).
FLAT_MOST = 200_000
# faiss wiki, "Guidelines to choose an index": 4 to 16 sqrt(n) lists, 30 to 256 training vectors a list.
LISTS_PER_ROOT, TRAINING_PER_LIST = 4, 64
# IVF512,SQ8 with 32 of 512 lists read finds .946 of the true ten nearest (67,636 vectors of 128 dimensions).
READ_SHARE = 16


def build(batches: Iterator[np.ndarray], training: np.ndarray, count: int, path: Path) -> None:
    """Write the index of `count` vectors; single-threaded, so that the same vectors give the same bytes.

    Args:
        batches: (n, d) float32 unit vectors, in the order of passages.
        training: (m, d) float32, a sample of them; used where `count` > FLAT_MOST.
        count: how many there are in all batches.
    """
    import faiss

    faiss.omp_set_num_threads(1)
    index = _empty(training, count)
    for batch in batches:
        index.add(batch)
    faiss.write_index(index, str(path))


def training_size(count: int) -> int:
    """How many vectors `build` wants to train on, 0 where it scans."""
    return min(count, _lists(count) * TRAINING_PER_LIST) if count > FLAT_MOST else 0


class Neighbours:
    """An opened index of one shard."""

    def __init__(self, path: Path, count: int, dimensions: int) -> None:
        """Raises: CorruptArtifact if it is missing, damaged, or not of `count` vectors of `dimensions`."""
        import faiss

        faiss.omp_set_num_threads(1)  # one query at a time has nothing to share between threads
        try:
            self._index: Any = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise CorruptArtifact(f"{path}: not a readable faiss index ({reason}); make the index again") from error
        if (self._index.ntotal, self._index.d) != (count, dimensions):
            raise CorruptArtifact(
                f"{path}: {self._index.ntotal} vectors of {self._index.d} dimensions, the shard has {count} of {dimensions}; "
                "make the index again"
            )

    def search(self, vector: np.ndarray, most: int) -> list[tuple[int, float]]:
        """Up to `most` (passage, cosine), nearest first, equal ones in the order of passages; only cosines above 0."""
        scores, numbers = self._index.search(vector[None], min(most, self._index.ntotal))
        found = [(n, s) for n, s in zip(numbers[0].tolist(), scores[0].tolist(), strict=True) if n >= 0 and s > 0]
        return sorted(found, key=lambda row: (-row[1], row[0]))


def _empty(training: np.ndarray, count: int) -> Any:
    import faiss

    dimensions = training.shape[1]
    if count <= FLAT_MOST:
        return faiss.IndexScalarQuantizer(dimensions, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    lists = _lists(count)
    index: Any = faiss.index_factory(dimensions, f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
    index.train(training)
    index.nprobe = max(lists // READ_SHARE, 1)
    return index


def _lists(count: int) -> int:
    """The power of two next to LISTS_PER_ROOT * sqrt(count)."""
    return 1 << round(float(np.log2(LISTS_PER_ROOT * count**0.5)))
