"""JSONL (plain or gzip) and Parquet: a row with a text column is a document."""

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

from corpus.readers.aozora import clean_aozora
from corpus.readers.records import DroppedRecord, RawDocument, Shard, SourceSettings, lost
from pipeline.errors import BadInput

# Rows of Parquet in memory at a time; books are a megabyte each.
BATCH_ROWS = 128
# Row groups are put together until a shard holds so many uncompressed bytes: a task of seconds, not of milliseconds.
PARQUET_SHARD_BYTES = 64 << 20


def document_of_row(row: Mapping[str, Any], source: SourceSettings, place: str) -> RawDocument | DroppedRecord:
    """The document in a row, whose url is `place` if it has no column for it."""
    text = row.get(source.text_column)
    url = _cell(row, source.url_column) or place
    if not isinstance(text, str) or not text.strip():
        found = "no" if source.text_column not in row else "an empty" if isinstance(text, str) else f"a {type(text).__name__}"
        return lost(source.name, url, "no_text", f"{found} column {source.text_column!r}")
    raw = text.encode("utf-8", "surrogatepass")
    clean = clean_aozora(text) if source.cleaner == "aozora" else text
    title, date = _cell(row, source.title_column), _cell(row, source.date_column)
    return RawDocument(source.name, url, raw, "text", "utf-8", title, date, clean)


def read_jsonl(shard: Shard) -> Iterator[RawDocument | DroppedRecord]:
    """A document a line; a line that is no JSON object is a drop, and so is what is left of a damaged gzip file."""
    for name in shard.files:
        path = Path(name)
        where, number = path.relative_to(shard.base).as_posix(), 0
        with cast("IO[bytes]", gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")) as file:
            try:
                for number, line in enumerate(file, 1):
                    if line.strip():
                        yield _line(line, shard.source, f"{where}#{number}")
            except EOFError as error:
                yield lost(shard.source.name, f"{where}#{number + 1}", "truncated_record", str(error))
            except (gzip.BadGzipFile, zlib.error) as error:
                yield lost(shard.source.name, f"{where}#{number + 1}", "damaged_record", f"the rest of the file: {error}")


def _line(line: bytes, source: SourceSettings, place: str) -> RawDocument | DroppedRecord:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return lost(source.name, place, "undecodable", f"no UTF-8 ({error.reason})", line)
    except ValueError as error:
        return lost(source.name, place, "damaged_record", f"no JSON ({error})", line)
    if not isinstance(row, dict):
        return lost(source.name, place, "damaged_record", "JSON, but no object", line)
    return document_of_row(row, source, place)


def plan_parquet(source: SourceSettings, path: Path) -> list[tuple[int, int]]:
    """Ranges of row groups that make a shard each.

    Raises: BadInput if the file is no Parquet or lacks the text column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_metadata(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise BadInput(f"source {source.name!r}: {path} is not readable as Parquet ({error})") from error
    columns = metadata.schema.to_arrow_schema().names
    if source.text_column not in columns:
        raise BadInput(f"source {source.name!r}: {path} has no column {source.text_column!r}; it has {columns}")
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

    path = Path(shard.files[0])
    where = path.relative_to(shard.base).as_posix()
    with pq.ParquetFile(path) as file:
        wanted = {shard.source.text_column, shard.source.title_column, shard.source.url_column, shard.source.date_column}
        columns = [name for name in file.schema_arrow.names if name in wanted]
        number = sum(file.metadata.row_group(group).num_rows for group in range(shard.begin))
        groups = list(range(shard.begin, shard.end))
        for batch in file.iter_batches(BATCH_ROWS, row_groups=groups, columns=columns):
            for row in batch.to_pylist():
                number += 1
                yield document_of_row(row, shard.source, f"{where}#{number}")


def _cell(row: Mapping[str, Any], column: str) -> str:
    value = row.get(column) if column else None
    return "" if value is None else str(value)
