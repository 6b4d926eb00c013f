"""Which documents a training iteration read, and in which iterations a document was read; numpy and pyarrow only.

Pure arithmetic on the arrays that megatron-core's GPTDataset and BlendedDataset were built from; no token is read.

    iteration i (1-based) takes samples k of the blend in [consumed[i-1], consumed[i]), whatever the data-parallel
    and micro-batch sizes are
    k --blend--> source s = dataset_index[k], its j-th sample: j = dataset_sample_index[k]
    j --shuffle--> p = shuffle_index[j]
    p --> the tokens from sample_index[p] up to sample_index[p + 1], both (q, offset): places in the row of documents
    document_index[0], document_index[1], …, each document as often as it has epochs

A sample's inputs are those tokens; its labels are the same ones moved by one, so that the first token of sample p + 1
also is the last label of sample p. Here a token counts as read where it is an input: every token of the row, but for
the ragged end, is in exactly one sample.

    order/order.json                    what is here, with the sha256 of every array
    order/{consumed,dataset_index,dataset_sample_index}.npy
    order/<source>/{document_index,sample_index,shuffle_index,sequence_lengths}.npy     Megatron's
    order/<source>/{place,occurrences,doc_ids,by_id}.npy                                their inverses
"""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.artifact import HASH_ON_OPEN_BYTES
from pipeline.cli import stage_main
from pipeline.errors import BadInput, CorruptArtifact, MissingInput
from pipeline.files import digest_file, whole_path, write_json

FORMAT = 1
TOP_ARRAYS = ("consumed", "dataset_index", "dataset_sample_index")
MEGATRON_ARRAYS = ("document_index", "sample_index", "shuffle_index", "sequence_lengths")
INVERSE_ARRAYS = ("place", "occurrences", "doc_ids", "by_id")
DOC_ID_BYTES = 16


class Span(NamedTuple):
    """A run of tokens of one document that one sample of one iteration had as inputs."""

    iteration: int  # 1-based
    source: str
    doc_id: str
    begin: int  # token range [begin, end) of the document
    end: int


@dataclass(frozen=True)
class SourceIndices:
    """The arrays of one source's GPTDataset."""

    name: str
    document_index: np.ndarray  # (epochs * documents,)
    sample_index: np.ndarray  # (samples + 1, 2): (place in document_index, token offset)
    shuffle_index: np.ndarray  # (samples,)
    sequence_lengths: np.ndarray  # (documents,)


class Order:
    """The saved order of one training run; opened by mmap, every lookup is O(log n + hits)."""

    def __init__(self, about: Mapping[str, Any], top: Mapping[str, np.ndarray], sources: Mapping[str, "_Source"]) -> None:
        self._consumed = top["consumed"]
        self._source_of, self._sample_of = top["dataset_index"], top["dataset_sample_index"]
        self._sources = dict(sources)
        self.sources: tuple[str, ...] = tuple(about["sources"])
        self.total: int = len(self._consumed) - 1

    @staticmethod
    def save(
        folder: Path,
        sources: Sequence[SourceIndices],
        *,
        dataset_index: np.ndarray,
        dataset_sample_index: np.ndarray,
        consumed: np.ndarray,
        add_extra_token: bool,
        pack_data: Path,
    ) -> None:
        """Write `folder` whole; the same arrays give the same bytes.

        Args:
            sources: in the order that dataset_index numbers them.
            dataset_index: (samples,) source of each sample of the blend.
            dataset_sample_index: (samples,) which sample of that source.
            consumed: (iterations + 1,) samples consumed after 0, 1, 2, … iterations.
            add_extra_token: whether a sample is drawn with one token more than its inputs, as GPTDataset does for training.
            pack_data: the pack artifact's data, for each document's doc_id.
        Raises: BadInput if two documents of a source have the same doc_id.
        """
        samples = int(consumed[-1])
        top = {
            "consumed": np.asarray(consumed, np.int64),
            "dataset_index": np.asarray(dataset_index[:samples], np.int16),
            "dataset_sample_index": np.asarray(dataset_sample_index[:samples], np.int64),
        }
        arrays = {f"{name}.npy": array for name, array in top.items()}
        rows: dict[str, Any] = {}
        for number, source in enumerate(sources):
            table = pack_data / source.name / "train.parquet"
            rows[source.name] = {
                "documents": len(source.sequence_lengths),
                "tokens": int(source.sequence_lengths.sum(dtype=np.int64)),
                "pack_sha256": digest_file(table),
            }
            made = _with_inverses(source, np.flatnonzero(top["dataset_index"] == number), table)
            arrays |= {f"{source.name}/{name}.npy": getattr(made, name) for name in MEGATRON_ARRAYS + INVERSE_ARRAYS}
        with whole_path(folder) as fresh:
            for name, array in arrays.items():
                (fresh / name).parent.mkdir(parents=True, exist_ok=True)
                np.save(fresh / name, array, allow_pickle=False)
            about = {"format": FORMAT, "add_extra_token": add_extra_token, "sources": [s.name for s in sources], "source": rows}
            write_json(fresh / "order.json", about | {"arrays": {name: digest_file(fresh / name) for name in arrays}})

    @staticmethod
    def open(folder: Path, pack_data: Path) -> "Order":
        """Open what `save` wrote, and check that it is whole and belongs to `pack_data`.

        Arrays are hashed where they are together below HASH_ON_OPEN_BYTES; larger ones are checked by shape.
        Raises: MissingInput if there is no order; CorruptArtifact if it is damaged or of other packed data.
        """
        path = folder / "order.json"
        if not path.exists():
            raise MissingInput(f"{path}: no saved data order; it is part of a sealed pretrain artifact")
        try:
            about, top, sources = _read(path, pack_data)
        except (ValueError, KeyError, TypeError, IndexError, OSError, EOFError) as error:
            raise CorruptArtifact(
                f"{folder}: the saved data order is damaged: {error}; make the pretrain artifact again"
            ) from error
        return Order(about, top, sources)

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
        return tuple(sorted({self._iteration_of(sample) for sample in samples}))

    def read(self, source: str, doc_id: str) -> bool:
        """Whether training read any token of that document."""
        return bool(self.iterations(source, doc_id))

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
class _Source(SourceIndices):
    """One source's arrays and their inverses."""

    place: np.ndarray  # (samples,) position in the blend, -1: not drawn
    occurrences: np.ndarray  # (documents, epochs) ascending places in document_index
    doc_ids: np.ndarray  # (documents, 16) uint8
    by_id: np.ndarray  # (documents,) documents in ascending order of doc_id

    @classmethod
    def open(cls, folder: Path, pack: Path, row: Mapping[str, Any]) -> "_Source":
        """Raises: ValueError where shapes contradict each other, or the packed data is another's."""
        got = cls(folder.name, **{name: _load(folder / f"{name}.npy") for name in MEGATRON_ARRAYS + INVERSE_ARRAYS})
        documents, samples = row["documents"], len(got.shuffle_index)
        if (
            got.sequence_lengths.shape != (documents,)
            or got.doc_ids.shape != (documents, DOC_ID_BYTES)
            or got.by_id.shape != (documents,)
            or got.place.shape != (samples,)
            or got.sample_index.shape != (samples + 1, 2)
            or got.occurrences.shape != (documents, len(got.document_index) // max(documents, 1))
        ):
            raise ValueError(f"arrays of source {folder.name!r} do not fit together")
        _check_pack(pack / "train.parquet", row)
        return got

    def number(self, doc_id: str) -> int | None:
        """Sequence number of a document, None if it is not in the training split."""
        try:
            key = bytes.fromhex(doc_id)
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

    def samples(self, document: int, begin: int, end: int) -> Iterator[int]:
        """Yield the blend's samples that have a token of [begin, end) of the document."""
        if begin >= end:
            return
        for occurrence in self.occurrences[document].tolist():
            # samples are sorted by where they begin: the last one that begins at or before the range, and on
            sample = bisect_right(self.sample_index, (occurrence, begin), key=_pair) - 1
            while sample < len(self.place) and _pair(self.sample_index[sample]) < (occurrence, end):
                if (place := int(self.place[sample])) >= 0:
                    yield place
                sample += 1


def _pair(row: np.ndarray) -> tuple[int, int]:
    place, offset = row.tolist()
    return place, offset


def _with_inverses(source: SourceIndices, positions: np.ndarray, table: Path) -> _Source:
    ids = _doc_ids(table)
    return _Source(
        **vars(source),
        place=_places(source.shuffle_index, positions),
        occurrences=_occurrences(source.document_index, len(source.sequence_lengths)),
        doc_ids=ids,
        by_id=_by_id(ids, source.name),
    )


def _places(shuffle_index: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Inverse of the shuffle and of the blend: sample -> its position in the blend, -1 where it is not drawn.

    Args:
        shuffle_index: (samples,) the j-th drawn sample.
        positions: where the blend draws from this source, ascending: its j-th entry draws the j-th sample.
    """
    place = np.full(len(shuffle_index), -1, np.int64)
    place[shuffle_index[: len(positions)]] = positions
    return place


def _occurrences(document_index: np.ndarray, documents: int) -> np.ndarray:
    """(documents, epochs) ascending places of each document, without sorting the whole index.

    One pass an epoch: assign every place that is left to its document, whichever stays is taken out.
    """
    epochs = len(document_index) // max(documents, 1)
    table = np.empty((epochs, documents), np.int64)
    left = np.arange(len(document_index), dtype=np.int64)
    for row in table:
        owners = document_index[left]
        row[owners] = left
        left = left[row[owners] != left]
    table.sort(axis=0)
    return np.ascontiguousarray(table.T)


def _doc_ids(table: Path) -> np.ndarray:
    """(documents, 16) uint8 from the doc_id column of a packed split."""
    import pyarrow.parquet as pq

    parts = [np.zeros((0, DOC_ID_BYTES), np.uint8)]
    with pq.ParquetFile(table) as file:
        for batch in file.iter_batches(columns=["doc_id"]):
            raw = bytes.fromhex("".join(batch.column(0).to_pylist()))
            parts.append(np.frombuffer(raw, np.uint8).reshape(-1, DOC_ID_BYTES))
    return np.concatenate(parts)


def _by_id(ids: np.ndarray, source: str) -> np.ndarray:
    """Sequence numbers in ascending order of doc_id."""
    halves = ids.reshape(-1).view(">u8").reshape(-1, 2)
    order = np.lexsort((halves[:, 1], halves[:, 0]))
    same = np.flatnonzero((ids[order][1:] == ids[order][:-1]).all(1))
    if len(same):
        raise BadInput(
            f"source {source!r}: {len(same)} doc_id(s) stand there twice, first {ids[order[same[0]]].tobytes().hex()}"
        )
    return order.astype(np.int64)


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
    return about, top, {name: _Source.open(folder / name, pack_data / name, about["source"][name]) for name in about["sources"]}


def _load(path: Path) -> np.ndarray:
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _check_hashes(folder: Path, arrays: Mapping[str, str]) -> None:
    if sum((folder / name).stat().st_size for name in arrays) > HASH_ON_OPEN_BYTES:
        return
    for name, sha256 in arrays.items():
        if digest_file(folder / name) != sha256:
            raise ValueError(f"the content of {name} is not what was saved (sha256 differs)")


def _check_pack(table: Path, row: Mapping[str, Any]) -> None:
    import pyarrow.parquet as pq

    found = pq.read_metadata(table).num_rows
    if found != row["documents"]:
        raise ValueError(f"{table} has {found} documents, training read {row['documents']}")
    if table.stat().st_size <= HASH_ON_OPEN_BYTES and digest_file(table) != row["pack_sha256"]:
        raise ValueError(f"{table} is not the packed data that training read (sha256 differs)")


if __name__ == "__main__":
    from pretrain.order_show import main

    stage_main(main)
