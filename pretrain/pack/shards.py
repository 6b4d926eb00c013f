"""The first and the last parallel step of packing: encode each file of the corpus; merge each source in canonical order.

Between them, `pretrain.pack.copies` looks for training documents that are copies of held-out ones.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np

from pipeline.documents import HeldOut, read_documents
from pipeline.errors import BadInput, CorruptArtifact
from pipeline.files import atomic_file, atomic_path
from pretrain.pack.copies import Copy, read_copies, write_copies
from pretrain.pack.indexed import COUNTS, token_dtype, write_index
from pretrain.pack.splits import SPLITS, Splits
from tokenizer.encode import Tokenizer

# Texts encoded at a time: enough to keep the encoder busy, few enough that their tokens stay small in memory.
BATCH_TEXTS = 256


@dataclass(frozen=True)
class EncodeShard:
    """One file of the corpus to encode."""

    documents: Path
    source: str
    tokenizer: Path  # folder
    output: Path  # prefix of the `.bin` with the tokens and the `.parquet` with a row a document


@dataclass(frozen=True)
class MergeSource:
    """The encoded files of one source, in canonical order."""

    source: str
    parts: tuple[Path, ...]  # prefixes, as in EncodeShard.output
    vocab_size: int
    splits: Splits
    copies: tuple[Path, ...]  # tables of training documents that are copies of held-out ones
    output: Path  # folder of the source in the artifact


def encode_shard(shard: EncodeShard) -> Mapping[str, Any]:
    """Write the tokens of one corpus file, `</s>` after each document, and a row (doc_id, tokens, bytes) for each.

    Returns: documents, tokens, bytes; the doc_ids of the lowest and the highest key.
    Raises: CorruptArtifact if a row belongs to another source than the file's name says.
    """
    tokenizer = load_tokenizer(shard.tokenizer)
    dtype = token_dtype(tokenizer.vocab_size)
    ids: list[str] = []
    tokens: list[int] = []
    sizes: list[int] = []
    rows = read_documents(shard.documents, ("doc_id", "source", "text"))
    with atomic_file(shard.output.with_suffix(".bin")) as file:
        while batch := list(islice(rows, BATCH_TEXTS)):
            for row, encoded in zip(batch, tokenizer.encode_arrays(row["text"] for row in batch), strict=True):
                if row["source"] != shard.source:
                    raise CorruptArtifact(f"{shard.documents}: a document of {row['source']!r} among those of {shard.source!r}")
                file.write(np.append(encoded, np.int32(tokenizer.eos_id)).astype(dtype).tobytes())
                ids.append(row["doc_id"])
                tokens.append(len(encoded) + 1)
                sizes.append(len(row["text"].encode()))
    with atomic_path(shard.output.with_suffix(".parquet")) as path, _DocumentTable(path) as table:
        table.write(ids, np.array(tokens, np.int32), np.array(sizes, np.int64))
    edges = HeldOut.of(ids, 0.0)
    return {
        "documents": len(ids), "tokens": sum(tokens), "bytes": sum(sizes), "lowest": edges.lowest, "highest": edges.highest
    }  # fmt: skip


def merge_source(merge: MergeSource) -> Mapping[str, Any]:
    """Write a source's `train` and `valid` indexed datasets and their tables, documents in canonical order, and its copies.

    Returns: split -> documents, tokens, bytes; "copies" and "left_out" -> documents.
    Raises: BadInput if nothing is left to train on.
    """
    copies = {copy.doc_id: copy for path in merge.copies for copy in read_copies(path)}
    documents = 0
    with ExitStack() as stack:
        writers = {split: stack.enter_context(_SplitWriter(merge.output / split, merge.vocab_size)) for split in SPLITS}
        for part in merge.parts:
            table = _read_table(part)
            documents += len(table)
            ids = table["doc_id"].to_pylist()
            splits = np.array(["" if doc_id in copies else merge.splits.split_of(doc_id) for doc_id in ids], "U5")
            for split, writer in writers.items():
                writer.copy(part, splits == split, table)
        totals = {split: writer.totals() for split, writer in writers.items()}
        if not totals["train"]["documents"]:
            raise BadInput(_no_training_documents(merge.source, copies))
    with atomic_file(merge.output / COUNTS) as file:
        np.save(file, writers["train"].counts, allow_pickle=False)
    for split, writer in writers.items():  # the index last: it names a `.bin` that is there whole
        write_index(merge.output / f"{split}.idx", np.concatenate(writer.lengths), token_dtype(merge.vocab_size))
    write_copies(merge.output / "copies.parquet", copies.values())
    left_out = documents - len(copies) - sum(split["documents"] for split in totals.values())
    return totals | {"copies": {"documents": len(copies)}, "left_out": {"documents": left_out}}


def _no_training_documents(source: str, copies: Mapping[str, Copy]) -> str:
    first = next(iter(copies.values()))
    return (
        f"source {source!r}: each of its {len(copies)} training documents is a copy of a held-out one, first {first.doc_id} of "
        f"{first.copy_of} ({first.share:.0%} of its text); let the corpus remove copies, or raise [pack] copy_share"
    )


@lru_cache(maxsize=1)
def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer, loaded once a worker process."""
    return Tokenizer.load(folder)


class _SplitWriter:
    """One split being written: `.bin` and `.parquet`; both appear whole when the context ends well."""

    def __init__(self, prefix: Path, vocab_size: int) -> None:
        self._prefix, self._dtype = prefix, token_dtype(vocab_size)
        self.lengths = [np.zeros(0, np.int32)]
        self.counts = np.zeros(vocab_size, np.int64)  # how often each token was written
        self._bytes = 0

    def __enter__(self) -> "_SplitWriter":
        with ExitStack() as stack:
            self._tokens: IO[bytes] = stack.enter_context(atomic_file(self._prefix.with_suffix(".bin")))
            path = stack.enter_context(atomic_path(self._prefix.with_suffix(".parquet")))
            self._rows = stack.enter_context(_DocumentTable(path))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def copy(self, part: Path, mask: np.ndarray, table: Any) -> None:
        """Append the masked documents of an encoded file, a run of neighbours at a time."""
        lengths = table["tokens"].to_numpy()
        if not mask.any():
            return
        ends = np.cumsum(lengths, dtype=np.int64)
        tokens = np.memmap(part.with_suffix(".bin"), self._dtype, "r")
        edges = np.flatnonzero(np.diff(mask, prepend=False, append=False))
        for first, after in edges.reshape(-1, 2).tolist():
            run = tokens[int(ends[first] - lengths[first]) : int(ends[after - 1])]
            self._tokens.write(run.tobytes())
            np.add.at(self.counts, run, 1)
        kept = table.filter(mask)
        sizes = kept["bytes"].to_numpy()
        self._rows.write(kept["doc_id"].to_pylist(), lengths[mask], sizes)
        self.lengths.append(lengths[mask])
        self._bytes += int(sizes.sum())

    def totals(self) -> dict[str, int]:
        """What has been written."""
        tokens = sum(int(part.sum(dtype=np.int64)) for part in self.lengths)
        return {"documents": sum(map(len, self.lengths)), "tokens": tokens, "bytes": self._bytes}


class _DocumentTable:
    """A Parquet table of documents: doc_id, tokens with `</s>`, UTF-8 bytes of the text; a row group a `write`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> "_DocumentTable":
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._schema = pa.schema([("doc_id", pa.string()), ("tokens", pa.int32()), ("bytes", pa.int64())])
        self._writer = pq.ParquetWriter(self._path, self._schema, compression="zstd")
        return self

    def __exit__(self, *error: Any) -> None:
        self._writer.close()

    def write(self, ids: list[str], tokens: np.ndarray, sizes: np.ndarray) -> None:
        import pyarrow as pa

        self._writer.write_table(pa.table([pa.array(ids, pa.string()), tokens, sizes], schema=self._schema))


def _read_table(part: Path) -> Any:
    import pyarrow.parquet as pq

    return pq.read_table(part.with_suffix(".parquet"))
