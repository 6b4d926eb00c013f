"""Which documents a training iteration read, and which iterations read a document; numpy and pyarrow only.

Everything is computed from the index arrays of megatron-core's GPTDataset and BlendedDataset; no token is read.

    iteration i (1-based) takes samples k of the blend in [consumed[i-1], consumed[i]), whatever the data-parallel
    and micro-batch sizes are
    k --blend--> source s = dataset_index[k], its j-th sample: j = dataset_sample_index[k]
    j --shuffle--> p = shuffle_index[j]
    p --> the tokens from sample_index[p] up to sample_index[p + 1], both (q, offset): offset tokens into the q-th
    document of the stream document_index[0], document_index[1], …, in which each document occurs once for each epoch

The way back uses that sample p begins p * seq_length tokens into that stream:

    document d --begins[d]--> where it begins in the stream, in tokens, once for each epoch; its token t is in sample
    p = (begins[d, epoch] + t) // seq_length --place[p]--> k, or -1 if the blend never drew p --consumed--> i

The inputs of a sample are those tokens; its labels are the same tokens shifted by one, so the first token of sample p + 1
is also the last label of sample p. Here a token counts as read where it is an input: every token of the stream, except the
incomplete sample at its end, is an input of exactly one sample.

    order/order.json                    the list of arrays, with the sha256 of each
    order/{consumed,dataset_index,dataset_sample_index}.npy
    order/<source>/{document_index,sample_index,shuffle_index,sequence_lengths}.npy     Megatron's
    order/<source>/{begins,place,doc_ids,by_id}.npy                                     the inverse
"""

import json
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.artifact import HASH_ON_OPEN_BYTES
from pipeline.documents import DOC_ID_BYTES, doc_id_bytes
from pipeline.errors import CorruptArtifact, MissingInput
from pipeline.files import digest_file

FORMAT = 2
# (first, last) iteration, both included; ascending, neither touching nor overlapping.
IterationRanges = tuple[tuple[int, int], ...]
TOP_ARRAYS = ("consumed", "dataset_index", "dataset_sample_index")
MEGATRON_ARRAYS = ("document_index", "sample_index", "shuffle_index", "sequence_lengths")
INVERSE_ARRAYS = ("begins", "place", "doc_ids", "by_id")


class TokenSpan(NamedTuple):
    """Consecutive tokens of one document that were inputs of one sample."""

    iteration: int  # 1-based
    source: str
    doc_id: str
    begin: int  # the tokens [begin, end) of the document
    end: int


class Order:
    """The saved order of one training run, memory-mapped; every lookup takes O(log n + hits)."""

    def __init__(
        self,
        about: Mapping[str, Any],
        top: Mapping[str, np.ndarray],
        sources: Mapping[str, "_SourceArrays"],
        discarded: IterationRanges,
    ) -> None:
        self._consumed = top["consumed"]
        self._source_of, self._sample_of = top["dataset_index"], top["dataset_sample_index"]
        self._sources = dict(sources)
        self.sources: tuple[str, ...] = tuple(about["sources"])
        self.total: int = len(self._consumed) - 1
        self.discarded = discarded

    @staticmethod
    def open(folder: Path, pack_data: Path, *, discarded: IterationRanges = ()) -> "Order":
        """Open what `save_order` wrote, and check that it is complete and belongs to `pack_data`.

        Hashes are compared if all arrays together take at most HASH_ON_OPEN_BYTES; otherwise only shapes are checked.

        Args:
            discarded: iterations that read their data but left no trace in the weights: skipped, or undone by a rewind.
        Raises: MissingInput if there is no order; CorruptArtifact if it is damaged or belongs to other packed data.
        """
        path = folder / "order.json"
        if not path.exists():
            raise MissingInput(f"{path}: no saved data order; it is part of a sealed pretrain artifact")
        try:
            opened = _read(path, pack_data)
        except (ValueError, KeyError, TypeError, IndexError, OSError, EOFError) as error:
            raise CorruptArtifact(
                f"{folder}: the saved data order is damaged: {error}; make the pretrain artifact again"
            ) from error
        return Order(*opened, discarded)

    def documents(self, iteration: int) -> list[TokenSpan]:
        """Return the spans that an iteration read, in the order of its samples.

        Raises: IndexError if `iteration` is not in 1..total.
        """
        if not 1 <= iteration <= self.total:
            raise IndexError(f"iteration {iteration} is not in 1..{self.total}")
        samples = range(int(self._consumed[iteration - 1]), int(self._consumed[iteration]))
        return [span for sample in samples for span in self.sample(sample)]

    def sample(self, sample: int) -> list[TokenSpan]:
        """Return the spans that make up the inputs of one sample of the blend (0-based, in the order of training)."""
        name = self.sources[int(self._source_of[sample])]
        source, iteration = self._sources[name], self._iteration_of(sample)
        return [
            TokenSpan(iteration, name, source.doc_ids[document].tobytes().hex(), begin, end)
            for document, begin, end in source.token_ranges(int(source.shuffle_index[int(self._sample_of[sample])]))
        ]

    def iterations(self, source: str, doc_id: str, begin: int = 0, end: int | None = None) -> tuple[int, ...]:
        """Return the iterations (1-based, ascending) that had any of the tokens [begin, end) of that document as an input.

        Empty for a document that training never read, including held-out and unknown ones.
        Raises: ValueError if begin or end is negative.
        """
        if begin < 0 or (end is not None and end < 0):
            raise ValueError(f"token range [{begin}, {end}) of {doc_id} must not be negative")
        arrays = self._sources.get(source)
        document = arrays.number(doc_id) if arrays else None
        if arrays is None or document is None:
            return ()
        length = int(arrays.sequence_lengths[document])
        samples = arrays.samples(document, begin, length if end is None else min(end, length))
        return tuple(np.unique(np.searchsorted(self._consumed, samples, side="right")).tolist())

    def samples(self, source: str, doc_id: str) -> tuple[int, list[tuple[np.ndarray, np.ndarray]]]:
        """Return how a document was cut into samples.

        Returns: its length in tokens, `</s>` included, and for each epoch (begins, iterations): the offset of the first token
            of each part, ascending from 0, and the iteration that had this part as inputs, 0 if none had. There are no
            epochs for a document outside the training split.
        """
        arrays = self._sources.get(source)
        document = arrays.number(doc_id) if arrays else None
        if arrays is None or document is None:
            return 0, []
        length = int(arrays.sequence_lengths[document])
        return length, [self._cut(arrays, first, length) for first in arrays.begins[document].tolist()]

    def _cut(self, arrays: "_SourceArrays", first: int, length: int) -> tuple[np.ndarray, np.ndarray]:
        samples = np.arange(first // arrays.seq_length, (first + length - 1) // arrays.seq_length + 1)
        begins = np.maximum(samples * arrays.seq_length - first, 0)
        positions = np.full(len(samples), -1, np.int64)
        inside = samples < len(arrays.place)  # tokens after the last whole sample belong to none
        positions[inside] = arrays.place[samples[inside]]
        return begins, np.searchsorted(self._consumed, positions, side="right")

    def was_read(self, source: str, doc_id: str) -> bool:
        """Whether training read any token of that document, discarded iterations included."""
        return bool(self.iterations(source, doc_id))

    def is_discarded(self, iteration: int) -> bool:
        """Whether the iteration is one of `discarded`."""
        return any(first <= iteration <= last for first, last in self.discarded)

    def sources_of(self, doc_id: str) -> tuple[str, ...]:
        """Return the sources whose training data has that document."""
        return tuple(name for name in self.sources if self._sources[name].number(doc_id) is not None)

    def number(self, source: str, doc_id: str) -> int:
        """Return the sequence number of a document in the packed training data of its source.

        Raises: KeyError if it is not there.
        """
        number = self._sources[source].number(doc_id)
        if number is None:
            raise KeyError(f"{source}: {doc_id}")
        return number

    def _iteration_of(self, sample: int) -> int:
        return int(np.searchsorted(self._consumed, sample, side="right"))


@dataclass(frozen=True)
class _SourceArrays:
    """The arrays of one source."""

    seq_length: int
    document_index: np.ndarray  # (epochs * documents,)
    sample_index: np.ndarray  # (samples + 1, 2): (index into document_index, token offset)
    shuffle_index: np.ndarray  # (samples,)
    sequence_lengths: np.ndarray  # (documents,)
    begins: np.ndarray  # (documents, epochs) where each begins in the stream of documents, in tokens, ascending
    place: np.ndarray  # (samples,) position in the blend; -1: not drawn
    doc_ids: np.ndarray  # (documents, 16) uint8
    by_id: np.ndarray  # (documents,) documents in ascending order of doc_id

    @classmethod
    def open(cls, folder: Path, pack: Path, row: Mapping[str, Any], seq_length: int) -> "_SourceArrays":
        """Raises: ValueError if shapes contradict each other, or the packed data is not what training read."""
        arrays = cls(seq_length, **{name: _load(folder / f"{name}.npy") for name in MEGATRON_ARRAYS + INVERSE_ARRAYS})
        documents, samples = row["documents"], len(arrays.shuffle_index)
        if (
            arrays.sequence_lengths.shape != (documents,)
            or arrays.doc_ids.shape != (documents, DOC_ID_BYTES)
            or arrays.by_id.shape != (documents,)
            or arrays.place.shape != (samples,)
            or arrays.sample_index.shape != (samples + 1, 2)
            or arrays.begins.shape != (documents, len(arrays.document_index) // max(documents, 1))
        ):
            raise ValueError(f"arrays of source {folder.name!r} do not fit together")
        _check_pack(pack / "train.parquet", row)
        return arrays

    def number(self, doc_id: str) -> int | None:
        """The sequence number of a document, or None if it is not in the training split."""
        try:
            key = doc_id_bytes(doc_id)
        except ValueError:
            return None
        index = bisect_left(self.by_id, key, key=lambda number: self.doc_ids[number].tobytes())
        if index == len(self.by_id):
            return None
        number = int(self.by_id[index])
        return number if self.doc_ids[number].tobytes() == key else None

    def token_ranges(self, sample: int) -> Iterator[tuple[int, int, int]]:
        """Yield (document, begin, end) of the inputs of a sample, numbered as before the shuffle."""
        (first, first_offset), (last, last_offset) = self.sample_index[sample].tolist(), self.sample_index[sample + 1].tolist()
        for index in range(first, last + 1):
            document = int(self.document_index[index])
            begin = first_offset if index == first else 0
            end = last_offset if index == last else int(self.sequence_lengths[document])
            if end > begin:
                yield document, begin, end

    def samples(self, document: int, begin: int, end: int) -> np.ndarray:
        """The samples, as positions in the blend, that have any of the tokens [begin, end) of the document."""
        positions = [np.zeros(0, np.int64)]
        if begin < end:
            for first in self.begins[document].tolist():
                part = self.place[(first + begin) // self.seq_length : (first + end - 1) // self.seq_length + 1]
                positions.append(part[part >= 0])
        return np.concatenate(positions)


def _read(path: Path, pack_data: Path) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, _SourceArrays]]:
    folder, about = path.parent, json.loads(path.read_text("utf-8"))
    if about["format"] != FORMAT:
        raise ValueError(f"format {about['format']}, this code reads {FORMAT}")
    names = {f"{name}.npy" for name in TOP_ARRAYS}
    names |= {f"{source}/{name}.npy" for source in about["sources"] for name in MEGATRON_ARRAYS + INVERSE_ARRAYS}
    if names != about["arrays"].keys():
        raise ValueError(f"order.json lists other arrays: {sorted(names ^ about['arrays'].keys())[:3]}")
    _check_hashes(folder, about["arrays"])
    top = {name: _load(folder / f"{name}.npy") for name in TOP_ARRAYS}
    if not len(top["dataset_index"]) == len(top["dataset_sample_index"]) == int(top["consumed"][-1]):
        raise ValueError("the blend and the consumed samples differ in length")
    return (
        about,
        top,
        {
            name: _SourceArrays.open(folder / name, pack_data / name, about["source"][name], about["seq_length"])
            for name in about["sources"]
        },
    )


def _load(path: Path) -> np.ndarray:
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _check_hashes(folder: Path, arrays: Mapping[str, str]) -> None:
    if sum((folder / name).stat().st_size for name in arrays) > HASH_ON_OPEN_BYTES:
        return
    for name in changed_arrays(folder, arrays):
        raise ValueError(f"the content of {name} has changed (sha256 differs)")


def changed_arrays(folder: Path, arrays: Mapping[str, str]) -> Iterator[str]:
    """Yield the names of the arrays whose sha256 is not the saved one."""
    return (name for name, sha256 in arrays.items() if digest_file(folder / name) != sha256)


def _check_pack(table: Path, row: Mapping[str, Any]) -> None:
    import pyarrow.parquet as pq

    result = pq.read_metadata(table).num_rows
    if result != row["documents"]:
        raise ValueError(f"{table} has {result} documents, training read {row['documents']}")
    if table.stat().st_size <= HASH_ON_OPEN_BYTES and digest_file(table) != row["pack_sha256"]:
        raise ValueError(f"{table} is not the packed data that training read (sha256 differs)")
