"""Records of a WARC file (ISO 28500): a gzip member or Zstandard frame each, or uncompressed; damage costs the damaged ones.

What a record says about its own length is checked against the bytes that are there, before anything believes it.
"""

import io
import mmap
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.errors import BadInput

_GZIP = b"\x1f\x8b\x08"
_ZSTD = b"\x28\xb5\x2f\xfd"
# A skippable frame in front holds a dictionary: http://iipc.github.io/warc-specifications/specifications/warc-zstd/
_ZSTD_DICTIONARY = b"\x5d\x2a\x4d\x18"
_ZSTD_SKIPPABLE = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")
_RECORD = b"WARC/"
_LENGTH = re.compile(rb"^content-length:[ \t]*(\d{1,18})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
CHUNK = 1 << 16  # compressed bytes a step; deflate makes at most a thousand times as many of them
_PROBE = 1 << 12  # compressed bytes that surely inflate to the first five of a record
_HEADER = 1 << 16  # no WARC header is longer; Heritrix' are below 1 KiB
_MAX_DICTIONARY = 32 << 20


@dataclass(frozen=True)
class Member:
    """The bytes of one record (of several, where a member holds several), or what is wrong with them."""

    offset: int
    data: bytes
    problem: str = ""  # a reason of DROP_REASONS
    detail: str = ""


def pieces(data: mmap.mmap, where: str, limit: int) -> Iterator[Member]:
    """All records of a file, in order.

    Args:
        where: the file's name, for messages.
        limit: bytes of a record that is still read.
    Raises: BadInput where the whole file is one gzip member.
    """
    if data[:5] == _RECORD:
        return _plain_records(data, limit)
    if data[:4] in (_ZSTD, _ZSTD_DICTIONARY):
        return _frames(data, limit)
    return _members(data, where, limit)


def lie(record: bytes) -> str:
    """What is wrong with the lengths that the records in `record` give, or ""."""
    offset = 0
    while record[offset : offset + 5] == _RECORD:
        head = record.find(b"\r\n\r\n", offset, offset + _HEADER)
        length = _LENGTH.search(record, offset, head + 2) if head >= 0 else None
        if not length:
            return "no header that says how long the record is" if head < 0 else "no Content-Length, or none that is a number"
        end = head + 4 + int(length[1])
        if end > len(record):
            return f"{len(record) - head - 4} bytes instead of {int(length[1])}"
        offset = end
        while offset < len(record) and record[offset] in b"\r\n":
            offset += 1
        if offset < len(record) and (offset == end or record[offset : offset + 5] != _RECORD):
            return f"goes on after its {int(length[1])} bytes"
    return "" if offset else "no WARC header"


def _members(data: mmap.mmap, where: str, limit: int) -> Iterator[Member]:
    """Gzip members; after a damaged one, go on at the next that holds a record."""
    offset = 0
    while offset < len(data):
        piece, end = _inflate(data, offset, limit)
        if piece.problem in ("", "too_large"):
            if piece.problem and offset == 0 and _has_second(piece.data):
                raise BadInput(
                    f"{where}: its first gzip member is over {limit >> 20} MiB large, so records are not compressed "
                    f"one by one; recompress it with `warcio recompress`"
                )
            offset = end
        else:
            offset = _next_member(data, offset + 1)
            if piece.problem == "truncated_record" and offset < len(data):
                piece = Member(piece.offset, piece.data, "damaged_record", "gzip stream runs over its end")
        yield piece


def _has_second(start: bytes) -> bool:
    """Whether a second record begins in what is the start of a large member."""
    return _RECORD in start[5:] and not lie(start[: start.find(b"\r\n\r\n" + _RECORD) + 4])


def _inflate(data: mmap.mmap, at: int, limit: int) -> tuple[Member, int]:
    """Decompress the member at `at`. Returns: its piece, and where it ends."""
    inflater, out, size, begin = zlib.decompressobj(zlib.MAX_WBITS | 16), [], 0, at
    try:
        while at < len(data) and not inflater.eof:
            part = inflater.decompress(data[at : at + CHUNK])
            at = min(at + CHUNK, len(data)) - len(inflater.unused_data)
            size += len(part)
            if size <= limit or not out:
                out.append(part[:limit])
    except zlib.error as error:
        return Member(begin, b"".join(out) or _head(data, begin), "damaged_record", str(error)), at
    body = b"".join(out)
    if not inflater.eof:
        return Member(begin, body, "truncated_record", f"the file ends {size} bytes into a record"), at
    if size > limit:
        return Member(begin, body, "too_large", f"{size} bytes"), at
    return Member(begin, body), at


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
            pass  # the three bytes was inside compressed data; look on
        at += 1
    return len(data)


def _frames(data: mmap.mmap, limit: int) -> Iterator[Member]:
    """Zstandard frames; after a damaged one, go on at the next that holds a record."""
    offset, dictionary = 0, None
    while offset < len(data):
        end = frame_end(data, offset)
        if end and _ZSTD_SKIPPABLE.match(data[offset : offset + 4]):
            if offset == 0 and data[:4] == _ZSTD_DICTIONARY:
                dictionary = _dictionary(data[8:end])
            offset = end
            continue
        if not end:
            following = _next_frame(data, offset + 1, dictionary)
            problem = "truncated_record" if following == len(data) else "damaged_record"
            part = _unpack(data[offset : min(following, offset + limit)], dictionary, limit)[0]
            yield Member(offset, part, problem, "a zstd frame that does not end")
            offset = following
            continue
        body, problem, detail = _unpack(data[offset:end], dictionary, limit)
        yield Member(offset, body, problem, detail)
        offset = end


def frame_end(data: mmap.mmap | bytes, at: int) -> int:
    """Where the Zstandard frame at `at` ends, by the sizes its blocks give, nothing decompressed; 0: it is none or cut off.

    Source: RFC 8878, section 3.1.
    """
    head = data[at : at + 9]
    if _ZSTD_SKIPPABLE.match(head) and len(head) >= 8:
        end = at + 8 + int.from_bytes(head[4:8], "little")
        return end if end <= len(data) else 0
    if head[:4] != _ZSTD or len(head) < 6:
        return 0
    flags = head[4]
    single = flags >> 5 & 1
    at += 5 + (not single) + (0, 1, 2, 4)[flags & 3] + (single, 2, 4, 8)[flags >> 6]
    while True:
        block = data[at : at + 3]
        if len(block) < 3:
            return 0
        value = int.from_bytes(block, "little")
        kind, size = value >> 1 & 3, value >> 3
        if kind == 3:
            return 0
        at += 3 + (1 if kind == 1 else size)
        if value & 1:
            at += 4 * (flags >> 2 & 1)
            return at if at <= len(data) else 0


def _unpack(frame: bytes, dictionary: bytes | None, limit: int) -> tuple[bytes, str, str]:
    """A frame's content, at most `limit` bytes of it; problem and detail."""
    from fastwarc.stream_io import ZstdReader

    out, size = [], 0
    reader = ZstdReader(io.BytesIO(frame), dictionary=dictionary)
    try:
        while size <= limit and (part := reader.read(1 << 20)):
            size += len(part)
            out.append(part)
    except OSError as error:
        return b"".join(out), "damaged_record", f"zstd: {error}"
    if size > limit:
        return b"".join(out)[:limit], "too_large", f"over {limit} bytes"
    return b"".join(out), "", ""


def _dictionary(content: bytes) -> bytes:
    return _unpack(content, None, _MAX_DICTIONARY)[0] if content[:4] == _ZSTD else content


def _next_frame(data: mmap.mmap, at: int, dictionary: bytes | None) -> int:
    """Where the next frame begins that holds a WARC record, or the end of the file."""
    while (at := data.find(_ZSTD, at)) >= 0:
        if (end := frame_end(data, at)) and _unpack(data[at:end], dictionary, len(_RECORD))[0][:5] == _RECORD:
            return at
        at += 1
    return len(data)


def _plain_records(data: mmap.mmap, limit: int) -> Iterator[Member]:
    """Records of an uncompressed file, by their lengths; after a damaged one, go on at the next header."""
    offset = 0
    while offset < len(data):
        head = data.find(b"\r\n\r\n", offset, offset + _HEADER)
        length = _LENGTH.search(data[offset : head + 2]) if head >= 0 else None
        end = head + 4 + int(length[1]) if length else len(data) + 1
        whole = data[offset : offset + 5] == _RECORD and end + 4 <= len(data) and data[end : end + 4] == b"\r\n\r\n"
        following = end + 4 if whole else data.find(b"\r\n" + _RECORD, offset + 1) + 2
        if following < 2:
            following = len(data)
        if not whole:
            problem = "truncated_record" if following == len(data) and length else "damaged_record"
            yield Member(
                offset, data[offset : min(following, offset + CHUNK)], problem, "length and content of a record disagree"
            )
        elif end - offset > limit:
            yield Member(offset, data[offset : head + 4], "too_large", f"{end - offset} bytes")
        else:
            yield Member(offset, data[offset:following])
        offset = following
