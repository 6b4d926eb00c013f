"""Parquet: a document a row. What a row group holds is looked up in its page headers before it is read.

Arrow reads a page at a time, so a page is the least that must fit into memory. Of a row group with a page over
MAX_PAGE_BYTES (one huge cell is a page of its own size) nothing is read: every row of it is a drop, too_large. So are rows
with a cell over max_document_bytes. A row group that cannot be decoded costs its rows from the place of damage on.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from corpus.readers.jsonl import document_of_row
from corpus.readers.parquet_pages import PageHeader, pages_of_chunk
from corpus.readers.places import open_file, relative
from corpus.records import DroppedRecord, RawDocument, Shard, SourceSettings, lost
from pipeline.errors import BadInput

# Rows in memory at a time, at most; books are a megabyte each.
BATCH_ROWS = 128
# Bytes that a batch should hold: Arrow's copy, Python's strings and their UTF-8 make about four of each.
BATCH_BYTES = 64 << 20
# Row groups are put together until a shard holds so many uncompressed bytes: a task of seconds, not of milliseconds.
PARQUET_SHARD_BYTES = 64 << 20
# Writers cut pages at 1 MiB by default (parquet-mr, Arrow), Arrow only after every 1,024 values.
MAX_PAGE_BYTES = 256 << 20
# Below this a column's part of a row group is read without a look at its pages.
_SMALL_BYTES = 4 << 20


@dataclass(frozen=True)
class _Way:
    """How to read a row group."""

    rows: int  # a batch
    dictionary: list[str]  # columns whose cells Arrow should leave as references into their dictionary
    problem: str = ""  # why it cannot be read


def plan_parquet(source: SourceSettings, name: str) -> list[tuple[int, int]]:
    """Ranges of row groups that make a shard each.

    Raises: BadInput if the file is no Parquet or lacks the text column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open_file(name) as file:
            metadata = pq.read_metadata(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise BadInput(f"source {source.name!r}: {name} is not readable as Parquet ({error})") from error
    columns = metadata.schema.to_arrow_schema().names
    if source.text_column not in columns:
        raise BadInput(f"source {source.name!r}: {name} has no column {source.text_column!r}; it has {columns}")
    ranges, begin, size = [], 0, 0
    for group in range(metadata.num_row_groups):
        size += metadata.row_group(group).total_byte_size
        if size >= PARQUET_SHARD_BYTES or group == metadata.num_row_groups - 1:
            ranges.append((begin, group + 1))
            begin, size = group + 1, 0
    return ranges


def read_parquet(shard: Shard) -> Iterator[RawDocument | DroppedRecord]:
    """A document a row of row groups begin…end."""
    import pyarrow.parquet as pq

    name, source = shard.files[0], shard.source
    with open_file(name) as file:
        metadata = pq.read_metadata(file)
        columns = [column for column in metadata.schema.to_arrow_schema().names if column in _wanted(source)]
        number = sum(metadata.row_group(group).num_rows for group in range(shard.begin))
        for group in range(shard.begin, shard.end):
            yield from _group(file=file, metadata=metadata, group=group, columns=columns, number=number, shard=shard)
            number += metadata.row_group(group).num_rows


def _group(
    file: IO[bytes], metadata: Any, group: int, columns: list[str], number: int, shard: Shard
) -> Iterator[RawDocument | DroppedRecord]:
    """Rows of one row group, the first of which is the file's row `number`, counted from 0."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    source, where = shard.source, relative(shard.files[0], shard.base)
    end, way, problem, reason = number + metadata.row_group(group).num_rows, _way(file, metadata, group, columns), "", ""
    if way.problem:
        problem, reason = way.problem, "too_large"
    else:
        reader = pq.ParquetFile(file, read_dictionary=way.dictionary, pre_buffer=False)
        try:
            for batch in reader.iter_batches(way.rows, row_groups=[group], columns=columns):
                for index in range(batch.num_rows):
                    number += 1
                    row = {column: batch.column(column)[index].as_py() for column in columns}
                    yield document_of_row(row, source, f"{where}#{number}")
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError, UnicodeDecodeError) as error:
            problem, reason = str(error), "damaged_record"
    for row_number in range(number, end):
        yield lost(source.name, f"{where}#{row_number + 1}", reason, f"row group {group}: {problem}")


def _way(file: IO[bytes], metadata: Any, group: int, columns: list[str]) -> _Way:
    """Batches so small that none holds much more than BATCH_BYTES, by the sizes that the page headers tell."""
    rows, dictionary = BATCH_ROWS, []
    parts = metadata.row_group(group)
    for part in (parts.column(number) for number in range(parts.num_columns)):
        if part.path_in_schema not in columns or part.total_uncompressed_size < _SMALL_BYTES:
            # a dictionary of so few bytes may still be named by every row
            if part.path_in_schema in columns:
                rows = min(rows, max(1, BATCH_BYTES // max(part.total_uncompressed_size, 1)))
            continue
        begin = part.dictionary_page_offset if part.has_dictionary_page else part.data_page_offset
        try:
            pages = pages_of_chunk(file, begin, begin + part.total_compressed_size)
        except ValueError as error:
            return _Way(rows, dictionary, f"column {part.path_in_schema!r}: page headers not readable ({error})")
        largest = max((page.size for page in pages), default=0)
        if largest > MAX_PAGE_BYTES:
            return _Way(rows, dictionary, f"column {part.path_in_schema!r} has a page of {largest} bytes")
        rows = min(rows, _rows(pages))
        if any(page.dictionary and page.size > _SMALL_BYTES // BATCH_ROWS for page in pages):
            dictionary.append(part.path_in_schema)
    return _Way(rows, dictionary)


def _rows(pages: list[PageHeader]) -> int:
    """Rows of which the text pages' own averages make at most BATCH_BYTES."""
    means = [page.size / max(page.values, 1) for page in pages]
    return max(1, min(BATCH_ROWS, int(BATCH_BYTES / max([*means, 1.0]))))


def _wanted(source: SourceSettings) -> set[str]:
    return {source.text_column, source.title_column, source.url_column, source.date_column} - {""}
