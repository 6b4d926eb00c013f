"""Parquet files written a row group at a time, in groups bounded by rows and by bytes; the same rows give the same bytes."""

from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

# Bytes of a row group in memory: what a writer holds, and what a reader must hold to get at one row.
GROUP_BYTES = 16 << 20


class TableWriter:
    """A Parquet file that batches are added to; use as a context manager."""

    def __init__(self, path: Path, schema: pa.Schema, rows: int) -> None:
        """`rows`: at most so many make a row group."""
        self.schema, self.count = schema, 0
        self._rows, self._pending, self._held, self._bytes = rows, list[pa.RecordBatch](), 0, 0
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")

    def add(self, columns: dict[str, Any]) -> None:
        """Append rows.

        Args:
            columns: values by column, lists or Arrow arrays of one length; a column that is not there is null.
        """
        length = len(next(iter(columns.values())))
        arrays = []
        for field in self.schema:
            values = columns.get(field.name)
            if values is None:
                arrays.append(pa.nulls(length, field.type))
            else:
                arrays.append(values if isinstance(values, pa.Array) else pa.array(values, field.type))
        batch = pa.RecordBatch.from_arrays(arrays, schema=self.schema)
        self.count += length
        while batch.num_rows:
            piece = batch.slice(0, self._rows - self._held)
            batch = batch.slice(piece.num_rows)
            self._pending.append(piece)
            self._held += piece.num_rows
            self._bytes += piece.nbytes
            if self._held == self._rows or self._bytes >= GROUP_BYTES:
                self._flush()

    def close(self) -> None:
        """Write what is held, and the footer."""
        if self._held or not self.count:  # a file without rows has one empty group, as pyarrow's write_table leaves it
            self._flush()
        self._writer.close()

    def __enter__(self) -> "TableWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self._writer.close()

    def _flush(self) -> None:
        table = pa.Table.from_batches(self._pending, self.schema)
        self._writer.write_table(table, row_group_size=max(self._held, 1))
        self._pending, self._held, self._bytes = [], 0, 0
