"""The document: the one Parquet schema in which text goes from the corpus to every later stage."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.artifact import Manifest

# Columns of data/documents/*.parquet, all strings; canonical order of documents = files by name, then rows.
DOCUMENT_COLUMNS = ("doc_id", "source", "url", "title", "date", "charset", "text")
BATCH_ROWS = 1024


def document_files(corpus: Manifest) -> list[Path]:
    """The Parquet files of a sealed corpus artifact, in canonical order."""
    return sorted((corpus.data / "documents").glob("*.parquet"))


def read_documents(path: Path, columns: Sequence[str] = DOCUMENT_COLUMNS) -> Iterator[dict[str, Any]]:
    """Rows of one documents file, in order, a batch at a time in memory."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH_ROWS, columns=list(columns)):
            yield from batch.to_pylist()
