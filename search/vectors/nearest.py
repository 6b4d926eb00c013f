"""Nearest passages of one shard, by cosine: a faiss index of unit vectors whose candidates are compared exactly.

Shapes: n vectors, d dimensions, w = d made even, Q queries. A shard's folder:

    vectors.json    what made the vectors, how they are indexed, and the recall that was measured when they were
    index.faiss     "flat": the vectors themselves in half precision; else their codes
    vectors.f16     (n, d) little-endian half precision, for the exact comparison; not beside "flat"

Kinds, as `[index] neighbours` names them (1,000,000 vectors of 256 dimensions, `make bench-search ONLY=vectors`):
"flat" scans all in half precision, exact; "scan" scans codes of 2 bits a dimension with faiss' fast scan; "ivf-pq" reads
some lists of such codes; "ivf-sq8" lists of 8 bits a dimension; "hnsw" walks a graph over 8 bits a dimension.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import CorruptArtifact
from pipeline.files import short_digest, write_json
from search.settings import AnyKind, Kind
from search.vectors.embedder import Identity

INDEX, ROWS, ABOUT = "index.faiss", "vectors.f16", "vectors.json"
# Up to here a scan of all in half precision, which is exact and needs one file, takes 1 ms (measured: 0.02 ms a 1,000).
FLAT_MAX = 50_000
# Up to here codes of all are scanned: 0.8 ms for 200,000, 6 ms for 1,000,000, and no list can be missed. SVD vectors hardly
# cluster: lists that reach the same recall save a fifth (1,000,000) or nothing (200,000), a graph takes 12 ms for 200,000.
SCAN_MAX = 4_000_000
# Fewer vectors than this are too few to train a code on: they are "flat", whatever is asked for.
MIN_TRAINED = 1_000
# Half of faiss' "4 to 16 sqrt(n)": SVD vectors are whitened and hardly cluster, so that more lists find no more at the
# same cost (250,000: 512 and 2,048 lists), and training them takes longer.
LISTS_PER_ROOT, MAX_LISTS = 2, 4096
# Vectors that each list is trained on (faiss asks for 39 to 256), and at least for all: 67 MB of 256 dimensions.
TRAINED_PER_LIST, TRAINED = 64, 65_536
# faiss' HNSW32: 64 links a vector.
LINKS = 32
# `build` measures recall of the TEN nearest after the exact comparison with ASKED queries, and aims at TARGET.
TEN, TARGET, ASKED = 10, 0.97, 128
# Candidates that are compared exactly: the fewest of these that reach TARGET.
POOLS = (64, 128, 256, 512, 1024, 2048)
# Cosines nearer than this are equal: half precision has 11 bits.
SAME = 5e-4
# Vectors in memory in single precision at a time: 34 MB of 256 dimensions.
BLOCK = 32_768


@dataclass(frozen=True)
class About:
    """The content of vectors.json."""

    count: int
    dimensions: int
    embedder: str  # Identity.key of what made the vectors
    kind: Kind
    probes: int  # lists that a query reads, 0 where there are none
    pool: int  # candidates that are compared exactly, 0 for "flat"
    recall: float  # of the ten nearest, of ASKED vectors, as measured by `build`

    @property
    def width(self) -> int:
        """w: codes take dimensions in pairs."""
        return self.dimensions + self.dimensions % 2


def build(
    batches: Iterable[np.ndarray], folder: Path, *, count: int, identity: Identity, kind: AnyKind = "auto"
) -> dict[str, Any]:
    """Write the index of one shard; single-threaded, so that the same vectors give the same bytes.

    Memory: the codes of all, one BLOCK and the training sample in single precision.

    Args:
        batches: (n, d) float32 unit vectors, in the order of passages; `count` in all.
        folder: exists, and is empty.
        identity: of the embedder that made them.
        kind: as `[index] neighbours` asks; `choose_kind` decides for "auto".
    Returns: the content of vectors.json, without the embedder.
    Raises: CorruptArtifact if the batches do not hold `count` vectors of the embedder's dimensions.
    """
    import faiss

    faiss.omp_set_num_threads(1)
    _write_rows(batches, folder / ROWS, count, identity.dimensions)
    about = About(
        count=count,
        dimensions=identity.dimensions,
        embedder=identity.key,
        kind=choose_kind(count, kind),
        probes=0,
        pool=0,
        recall=1.0,
    )
    rows = _map_rows(folder / ROWS, about)
    index = _make_index(about)
    if not index.is_trained:
        size = min(count, max(TRAINED, TRAINED_PER_LIST * _count_lists(about)))
        index.train(_widen(rows[np.arange(size) * count // size], about.width))
    for _, block in _iterate_blocks(rows, about.width):
        index.add(block)
    if about.kind == "flat":
        (folder / ROWS).unlink()
    else:
        about = _tune(index, rows, about)
    faiss.write_index(index, str(folder / INDEX))
    write_json(folder / ABOUT, asdict(about))
    return {key: value for key, value in asdict(about).items() if key != "embedder"}


def choose_kind(count: int, kind: AnyKind = "auto") -> Kind:
    """Choose the kind of index for `count` vectors: the one asked for, if there are enough vectors to train it."""
    if count < MIN_TRAINED:
        return "flat"
    if kind == "auto":
        return "flat" if count <= FLAT_MAX else "scan" if count <= SCAN_MAX else "ivf-pq"
    return kind


class Neighbours:
    """An opened index of one shard; may be asked by several threads at once."""

    def __init__(self, folder: Path, count: int, identity: Identity) -> None:
        """Open what `build` wrote: codes by mmap where faiss can, vectors by mmap.

        Raises: CorruptArtifact if it is missing, damaged, not of `count` vectors, or made by another embedder than `identity`.
        """
        import faiss

        faiss.omp_set_num_threads(1)  # one query at a time has nothing to share between threads
        try:
            self.about = About(**json.loads((folder / ABOUT).read_text("utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise CorruptArtifact(f"{folder / ABOUT}: not readable ({error}); make the index again") from error
        expected = (count, identity.dimensions, identity.key)
        found = (self.about.count, self.about.dimensions, self.about.embedder)
        if found != expected:
            raise CorruptArtifact(
                f"{folder}: {found[0]} vectors of {found[1]} dimensions made by embedder {short_digest(found[2])}, "
                f"expected {count} of {identity.dimensions} made by {short_digest(identity.key)} "
                f"({identity.embedder!r}); make the index again"
            )
        try:
            self._index: Any = faiss.read_index(str(folder / INDEX), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise CorruptArtifact(f"{folder / INDEX}: not a readable faiss index ({reason}); make the index again") from error
        if (self._index.ntotal, self._index.d) != (count, self.about.width):
            raise CorruptArtifact(
                f"{folder / INDEX}: {self._index.ntotal} vectors of {self._index.d} dimensions, expected {count} of "
                f"{self.about.width}; make the index again"
            )
        self._rows = _map_rows(folder / ROWS, self.about) if self.about.kind != "flat" else None

    def search(self, vector: np.ndarray, most: int) -> list[tuple[int, float]]:
        """Up to `most` (passage, cosine), nearest first, equal ones in the order of passages; only cosines above 0.

        Args:
            vector: (d,) float32 unit vector.
        """
        if self._rows is None:
            query = _widen(vector[None], self.about.width)
            scores, numbers = (row[0] for row in self._index.search(query, min(most, self.about.count)))
        else:
            # Twice as many candidates as are asked for, so that the last of them are compared exactly too.
            scores, numbers = _compare_exactly(self._rows, vector, self.candidates(vector, max(self.about.pool, 2 * most)))
        matches = [(n, s) for n, s in zip(numbers.tolist(), scores.tolist(), strict=True) if n >= 0 and s > 0]
        return sorted(matches, key=lambda row: (-row[1], row[0]))[:most]

    def candidates(self, vector: np.ndarray, pool: int) -> np.ndarray:
        """(pool,) numbers of the nearest passages by codes alone; -1 where there are fewer."""
        return _find_candidates(self._index, _widen(vector[None], self.about.width), self.about, self.about.probes, pool)[0]


def _write_rows(batches: Iterable[np.ndarray], path: Path, count: int, dimensions: int) -> None:
    written = 0
    with path.open("wb") as file:
        for batch in batches:
            if batch.ndim != 2 or batch.shape[1] != dimensions:
                raise CorruptArtifact(f"{path}: vectors of shape {batch.shape}, expected (n, {dimensions})")
            batch.astype("<f2").tofile(file)
            written += len(batch)
    if written != count:
        raise CorruptArtifact(f"{path}: {written} vectors for {count} passages")


def _map_rows(path: Path, about: About) -> np.ndarray:
    """(n, d) half precision, by mmap.

    Raises: CorruptArtifact if the file is missing or of another size.
    """
    try:
        rows = np.memmap(path, "<f2", "r").view(np.ndarray)
    except (OSError, ValueError) as error:
        raise CorruptArtifact(f"{path}: not readable ({error}); make the index again") from error
    if rows.size != about.count * about.dimensions:
        raise CorruptArtifact(
            f"{path}: {2 * rows.size} bytes, expected {2 * about.count * about.dimensions} "
            f"for {about.count} vectors of {about.dimensions} dimensions; make the index again"
        )
    return rows.reshape(about.count, about.dimensions)


def _widen(rows: np.ndarray, width: int) -> np.ndarray:
    """(n, w) float32, contiguous; added dimensions are zeros."""
    wide = np.zeros((len(rows), width), np.float32)
    wide[:, : rows.shape[1]] = rows
    return wide


def _iterate_blocks(rows: np.ndarray, width: int) -> Iterator[tuple[int, np.ndarray]]:
    for begin in range(0, len(rows), BLOCK):
        yield begin, _widen(rows[begin : begin + BLOCK], width)


def _make_index(about: About) -> Any:
    import faiss

    lists = _count_lists(about)
    factory = {
        "flat": "SQfp16",
        "scan": f"PQ{about.width // 2}x4fs",
        "hnsw": f"HNSW{LINKS},SQ8",
        "ivf-sq8": f"IVF{lists},SQ8",
        "ivf-pq": f"IVF{lists},PQ{about.width // 2}x4fs",
    }[about.kind]
    index: Any = faiss.index_factory(about.width, factory, faiss.METRIC_INNER_PRODUCT)
    if lists:
        faiss.extract_index_ivf(index).cp.min_points_per_centroid = 1  # no warning on stderr where a shard is small
    return index


def _count_lists(about: About) -> int:
    """Number of lists: the power of two at or below LISTS_PER_ROOT * sqrt(n); 0 for kinds without lists."""
    return min(1 << int(np.log2(LISTS_PER_ROOT * about.count**0.5)), MAX_LISTS) if about.kind.startswith("ivf") else 0


def _find_candidates(index: Any, queries_QW: np.ndarray, about: About, probes: int, pool: int) -> np.ndarray:
    """(Q, pool) numbers of the nearest vectors by codes alone; -1 where there are fewer."""
    import faiss

    library: Any = faiss  # its wrapper makes the parameters' names at import
    options: dict[str, Any] = {}
    if about.kind == "hnsw":
        options["params"] = library.SearchParametersHNSW(efSearch=pool)
    elif about.kind.startswith("ivf"):
        options["params"] = library.SearchParametersIVF(nprobe=probes)
    return index.search(queries_QW, min(pool, about.count), **options)[1]


def _compare_exactly(rows: np.ndarray, vector: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and numbers of candidates, by the stored vectors; numbers ascend, so that the disk is read forwards."""
    kept = np.sort(numbers[numbers >= 0])
    return rows[kept].astype(np.float32) @ vector, kept


def _tune(index: Any, rows: np.ndarray, about: About) -> About:
    """Find the fewest lists, then the fewest candidates, that reach TARGET; they differ by embedder.

    Queries are vectors of the shard itself; each looks for its ten nearest, itself left out.
    """
    asked = np.unique(np.arange(ASKED) * about.count // ASKED)
    queries = rows[asked].astype(np.float32)
    floor = _find_tenth(rows, queries, asked)
    wide = _widen(queries, about.width)

    def recall(probes: int, pool: int) -> float:
        numbers = _find_candidates(index, wide, about, probes, pool)
        matches = [
            min(int((_compare_exactly(rows, query, row[row != own])[0] >= least - SAME).sum()), TEN) / TEN
            for query, own, row, least in zip(queries, asked, numbers, floor, strict=True)
            if query.any()
        ]
        return float(np.mean(matches)) if matches else 1.0

    most = _count_lists(about)
    steps = sorted({max(most >> shift, min(most, 1)) for shift in range(7)})
    probes, _ = _find_first(steps, lambda step: recall(step, POOLS[-1]))
    pool, reached = _find_first(POOLS, lambda size: recall(probes, size))
    return replace(about, probes=probes, pool=pool, recall=round(reached, 4))


def _find_first(steps: Sequence[int], recall: Callable[[int], float]) -> tuple[int, float]:
    """The first step that reaches TARGET, else the last, and what it reaches."""
    reached = 0.0
    for step in steps:
        reached = recall(step)
        if reached >= TARGET:
            return step, reached
    return steps[-1], reached


def _find_tenth(rows: np.ndarray, queries: np.ndarray, own: np.ndarray) -> np.ndarray:
    """(Q,) cosine of each query's tenth nearest vector, itself left out, by comparison with all vectors."""
    best = np.full((len(queries), TEN), -1.0, np.float32)
    for begin, block in _iterate_blocks(rows, rows.shape[1]):
        cosine = queries @ block.T
        here = np.flatnonzero((own >= begin) & (own < begin + len(block)))
        cosine[here, own[here] - begin] = -1
        best = np.sort(np.partition(np.concatenate([best, cosine], axis=1), -TEN, axis=1)[:, -TEN:], axis=1)
    return best[:, 0]
