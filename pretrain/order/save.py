"""Write what `pretrain.order` reads: Megatron's index arrays, and their inverse, which leads from a document to its iterations.

The arrays are made, written and freed one by one, so that a hundred million documents need no more memory than their
largest array. numba makes in one pass what numpy would need several for.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.compiled import compiled
from pipeline.documents import DOC_ID_BYTES, doc_id_array
from pipeline.errors import BadInput, CorruptArtifact
from pipeline.files import atomic_path, digest_file, digest_json, write_json
from pipeline.reading_order import FORMAT, changed_arrays

CHUNK = 1 << 20  # samples whose beginnings are compared at a time: 32 MiB of indices


@dataclass(frozen=True)
class SourceIndices:
    """The arrays of one source's GPTDataset."""

    name: str
    document_index: np.ndarray  # (epochs * documents,)
    sample_index: np.ndarray  # (samples + 1, 2): (index into document_index, token offset)
    shuffle_index: np.ndarray  # (samples,)
    sequence_lengths: np.ndarray  # (documents,)


@dataclass(frozen=True)
class Blend:
    """The sequence of samples drawn from all sources, and how many of them each iteration takes."""

    sources: Sequence[SourceIndices]  # in the order that source_of numbers them
    source_of: np.ndarray  # (samples,) dataset_index of BlendedDataset
    sample_of: np.ndarray  # (samples,) its dataset_sample_index: which sample of that source
    consumed: np.ndarray  # (iterations + 1,) samples consumed after 0, 1, 2, … iterations
    seq_length: int


def save_order(folder: Path, blend: Blend, pack_data: Path, *, made_from: Any = None) -> None:
    """Write `folder` atomically; the same arrays give the same bytes.

    Args:
        pack_data: data folder of the pack artifact, for the doc_ids.
        made_from: everything, as JSON, that determines the arrays besides the packed data. If `folder` already holds an
            undamaged order made from the same, nothing is written, so that a resumed run does not compute its order again.
            None: always write.
    Raises: BadInput if two documents of a source have the same doc_id, or samples are not seq_length consecutive tokens.
    """
    rows = {}
    for source in blend.sources:
        rows[source.name] = {
            "documents": len(source.sequence_lengths),
            "tokens": int(source.sequence_lengths.sum(dtype=np.int64)),
            "pack_sha256": digest_file(pack_data / source.name / "train.parquet"),
        }
    about = {
        "format": FORMAT,
        "seq_length": blend.seq_length,
        "sources": [source.name for source in blend.sources],
        "source": rows,
        "made_from": digest_json(made_from),
    }
    if made_from is not None and _is_current(folder, about):
        return
    samples = int(blend.consumed[-1])
    with atomic_path(folder) as fresh:
        save = _Saver(fresh)
        save("consumed", np.asarray(blend.consumed, np.int64))
        save("dataset_index", np.asarray(blend.source_of[:samples], np.int16))
        save("dataset_sample_index", narrow_ints(blend.sample_of[:samples]))
        for number, source in enumerate(blend.sources):
            table = pack_data / source.name / "train.parquet"
            for name, make in _arrays(source, blend, number, samples, table):
                save(f"{source.name}/{name}", make())
        write_json(fresh / "order.json", about | {"arrays": save.digests})


def _is_current(folder: Path, about: Mapping[str, Any]) -> bool:
    """Whether `folder` holds an undamaged order with this description."""
    try:
        existing = json.loads((folder / "order.json").read_text("utf-8"))
        arrays = existing.pop("arrays")
        return existing == about and not any(changed_arrays(folder, arrays))
    except (OSError, ValueError, KeyError):
        return False


class _Saver:
    """Writes arrays below a folder and collects their sha256."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.digests = folder, dict[str, str]()

    def __call__(self, name: str, array: np.ndarray) -> None:
        path = self._folder / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, array, allow_pickle=False)
        self.digests[f"{name}.npy"] = digest_file(path)


def _arrays(
    source: SourceIndices, blend: Blend, number: int, samples: int, table: Path
) -> Iterator[tuple[str, Callable[[], np.ndarray]]]:
    """Yield (name, function that makes it) for each array of a source, so that only one is in memory at a time."""
    lengths = np.asarray(source.sequence_lengths)
    _check_stride(source, blend.seq_length)
    yield "document_index", lambda: source.document_index
    yield "sample_index", lambda: source.sample_index
    yield "shuffle_index", lambda: source.shuffle_index
    yield "sequence_lengths", lambda: lengths
    yield "begins", lambda: document_begins(np.asarray(source.document_index), lengths)
    yield "place", lambda: blend_positions(source.shuffle_index, np.flatnonzero(blend.source_of[:samples] == number))
    ids = _doc_ids(table, len(lengths))
    yield "doc_ids", lambda: ids
    yield "by_id", lambda: sort_by_doc_id(ids, source.name)


def narrow_ints(array: np.ndarray) -> np.ndarray:
    """The same numbers as int32 if they fit, else as int64."""
    fits = not array.size or int(array.max()) <= np.iinfo(np.int32).max
    return np.asarray(array, np.int32 if fits else np.int64)


def _check_stride(source: SourceIndices, seq_length: int) -> None:
    """Check that sample p begins p * seq_length tokens into the stream of documents, which the inverse relies on."""
    ends = np.cumsum(np.asarray(source.sequence_lengths)[source.document_index], dtype=np.int64)
    for first in range(0, len(source.sample_index), CHUNK):
        part = np.asarray(source.sample_index[first : first + CHUNK])
        index, offset = part[:, 0], part[:, 1]
        begin = ends[index] - source.sequence_lengths[source.document_index[index]] + offset
        if not np.array_equal(begin, seq_length * np.arange(first, first + len(part))):
            raise BadInput(
                f"source {source.name!r}: the samples of its index are not {seq_length} consecutive tokens each; this code "
                f"reads the indices of megatron-core's GPTDataset"
            )


def document_begins(document_index: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """(documents, epochs) int64: where each document begins in the stream of documents, in tokens, ascending."""
    documents = len(lengths)
    table = np.empty((documents, len(document_index) // max(documents, 1)), np.int64)
    _begins(document_index, lengths, np.zeros(documents, np.int32), table)
    return table


@compiled
def _begins(document_index: Any, lengths: Any, seen: Any, table: Any) -> None:
    position = np.int64(0)
    for document in document_index:
        table[document, seen[document]] = position
        seen[document] += 1
        position += lengths[document]


def blend_positions(shuffle_index: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Invert the shuffle and the blend: sample -> its position in the blend, -1 if it is not drawn.

    Args:
        shuffle_index: (samples,) its j-th entry is the sample that this source contributes as its j-th.
        positions: ascending; its j-th entry is the position in the blend of the j-th sample of this source.
    """
    positions = narrow_ints(positions)
    place = np.full(len(shuffle_index), -1, positions.dtype)
    place[shuffle_index[: len(positions)]] = positions
    return place


def _doc_ids(table: Path, documents: int) -> np.ndarray:
    """Read the doc_id column of a packed split: (documents, 16) uint8."""
    import pyarrow.parquet as pq

    ids, filled = np.empty((documents, DOC_ID_BYTES), np.uint8), 0
    with pq.ParquetFile(table) as file:
        for batch in file.iter_batches(columns=["doc_id"]):
            if filled + len(batch) <= documents:
                ids[filled : filled + len(batch)] = doc_id_array(batch.column(0).to_pylist())
            filled += len(batch)
    if filled != documents:
        raise CorruptArtifact(f"{table}: {filled} documents, its index has {documents}; `make clean-pack` and pack again")
    return ids


def sort_by_doc_id(ids: np.ndarray, source: str) -> np.ndarray:
    """Sequence numbers of the documents in ascending order of doc_id.

    Raises: BadInput if a doc_id occurs twice.
    """
    halves = ids.reshape(-1).view(">u8").reshape(-1, 2)
    first = halves[:, 0].astype(np.uint64)
    order = np.argsort(first)
    first = first[order]
    if (first[1:] == first[:-1]).any():  # almost never: they are hashes
        order = np.lexsort((halves[:, 1], halves[:, 0]))
        ordered = ids[order]
        if len(same := np.flatnonzero((ordered[1:] == ordered[:-1]).all(1))):
            raise BadInput(f"source {source!r}: {len(same)} doc_id(s) occur twice, first {ordered[same[0]].tobytes().hex()}")
    return narrow_ints(order)
