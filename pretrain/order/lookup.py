"""Which documents a training iteration read, and in which iterations a document was read; numpy and pyarrow only.

Pure arithmetic on the arrays that megatron-core's GPTDataset and BlendedDataset were built from; no token is read.

    iteration i (1-based) takes samples k of the blend in [consumed[i-1], consumed[i]), whatever the data-parallel
    and micro-batch sizes are
    k --blend--> source s = dataset_index[k], its j-th sample: j = dataset_sample_index[k]
    j --shuffle--> p = shuffle_index[j]
    p --> the tokens from sample_index[p] up to sample_index[p + 1], both (q, offset): places in the row of documents
    document_index[0], document_index[1], …, each document as often as it has epochs

and back, for sample p begins p * seq_length tokens into that row:

    document d --begins[d]--> where it begins in the row, in tokens, once an epoch; token t of it is in sample
    p = (begins[d, epoch] + t) // seq_length --place[p]--> k, or -1 where the blend never came to p --consumed--> i

A sample's inputs are those tokens; its labels are the same ones moved by one, so that the first token of sample p + 1
also is the last label of sample p. Here a token counts as read where it is an input: every token of the row, but for
the ragged end, is in exactly one sample.

    order/order.json                    what is here, with the sha256 of every array
    order/{consumed,dataset_index,dataset_sample_index}.npy
    order/<source>/{document_index,sample_index,shuffle_index,sequence_lengths}.npy     Megatron's
    order/<source>/{begins,place,doc_ids,by_id}.npy                                     the way back
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
from pretrain.position import Ranges

FORMAT = 2
TOP_ARRAYS = ("consumed", "dataset_index", "dataset_sample_index")
MEGATRON_ARRAYS = ("document_index", "sample_index", "shuffle_index", "sequence_lengths")
INVERSE_ARRAYS = ("begins", "place", "doc_ids", "by_id")


class Span(NamedTuple):
    """A run of tokens of one document that one sample of one iteration had as inputs."""

    iteration: int  # 1-based
    source: str
    doc_id: str
    begin: int  # token range [begin, end) of the document
    end: int


class Order:
    """The saved order of one training run; opened by mmap, every lookup is O(log n + hits)."""

    def __init__(
        self, about: Mapping[str, Any], top: Mapping[str, np.ndarray], sources: Mapping[str, "_Source"], undone: Ranges
    ) -> None:
        self._consumed = top["consumed"]
        self._source_of, self._sample_of = top["dataset_index"], top["dataset_sample_index"]
        self._sources = dict(sources)
        self.sources: tuple[str, ...] = tuple(about["sources"])
        self.total: int = len(self._consumed) - 1
        self.undone = undone

    @staticmethod
    def open(folder: Path, pack_data: Path, *, undone: Ranges = ()) -> "Order":
        """Open what `order_save.save_order` wrote, and check that it is whole and belongs to `pack_data`.

        Arrays are hashed where they are together below HASH_ON_OPEN_BYTES; larger ones are checked by shape.

        Args:
            undone: iterations that read their data and left nothing in the weights: skipped, or rewound past.
        Raises: MissingInput if there is no order; CorruptArtifact if it is damaged or of other packed data.
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
        return Order(*opened, undone)

    def documents(self, iteration: int) -> list[Span]:
        """What an iteration read, in the order of its samples.

        Raises: IndexError if there is no such iteration; the first is 1, the last `total`.
        """
        if not 1 <= iteration <= self.total:
            raise IndexError(f"iteration {iteration} is not in 1..{self.total}")
        samples = range(int(self._consumed[iteration - 1]), int(self._consumed[iteration]))
        return [span for sample in samples for span in self.sample(sample)]

    def sample(self, sample: int) -> list[Span]:
        """What one sample of the blend (0-based, in the order of training) had as inputs, end to end."""
        name = self.sources[int(self._source_of[sample])]
        source, iteration = self._sources[name], self._iteration_of(sample)
        return [
            Span(iteration, name, source.doc_ids[document].tobytes().hex(), begin, end)
            for document, begin, end in source.spans(int(source.shuffle_index[int(self._sample_of[sample])]))
        ]

    def iterations(self, source: str, doc_id: str, begin: int = 0, end: int | None = None) -> tuple[int, ...]:
        """Ascending 1-based iterations that had any token of [begin, end) of that document as an input.

        Empty for a document that training never read, held-out and unknown ones included.
        Raises: ValueError if begin or end is negative.
        """
        if begin < 0 or (end is not None and end < 0):
            raise ValueError(f"token range [{begin}, {end}) of {doc_id} must not be negative")
        held = self._sources.get(source)
        document = held.number(doc_id) if held else None
        if held is None or document is None:
            return ()
        length = int(held.sequence_lengths[document])
        samples = held.samples(document, begin, length if end is None else min(end, length))
        return tuple(np.unique(np.searchsorted(self._consumed, samples, side="right")).tolist())

    def samples(self, source: str, doc_id: str) -> tuple[int, list[tuple[np.ndarray, np.ndarray]]]:
        """How a document was cut into samples: its tokens, `</s>` included, and a pair of arrays for each epoch.

        Returns: tokens, and (begins, iterations): each sample's first token of the document, ascending from 0, and the
            iteration that had that part as inputs, 0 where none had. No epochs for a document outside the training split.
        """
        held = self._sources.get(source)
        document = held.number(doc_id) if held else None
        if held is None or document is None:
            return 0, []
        length = int(held.sequence_lengths[document])
        return length, [self._cut(held, first, length) for first in held.begins[document].tolist()]

    def _cut(self, held: "_Source", first: int, length: int) -> tuple[np.ndarray, np.ndarray]:
        samples = np.arange(first // held.seq_length, (first + length - 1) // held.seq_length + 1)
        begins = np.maximum(samples * held.seq_length - first, 0)
        places = np.full(len(samples), -1, np.int64)
        inside = samples < len(held.place)  # what is behind the last whole sample is in none
        places[inside] = held.place[samples[inside]]
        return begins, np.searchsorted(self._consumed, places, side="right")

    def read(self, source: str, doc_id: str) -> bool:
        """Whether training read any token of that document, in an iteration that was undone too."""
        return bool(self.iterations(source, doc_id))

    def is_undone(self, iteration: int) -> bool:
        """Whether nothing of what that iteration read is in the weights, as far as `open` was told."""
        return any(first <= iteration <= last for first, last in self.undone)

    def sources_of(self, doc_id: str) -> tuple[str, ...]:
        """The sources whose training data has that document."""
        return tuple(name for name in self.sources if self._sources[name].number(doc_id) is not None)

    def number(self, source: str, doc_id: str) -> int:
        """Sequence number of a document in the source's packed training data.

        Raises: KeyError if it is not there.
        """
        number = self._sources[source].number(doc_id)
        if number is None:
            raise KeyError(f"{source}: {doc_id}")
        return number

    def _iteration_of(self, sample: int) -> int:
        return int(np.searchsorted(self._consumed, sample, side="right"))


@dataclass(frozen=True)
class _Source:
    """One source's arrays."""

    seq_length: int
    document_index: np.ndarray  # (epochs * documents,)
    sample_index: np.ndarray  # (samples + 1, 2): (place in document_index, token offset)
    shuffle_index: np.ndarray  # (samples,)
    sequence_lengths: np.ndarray  # (documents,)
    begins: np.ndarray  # (documents, epochs) where each stands in the row of documents, in tokens, ascending
    place: np.ndarray  # (samples,) position in the blend, -1: not drawn
    doc_ids: np.ndarray  # (documents, 16) uint8
    by_id: np.ndarray  # (documents,) documents in ascending order of doc_id

    @classmethod
    def open(cls, folder: Path, pack: Path, row: Mapping[str, Any], seq_length: int) -> "_Source":
        """Raises: ValueError where shapes contradict each other, or the packed data is another's."""
        got = cls(seq_length, **{name: _load(folder / f"{name}.npy") for name in MEGATRON_ARRAYS + INVERSE_ARRAYS})
        documents, samples = row["documents"], len(got.shuffle_index)
        if (
            got.sequence_lengths.shape != (documents,)
            or got.doc_ids.shape != (documents, DOC_ID_BYTES)
            or got.by_id.shape != (documents,)
            or got.place.shape != (samples,)
            or got.sample_index.shape != (samples + 1, 2)
            or got.begins.shape != (documents, len(got.document_index) // max(documents, 1))
        ):
            raise ValueError(f"arrays of source {folder.name!r} do not fit together")
        _check_pack(pack / "train.parquet", row)
        return got

    def number(self, doc_id: str) -> int | None:
        """Sequence number of a document, None if it is not in the training split."""
        try:
            key = doc_id_bytes(doc_id)
        except ValueError:
            return None
        at = bisect_left(self.by_id, key, key=lambda number: self.doc_ids[number].tobytes())
        if at == len(self.by_id):
            return None
        number = int(self.by_id[at])
        return number if self.doc_ids[number].tobytes() == key else None

    def spans(self, sample: int) -> Iterator[tuple[int, int, int]]:
        """Yield (document, begin, end) of the inputs of this source's sample, before shuffling."""
        (first, first_offset), (last, last_offset) = self.sample_index[sample].tolist(), self.sample_index[sample + 1].tolist()
        for place in range(first, last + 1):
            document = int(self.document_index[place])
            begin = first_offset if place == first else 0
            end = last_offset if place == last else int(self.sequence_lengths[document])
            if end > begin:
                yield document, begin, end

    def samples(self, document: int, begin: int, end: int) -> np.ndarray:
        """The blend's samples that have a token of [begin, end) of the document."""
        found = [np.zeros(0, np.int64)]
        if begin < end:
            for first in self.begins[document].tolist():
                held = self.place[(first + begin) // self.seq_length : (first + end - 1) // self.seq_length + 1]
                found.append(held[held >= 0])
        return np.concatenate(found)


def _read(path: Path, pack_data: Path) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, _Source]]:
    folder, about = path.parent, json.loads(path.read_text("utf-8"))
    if about["format"] != FORMAT:
        raise ValueError(f"format {about['format']}, this code reads {FORMAT}")
    names = {f"{name}.npy" for name in TOP_ARRAYS}
    names |= {f"{source}/{name}.npy" for source in about["sources"] for name in MEGATRON_ARRAYS + INVERSE_ARRAYS}
    if names != about["arrays"].keys():
        raise ValueError(f"order.json names other arrays: {sorted(names ^ about['arrays'].keys())[:3]}")
    _check_hashes(folder, about["arrays"])
    top = {name: _load(folder / f"{name}.npy") for name in TOP_ARRAYS}
    if not len(top["dataset_index"]) == len(top["dataset_sample_index"]) == int(top["consumed"][-1]):
        raise ValueError("the blend and the consumed samples differ in length")
    return (
        about,
        top,
        {
            name: _Source.open(folder / name, pack_data / name, about["source"][name], about["seq_length"])
            for name in about["sources"]
        },
    )


def _load(path: Path) -> np.ndarray:
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _check_hashes(folder: Path, arrays: Mapping[str, str]) -> None:
    if sum((folder / name).stat().st_size for name in arrays) > HASH_ON_OPEN_BYTES:
        return
    for name in changed_arrays(folder, arrays):
        raise ValueError(f"the content of {name} is not what was saved (sha256 differs)")


def changed_arrays(folder: Path, arrays: Mapping[str, str]) -> Iterator[str]:
    """Yield the arrays whose sha256 is not the one that was saved."""
    return (name for name, sha256 in arrays.items() if digest_file(folder / name) != sha256)


def _check_pack(table: Path, row: Mapping[str, Any]) -> None:
    import pyarrow.parquet as pq

    found = pq.read_metadata(table).num_rows
    if found != row["documents"]:
        raise ValueError(f"{table} has {found} documents, training read {row['documents']}")
    if table.stat().st_size <= HASH_ON_OPEN_BYTES and digest_file(table) != row["pack_sha256"]:
        raise ValueError(f"{table} is not the packed data that training read (sha256 differs)")
