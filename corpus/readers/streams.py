"""Bounded reading: compressed files in pieces of a set size, lines that are skipped, not held, when they are too long."""

import bz2
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, BinaryIO, NamedTuple, cast

from corpus.records import DroppedRecord, lost

CHUNK = 1 << 20  # bytes a step, in and out; deflate's thousandfold never becomes a gigabyte at once
SEEN = 1 << 16  # bytes of something too large that its doc_id is taken over, with its place


class BrokenStream(Exception):
    """A compressed stream that ends too early or is damaged.

    Attributes: reason, a key of DROP_REASONS; begin, how far into the input the damaged gzip or bzip2 stream begins.
    """

    def __init__(self, reason: str, detail: str, begin: int = 0) -> None:
        super().__init__(detail)
        self.reason, self.begin = reason, begin


def chunks(file: IO[bytes], name: str) -> Iterator[bytes]:
    """The content of a file in pieces of at most 1 MiB, decompressed as its name's ending says (.gz, .bz2, .zst).

    Streams that are one after another in a file are one content, as for gunzip, bunzip2 and unzstd.

    Raises: BrokenStream; what the file's own read raises.
    """
    if name.endswith(".gz"):
        return gunzip(file)
    if name.endswith(".bz2"):
        return bunzip2(file)
    if name.endswith(".zst"):
        return unzstd(file)
    return iter(lambda: file.read(CHUNK), b"")


def gunzip(file: IO[bytes]) -> Iterator[bytes]:
    """Members of gzip; zeros after one are padding. Raises: BrokenStream."""
    return _streams(file, lambda: zlib.decompressobj(zlib.MAX_WBITS | 16), "gzip")


def bunzip2(file: IO[bytes]) -> Iterator[bytes]:
    """Streams of bzip2. Raises: BrokenStream."""
    return _streams(file, bz2.BZ2Decompressor, "bzip2")


def _streams(file: IO[bytes], make: Callable[[], Any], what: str) -> Iterator[bytes]:
    """Decompress streams that stand back to back, at most CHUNK bytes a step."""
    inflater, data, inside, pending = make(), b"", False, False
    taken, begin = 0, 0  # bytes of input, and of it before the stream that is open
    while True:
        if not data and not pending:
            data = file.read(CHUNK)
            taken += len(data)
            if not data and inside:
                raise BrokenStream("truncated_record", f"the file ends inside its {what} stream", begin)
            if not data:
                return
        if not inside:
            data = data.lstrip(b"\0")
            if not data:
                continue
            begin = taken - len(data)
        try:
            out = inflater.decompress(data, CHUNK)
        except (zlib.error, OSError) as error:
            raise BrokenStream("damaged_record", f"{what}: {error}", begin) from error
        # zlib hands back the input it has not used, bz2 keeps it
        data, inside, pending = getattr(inflater, "unconsumed_tail", b""), True, not getattr(inflater, "needs_input", True)
        if out:
            yield out
        if inflater.eof:
            data, inflater, inside, pending = inflater.unused_data, make(), False, False


def unzstd(file: IO[bytes]) -> Iterator[bytes]:
    """Frames of Zstandard. Raises: BrokenStream."""
    from fastwarc.stream_io import ZstdReader

    begin = file.tell()
    if not file.read(1):
        return
    file.seek(begin)
    reader = ZstdReader(cast("BinaryIO", file))
    while True:
        try:
            out = reader.read(CHUNK)
        except OSError as error:  # "incomplete frame", or what is wrong with the frame
            reason = "truncated_record" if "incomplete" in str(error) else "damaged_record"
            raise BrokenStream(reason, f"zstd: {error}") from error
        if not out:
            return
        yield out


class Line(NamedTuple):
    """A line without its end."""

    begin: int  # byte offset in the content
    data: bytes | None  # None: longer than the limit
    seen: bytes  # of a longer one: its first bytes
    size: int


def lines(parts: Iterator[bytes], limit: int, begin: int = 0) -> Iterator[Line]:
    """Cut a content at line feeds, holding at most `limit` bytes of a line and one piece.

    Args:
        begin: offset of the first byte.
    """
    existing: list[bytes] = []
    size, seen = 0, b""
    for part in parts:
        offset = 0
        while True:
            end = part.find(b"\n", offset)
            piece = part[offset:] if end < 0 else part[offset:end]
            size += len(piece)
            if size <= limit:
                existing.append(piece)
            elif not seen:
                seen, existing = b"".join([*existing, piece])[:SEEN], []
            if end < 0:
                break
            yield Line(begin, None if size > limit else b"".join(existing), seen, size)
            begin, offset, size, existing, seen = begin + size + 1, end + 1, 0, [], b""
    if size:
        yield Line(begin, None if size > limit else b"".join(existing), seen, size)


def read_whole(file: IO[bytes], name: str, limit: int) -> tuple[bytes, bool]:
    """All of a file's content, decompressed, or its first bytes. Returns: the bytes, whether they are all.

    Raises: BrokenStream.
    """
    out, size = [], 0
    for part in chunks(file, name):
        size += len(part)
        if size > limit:
            return b"".join([*out, part])[:SEEN], False
        out.append(part)
    return b"".join(out), True


def too_large(source: str, url: str, seen: bytes, size: str) -> DroppedRecord:
    """The drop of something over the limit; its doc_id is of its place and its first 64 KiB."""
    return lost(source, url, "too_large", size, seen[:SEEN])
