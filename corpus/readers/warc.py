"""Crawls in WARC (ISO 28500): HTML answers with status 200; and WET, Common Crawl's plain text of them.

A remote file is copied to a temporary file of the worker first, removed after: finding the next record after a damaged one
looks back and ahead in the file, and a crawl's store closes connections that are read as slowly as text is judged.
"""

import io
import mmap
import re
from collections.abc import Iterator
from typing import Any

from corpus.readers.places import local_copy, relative
from corpus.readers.streams import too_large
from corpus.readers.warc_members import CHUNK, Member, lie, pieces
from corpus.records import DroppedRecord, RawDocument, Shard, SourceSettings, lost

_HTML_TYPES = ("text/html", "application/xhtml+xml")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([^\"';,\s]+)", re.IGNORECASE)
# Bytes of a mapped file that are read before they are given back: else all 1 GB of a crawl's file counts as a worker's memory.
_RELEASE = 16 << 20
_URI = re.compile(rb"^warc-target-uri:[ \t]*<?([^\r\n>]+)", re.IGNORECASE | re.MULTILINE)
_LANGUAGES = "WARC-Identified-Content-Language"  # of CLD2, "jpn,eng", most text first


def read_warc(shard: Shard) -> Iterator[RawDocument | DroppedRecord]:
    """Documents and drops of WARC or WET files, in file order."""
    for name in shard.files:
        where, source = relative(name, shard.base), shard.source
        with local_copy(name) as path:
            if path.stat().st_size == 0:
                yield lost(source.name, where, "truncated_record", "empty file")
                continue
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                released = 0
                for piece in pieces(data, where, source.max_document_bytes):
                    yield from _documents(piece, source, where)
                    if piece.offset - released >= _RELEASE:
                        released = _release(data, released, piece.offset)


def _release(data: mmap.mmap, begin: int, end: int) -> int:
    """Give back what was read between two offsets. Returns: where the pages begin that are still held."""
    end -= end % mmap.PAGESIZE
    if hasattr(mmap, "MADV_DONTNEED"):  # Linux; elsewhere the system takes pages back when it needs them
        data.madvise(mmap.MADV_DONTNEED, begin, end - begin)
    return end


def _documents(piece: Member, source: SourceSettings, where: str) -> Iterator[RawDocument | DroppedRecord]:
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    problem, detail = piece.problem, piece.detail
    if not problem and (detail := lie(piece.data)):
        problem = "truncated_record" if " instead of " in detail else "damaged_record"
    if problem:
        yield _lost(piece, source, where, problem, detail)
        return
    wet = source.reader == "wet"
    kind = WarcRecordType.conversion if wet else WarcRecordType.response
    try:
        for record in ArchiveIterator(io.BytesIO(piece.data), record_types=kind, parse_http=not wet):
            body = record.reader.read()
            yield _conversion(record, body, piece, source, where) if wet else _document(record, body, piece, source, where)
    except OSError as error:  # how fastwarc says that a record is none
        yield _lost(piece, source, where, "damaged_record", str(error))


def _document(record: Any, body: bytes, piece: Member, source: SourceSettings, where: str) -> RawDocument | DroppedRecord:
    """One response as a document, or why it is none."""
    url = (record.headers.get("WARC-Target-URI") or "").strip("<>") or f"{where}@{piece.offset}"
    http = record.http_headers
    if http is None or http.status_code is None:
        return lost(source.name, url, "damaged_record", "no HTTP header", body)
    if http.status_code != 200:
        return lost(source.name, url, "http_status", str(http.status_code), body)
    content_type = http.get("Content-Type") or ""
    if not content_type.strip().lower().startswith(_HTML_TYPES):
        return lost(source.name, url, "content_type", content_type or "none", body)
    if http.get("Content-Encoding") or http.get("Transfer-Encoding"):
        body = _plain_body(piece.data, record.record_id, body, source.max_document_bytes)
        if len(body) > source.max_document_bytes:
            return too_large(source.name, url, body, f"over {source.max_document_bytes} bytes without its HTTP coding")
    charset = _CHARSET.search(content_type)
    date = record.headers.get("WARC-Date") or ""
    return RawDocument(source.name, url, body, "html", charset[1] if charset else "", date=date)


def _conversion(record: Any, body: bytes, piece: Member, source: SourceSettings, where: str) -> RawDocument | DroppedRecord:
    """One page's plain text, always UTF-8; records in other languages than the source asks for are drops, not decoded."""
    url = (record.headers.get("WARC-Target-URI") or "").strip("<>") or f"{where}@{piece.offset}"
    content_type = (record.headers.get("Content-Type") or "text/plain").strip().lower()
    if not content_type.startswith("text/plain"):
        return lost(source.name, url, "content_type", content_type, body)
    languages = record.headers.get(_LANGUAGES) or ""
    if source.languages and languages and not set(source.languages) & {name.strip() for name in languages.split(",")}:
        return lost(source.name, url, "other_language", languages, body)
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        return lost(source.name, url, "undecodable", f"no UTF-8 at byte {error.start}", body)
    return RawDocument(source.name, url, body, "text", "utf-8", date=record.headers.get("WARC-Date") or "", text=text)


def _plain_body(piece: bytes, record_id: str, body: bytes, limit: int) -> bytes:
    """The body without its HTTP codings, at most a byte over the limit; as it is where the crawler took them off already."""
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    try:
        for record in ArchiveIterator(io.BytesIO(piece), record_types=WarcRecordType.response, auto_decode="all"):
            if record.record_id == record_id:
                return record.reader.read(limit + 1)
    except OSError:
        return body
    return body


def _lost(piece: Member, source: SourceSettings, where: str, reason: str, detail: str) -> DroppedRecord:
    uri = _URI.search(piece.data[:CHUNK].partition(b"\r\n\r\n")[0])
    url = uri[1].decode("utf-8", "replace") if uri else f"{where}@{piece.offset}"
    return lost(source.name, url, reason, f"{where}@{piece.offset}: {detail}", piece.data)
