"""A row with a text column is a document; JSONL (plain, gzip or zstd), a row a line.

A plain file is cut into shards at byte ranges; a line belongs to the range that it begins in, so the documents are the same
whatever the ranges, and are named by their byte offset. A compressed file cannot be entered in its middle: it is one shard,
and its lines are named by number.
"""

import codecs
import json
from collections.abc import Iterator, Mapping
from typing import IO, Any

from corpus.extract.aozora import clean_aozora
from corpus.readers.places import open_file, relative
from corpus.readers.streams import CHUNK, BrokenStream, Line, chunks, lines, too_large
from corpus.records import DroppedRecord, RawDocument, Shard, SourceSettings, lost

COMPRESSED = (".gz", ".bz2", ".zst")


def document_of_row(row: Mapping[str, Any], source: SourceSettings, place: str) -> RawDocument | DroppedRecord:
    """The document in a row, whose url is `place` if it has no column for it."""
    text = row.get(source.text_column)
    url = _cell(row, source.url_column) or place
    if not isinstance(text, str) or not text.strip():
        result = "no" if source.text_column not in row else "an empty" if isinstance(text, str) else f"a {type(text).__name__}"
        return lost(source.name, url, "no_text", f"{result} column {source.text_column!r}")
    raw = text.encode("utf-8", "surrogatepass")
    if len(raw) > source.max_document_bytes:
        return too_large(source.name, url, raw, f"{len(raw)} bytes")
    title, date = _cell(row, source.title_column), _cell(row, source.date_column)
    return RawDocument(
        source=source.name,
        url=url,
        raw=raw,
        kind="text",
        declared="utf-8",
        title=title,
        date=date,
        text=text_of(text, source.cleaner),
    )


def text_of(text: str, cleaner: str) -> str:
    """A row's text after its source's cleaner."""
    return clean_aozora(text) if cleaner == "aozora" else text


def plan_jsonl(size: int, shard_bytes: int) -> list[tuple[int, int]]:
    """Byte ranges of a plain file of `size` bytes, a shard each; an end of 0 is the file's."""
    begins = range(0, max(size, 1), shard_bytes)
    return [(begin, begin + shard_bytes if begin + shard_bytes < size else 0) for begin in begins]


def read_jsonl(shard: Shard) -> Iterator[RawDocument | DroppedRecord]:
    """A document a line; a line that is not JSON object is a drop, and so is what is left of a damaged compressed file."""
    source = shard.source
    for name in shard.files:
        where, packed, number, end = relative(name, shard.base), name.endswith(COMPRESSED), 0, 0
        with open_file(name) as file:
            result = lines(chunks(file, name), source.max_document_bytes) if packed else _range(file, shard)
            try:
                for number, line in enumerate(result, 1):
                    end = line.begin + line.size + 1
                    if line.data is None or line.data.strip():
                        yield _line(line, source, f"{where}#{number}" if packed else f"{where}@{line.begin}")
            except BrokenStream as error:
                detail = f"the rest of the file, {end} bytes into its content: {error}"
                yield lost(source.name, f"{where}#{number + 1}", error.reason, detail)


def _range(file: IO[bytes], shard: Shard) -> Iterator[Line]:
    """Lines that begin in the shard's bytes; the line before may reach into them and is skipped in pieces."""
    begin = shard.begin
    if begin:
        file.seek(begin - 1)
        offset = begin - 1
        while (end := (part := file.read(CHUNK)).find(b"\n")) < 0 and part:
            offset += len(part)
        if not part:
            return
        begin = offset + end + 1
        file.seek(begin)
    for line in lines(chunks(file, ""), shard.source.max_document_bytes, begin):
        if shard.end and line.begin >= shard.end:
            return
        yield line


def _line(line: Line, source: SourceSettings, place: str) -> RawDocument | DroppedRecord:
    if line.data is None:
        return too_large(source.name, place, line.seen, f"a line of {line.size} bytes")
    try:
        row = json.loads(line.data.removeprefix(codecs.BOM_UTF8).decode())  # utf-8-sig decodes in Python
    except UnicodeDecodeError as error:
        return lost(source.name, place, "undecodable", f"no UTF-8 ({error.reason})", line.data)
    except (ValueError, RecursionError) as error:
        return lost(source.name, place, "damaged_record", f"no JSON ({error})", line.data)
    if not isinstance(row, dict):
        return lost(source.name, place, "damaged_record", "JSON, but no object", line.data)
    return document_of_row(row, source, place)


def _cell(row: Mapping[str, Any], column: str) -> str:
    value = row.get(column) if column else None
    return "" if value is None else str(value)
