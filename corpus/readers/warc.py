"""Crawls in WARC (ISO 28500): HTML answers with status 200, a gzip member a record; damage costs only the damaged records."""

import io
import mmap
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.readers.records import DroppedRecord, RawDocument, Shard, lost
from pipeline.errors import BadInput

_GZIP = b"\x1f\x8b\x08"
_RECORD = b"WARC/"
_HTML_TYPES = ("text/html", "application/xhtml+xml")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([^\"';,\s]+)", re.IGNORECASE)
_LENGTH = re.compile(rb"^content-length:[ \t]*(\d+)", re.IGNORECASE | re.MULTILINE)
_URI = re.compile(rb"^warc-target-uri:[ \t]*<?([^\r\n>]+)", re.IGNORECASE | re.MULTILINE)
# No page of text is so large; crawlers cut pages at 1 to 5 MB. Bounds memory against decompression bombs.
MAX_RECORD_BYTES = 32 << 20
_CHUNK = 1 << 16  # compressed bytes a step; deflate makes at most a thousand times as many of them
_PROBE = 1 << 12  # compressed bytes that surely inflate to the first five of a record


@dataclass(frozen=True)
class _Piece:
    """The bytes of one record, or what is wrong with them."""

    offset: int
    data: bytes
    problem: str = ""  # a reason of DROP_REASONS
    detail: str = ""


def read_warc(shard: Shard) -> Iterator[RawDocument | DroppedRecord]:
    """Documents and drops of WARC files, in file order."""
    for name in shard.files:
        path = Path(name)
        where = path.relative_to(shard.base).as_posix()
        if path.stat().st_size == 0:
            yield lost(shard.source.name, where, "truncated_record", "empty file")
            continue
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            pieces = _plain_records(data) if data[:5] == _RECORD else _members(data, where)
            for piece in pieces:
                yield from _documents(piece, shard.source.name, where)


def _members(data: mmap.mmap, where: str) -> Iterator[_Piece]:
    """Gzip members; after a damaged one, go on at the next that holds a record."""
    at = 0
    while at < len(data):
        piece, end = _inflate(data, at)
        if piece.problem in ("", "too_large"):
            if piece.problem and at == 0:
                raise BadInput(
                    f"{where}: its first gzip member is over {MAX_RECORD_BYTES >> 20} MiB large, so records are not compressed "
                    f"one by one; recompress it with `warcio recompress`"
                )
            at = end
        else:
            at = _next_member(data, at + 1)
            if piece.problem == "truncated_record" and at < len(data):
                piece = _Piece(piece.offset, piece.data, "damaged_record", "gzip stream runs over its end")
        yield piece


def _inflate(data: mmap.mmap, at: int) -> tuple[_Piece, int]:
    """Decompress the member at `at`. Returns: its piece, and where it ends."""
    inflater, out, size, begin = zlib.decompressobj(zlib.MAX_WBITS | 16), [], 0, at
    try:
        while at < len(data) and not inflater.eof:
            part = inflater.decompress(data[at : at + _CHUNK])
            at = min(at + _CHUNK, len(data)) - len(inflater.unused_data)
            size += len(part)
            if size <= MAX_RECORD_BYTES:
                out.append(part)
    except zlib.error as error:
        return _Piece(begin, b"".join(out) or _head(data, begin), "damaged_record", str(error)), at
    body = b"".join(out)
    if not inflater.eof:
        return _Piece(begin, body, "truncated_record", f"the file ends {size} bytes into a record"), at
    if size > MAX_RECORD_BYTES:
        return _Piece(begin, body, "too_large", f"{size} bytes"), at
    return _Piece(begin, body), at


def _head(data: mmap.mmap, at: int) -> bytes:
    """What can be read of the beginning of a damaged member, where its url stands."""
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(data[at : at + _PROBE], _PROBE)
    except zlib.error:
        return b""


def _next_member(data: mmap.mmap, at: int) -> int:
    """Where the next gzip member begins that holds a WARC record, or the end of the file."""
    while (at := data.find(_GZIP, at)) >= 0:
        try:
            if zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(data[at : at + _PROBE], len(_RECORD)) == _RECORD:
                return at
        except zlib.error:
            pass  # the three bytes stood inside compressed data; look on
        at += 1
    return len(data)


def _plain_records(data: mmap.mmap) -> Iterator[_Piece]:
    """Records of an uncompressed file, by their lengths; after a damaged one, go on at the next header."""
    at = 0
    while at < len(data):
        head = data.find(b"\r\n\r\n", at)
        length = _LENGTH.search(data[at:head]) if head >= 0 else None
        end = head + 4 + int(length[1]) if length else len(data) + 1
        whole = data[at : at + 5] == _RECORD and end + 4 <= len(data) and data[end : end + 4] == b"\r\n\r\n"
        following = end + 4 if whole else data.find(b"\r\n" + _RECORD, at + 1) + 2
        if following < 2:
            following = len(data)
        if not whole:
            problem = "truncated_record" if following == len(data) and length else "damaged_record"
            yield _Piece(at, data[at : min(following, at + _CHUNK)], problem, "length and content of a record disagree")
        elif end - at > MAX_RECORD_BYTES:
            yield _Piece(at, data[at : head + 4], "too_large", f"{end - at} bytes")
        else:
            yield _Piece(at, data[at:following])
        at = following


def _documents(piece: _Piece, source: str, where: str) -> Iterator[RawDocument | DroppedRecord]:
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    if piece.problem:
        yield _lost(piece, source, where, piece.problem, piece.detail)
        return
    try:
        for record in ArchiveIterator(io.BytesIO(piece.data), record_types=WarcRecordType.response):
            body = record.reader.read()
            if len(body) != record.content_length:
                detail = f"{len(body)} bytes instead of {record.content_length}"
                yield _lost(piece, source, where, "truncated_record", detail)
                return
            yield _document(record, body, piece, source, where)
    except OSError as error:  # how fastwarc says that a record is none
        yield _lost(piece, source, where, "damaged_record", str(error))


def _document(record: Any, body: bytes, piece: _Piece, source: str, where: str) -> RawDocument | DroppedRecord:
    """One response as a document, or why it is none."""
    url = (record.headers.get("WARC-Target-URI") or "").strip("<>") or f"{where}@{piece.offset}"
    http = record.http_headers
    if http is None or http.status_code is None:
        return lost(source, url, "damaged_record", "no HTTP header", body)
    if http.status_code != 200:
        return lost(source, url, "http_status", str(http.status_code), body)
    content_type = http.get("Content-Type") or ""
    if not content_type.strip().lower().startswith(_HTML_TYPES):
        return lost(source, url, "content_type", content_type or "none", body)
    if http.get("Content-Encoding") or http.get("Transfer-Encoding"):
        body = _plain_body(piece.data, record.record_id, body)
    charset = _CHARSET.search(content_type)
    date = record.headers.get("WARC-Date") or ""
    return RawDocument(source, url, body, "html", charset[1] if charset else "", date=date)


def _plain_body(piece: bytes, record_id: str, body: bytes) -> bytes:
    """The body without its HTTP codings; as it is where the crawler took them off and left the header."""
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    try:
        for record in ArchiveIterator(io.BytesIO(piece), record_types=WarcRecordType.response, auto_decode="all"):
            if record.record_id == record_id:
                return record.reader.read()
    except OSError:
        return body
    return body


def _lost(piece: _Piece, source: str, where: str, reason: str, detail: str) -> DroppedRecord:
    uri = _URI.search(piece.data[:_CHUNK].partition(b"\r\n\r\n")[0])
    url = uri[1].decode("utf-8", "replace") if uri else f"{where}@{piece.offset}"
    return lost(source, url, reason, f"{where}@{piece.offset}: {detail}", piece.data)
