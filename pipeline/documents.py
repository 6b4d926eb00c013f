"""The document: the one Parquet schema in which text goes from the corpus to every later stage, and who may read it.

Documents that are held out measure what was trained on the others: neither the tokenizer nor the model learns from them.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifact import Manifest

# Columns of data/documents/*.parquet, all strings; canonical order of documents = files by name, then rows.
DOCUMENT_COLUMNS = ("doc_id", "source", "url", "title", "date", "charset", "text")
BATCH_ROWS = 1024
DOC_ID_BYTES = 16  # a doc_id is their hexadecimal form
# Of each source's documents, where a run file does not say how many are held out.
HELD_OUT_SHARE = 0.02


@dataclass(frozen=True)
class HeldOut:
    """The documents of one source that are held out: those of low keys, at least one, never all; none for a share of 0."""

    share: float
    lowest: str  # doc_id of the lowest key, held out whatever the share
    highest: str  # doc_id of the highest key, never held out

    @classmethod
    def of(cls, doc_ids: Iterable[str], share: float) -> "HeldOut":
        """The rule for a source, from all of its documents or from those of its lowest and highest keys."""
        lowest, highest = (2**64, ""), (-1, "")
        for doc_id in doc_ids:
            key = (held_out_key(doc_id), doc_id)
            lowest, highest = min(lowest, key), max(highest, key)
        return cls(share, lowest[1], highest[1])

    def __contains__(self, doc_id: str) -> bool:
        if not self.share or doc_id == self.highest:
            return False
        return doc_id == self.lowest or is_below(doc_id, self.share)


def held_out_key(doc_id: str) -> int:
    """Where a document is in [0, 2**64), evenly, for all time and whatever else is in the corpus."""
    return int.from_bytes(hashlib.sha256(f"valid {doc_id}".encode()).digest()[:8])


def is_below(doc_id: str, share: float) -> bool:
    """Whether a document's key is in the lowest `share` of all keys."""
    return held_out_key(doc_id) < share * 2.0**64


def doc_id_array(doc_ids: Iterable[str]) -> np.ndarray:
    """Return doc_ids as bytes: (documents, 16) uint8.

    Raises: ValueError if one is not 32 hexadecimal digits.
    """
    return np.frombuffer(b"".join(map(doc_id_bytes, doc_ids)), np.uint8).reshape(-1, DOC_ID_BYTES)


def doc_id_bytes(doc_id: str) -> bytes:
    """Return the 16 bytes of a doc_id.

    Raises: ValueError if it is not 32 hexadecimal digits.
    """
    if len(doc_id) != 2 * DOC_ID_BYTES:
        raise ValueError(f"{doc_id!r}: expected a doc_id of {2 * DOC_ID_BYTES} hexadecimal digits")
    return bytes.fromhex(doc_id)


def source_of_shard(name: str) -> str:
    """Return the source of a shard or documents file by its name, `<source>-<number>`."""
    return name.rpartition("-")[0]


def document_files(corpus: Manifest) -> list[Path]:
    """The Parquet files of a sealed corpus artifact, in canonical order."""
    return sorted((corpus.data / "documents").glob("*.parquet"))


def read_documents(path: Path, columns: Sequence[str] = DOCUMENT_COLUMNS) -> Iterator[dict[str, Any]]:
    """Rows of one documents file, in order, a batch at a time in memory."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH_ROWS, columns=list(columns)):
            yield from batch.to_pylist()
