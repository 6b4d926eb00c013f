"""Dumps of a MediaWiki in XML (pages-articles, plain or .bz2): a document an article, parsed as it streams.

A multistream dump (https://meta.wikimedia.org/wiki/Data_dumps/Dump_format) is many bzip2 streams of 100 pages; with its index
beside it (…-multistream-index.txt.bz2) it is cut into shards at streams, and a damaged stream costs only its pages.
Any other dump is one shard a file, and what is after damage is lost with it, counted once.
"""

import bz2
from collections.abc import Iterator
from itertools import pairwise
from typing import IO, Any, cast
from urllib.parse import quote

from corpus.extract.wikitext import clean_wikitext
from corpus.readers.places import open_file, relative, size_of
from corpus.readers.remote import is_file, is_url
from corpus.readers.streams import CHUNK, SEEN, BrokenStream, chunks, lines, too_large
from corpus.records import DroppedRecord, RawDocument, Shard, SourceSettings, lost

_ROOT = b"<mediawiki>"
_STREAM = b"BZh91AY&SY"  # how a bzip2 stream of level 9 with a block in it begins
_FIELDS = ("title", "ns", "timestamp", "text")


def plan_dump(name: str, shard_bytes: int) -> list[tuple[int, int]]:
    """Byte ranges of a multistream dump with an index beside it, each of whole streams; else the one of the whole file.

    Raises: ConfigError, ExternalServiceError (of a URL).
    """
    index = name.replace("-multistream.xml", "-multistream-index.txt").replace("-multistream", "-multistream", 1)
    if index == name or not _exists(index):
        return [(0, 0)]
    with open_file(index) as file:
        try:
            offsets = sorted({int(line.data.partition(b":")[0]) for line in lines(chunks(file, index), CHUNK) if line.data})
        except (BrokenStream, ValueError):
            return [(0, 0)]  # the dump can be read without
    size = size_of(name)
    cuts = [0]
    for offset in offsets:
        if cuts[-1] + shard_bytes <= offset < size:
            cuts.append(offset)
    return [*pairwise(cuts), (cuts[-1], 0)]


def read_dump(shard: Shard) -> Iterator[RawDocument | DroppedRecord]:
    """Articles; pages of other namespaces and redirects are drops, and so is, once each, what damage takes."""
    source = shard.source
    for name in shard.files:
        where, number, start = relative(name, shard.base), 0, shard.begin
        with open_file(name) as file:
            while start is not None:
                pages, restart = _Pages(source.max_document_bytes), None
                try:
                    for part in _parts(file, name, start, shard.end):
                        pages.feed(part)
                        for page in pages.take():
                            number += 1
                            yield _article(page, source, f"{where}@{shard.begin}#{number}")
                    pages.end()
                except (BrokenStream, _Broken) as error:
                    for page in pages.take():
                        number += 1
                        yield _article(page, source, f"{where}@{shard.begin}#{number}")
                    detail = f"in or behind {pages.title!r}: {error}"
                    reason = error.reason if isinstance(error, BrokenStream) else "damaged_record"
                    yield lost(source.name, f"{where}@{start}", reason, detail)
                    if isinstance(error, BrokenStream) and name.endswith(".bz2"):
                        restart = _next_stream(file, start + error.begin, shard.end)
                start = restart


def _parts(file: IO[bytes], name: str, start: int, end: int) -> Iterator[bytes]:
    """The content of a byte range; where that begins after the dump's root, with a root put before it."""
    file.seek(start)
    if start:
        yield _ROOT
    yield from chunks(cast("IO[bytes]", _Bounded(file, end - start)) if end else file, name)


class _Bounded:
    """A file that ends after so many bytes."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left = file, size

    def read(self, size: int) -> bytes:
        out = self._file.read(min(size, self._left))
        self._left -= len(out)
        return out


def _next_stream(file: IO[bytes], at: int, end: int) -> int | None:
    """Where the next bzip2 stream begins after `at` that holds a page, before `end`."""
    file.seek(at)
    existing = b""
    while part := file.read(CHUNK):
        existing = existing[-len(_STREAM) :] + part
        base, result = file.tell() - len(existing), existing.find(_STREAM)
        while result >= 0:
            index = base + result
            if end and index >= end:
                return None
            if index > at:
                back = file.tell()
                file.seek(index)
                try:
                    head = bz2.BZ2Decompressor().decompress(file.read(CHUNK), 100)
                except OSError:
                    head = b""
                if head.lstrip().startswith(b"<page>"):
                    return index
                file.seek(back)
            result = existing.find(_STREAM, result + 1)
    return None


class _Broken(Exception):
    """XML that is none, or that ends too early."""


class _Pages:
    """An expat parser that gathers pages, each field up to a limit."""

    def __init__(self, limit: int) -> None:
        from xml.parsers import expat

        self._limit, self.title = limit, ""
        self._parser, self._error = expat.ParserCreate(), expat.ExpatError
        self._parser.buffer_text = True
        self._parser.buffer_size = 1 << 16
        self._parser.StartElementHandler, self._parser.EndElementHandler = self._start, self._end
        self._parser.CharacterDataHandler = self._data
        self._done: list[dict[str, Any]] = []
        self._page: dict[str, Any] | None = None
        self._parts: list[str] | None = None
        self._size, self._depth = 0, 0

    def feed(self, part: bytes) -> None:
        try:
            self._parser.Parse(part, False)
        except self._error as error:
            if self._depth == 0 and self._parser.CurrentByteIndex >= 0 and "junk after" in str(error):
                return  # what is after the root's end
            raise _Broken(str(error)) from error

    def end(self) -> None:
        if self._page is not None:
            raise BrokenStream("truncated_record", "the dump ends inside a page")

    def take(self) -> list[dict[str, Any]]:
        done, self._done = self._done, []
        return done

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if name == "page":
            self._page = {}
        elif self._page is not None and name == "redirect":
            self._page["redirect"] = attributes.get("title", "")
        elif self._page is not None and name in _FIELDS:
            self._parts, self._size = [], 0

    def _data(self, data: str) -> None:
        if self._parts is not None:
            self._size += len(data)
            if self._size <= self._limit or not self._parts:
                self._parts.append(data)

    def _end(self, name: str) -> None:
        self._depth -= 1
        if self._page is None:
            return
        if name == "page":
            self._done.append(self._page)
            self._page = None
        elif name in _FIELDS and self._parts is not None:
            self._page[name] = "".join(self._parts)
            if name == "text" and self._size > self._limit:
                self._page["size"] = self._size
            if name == "title":
                self.title = self._page[name]
            self._parts = None


def _article(page: dict[str, Any], source: SourceSettings, place: str) -> RawDocument | DroppedRecord:
    title, wikitext = page.get("title", ""), page.get("text", "")
    url = source.wiki + _path_of(title) if title else place
    raw = wikitext.encode()
    if page.get("ns", "0") != "0":
        return lost(source.name, url, "other_namespace", f"namespace {page['ns']}", raw)
    if "redirect" in page:
        return lost(source.name, url, "redirect_page", f"is {page['redirect']}", raw)
    if "size" in page or len(raw) > source.max_document_bytes:
        return too_large(source.name, url, raw[:SEEN], f"{page.get('size', len(raw))} characters")
    text = clean_wikitext(wikitext)
    if not text:
        return lost(source.name, url, "no_text", "only templates, tables and notes", raw)
    return RawDocument(
        source=source.name,
        url=url,
        raw=raw,
        kind="text",
        declared="utf-8",
        title=title,
        date=page.get("timestamp", ""),
        text=text,
    )


def _path_of(title: str) -> str:
    """A title as a browser shows it in the address; only what would end or change the path is escaped."""
    return "".join(quote(sign) if sign in '%?#\\"<>' else sign for sign in title.replace(" ", "_"))


def _exists(name: str) -> bool:
    if is_url(name):
        return is_file(name)
    from pathlib import Path

    return Path(name).is_file()
