"""Folders of files that are a document each: HTML pages, manual pages (gzip or plain), and works as Aozora Bunko has them."""

import zipfile
import zlib
from collections.abc import Iterator

from corpus.extract.aozora import header_of
from corpus.readers.jsonl import text_of
from corpus.readers.places import open_file, relative, size_of
from corpus.readers.streams import SEEN, BrokenStream, read_whole, too_large
from corpus.records import DroppedRecord, Kind, RawDocument, Shard, lost


def read_folder(shard: Shard, kind: Kind) -> Iterator[RawDocument | DroppedRecord]:
    """Every file of the shard, in name order; its url is its path below the source's folder."""
    for name in shard.files:
        got = _content(shard, name)
        yield got if isinstance(got, DroppedRecord) else RawDocument(shard.source.name, relative(name, shard.base), got, kind)


def read_aozora(shard: Shard) -> Iterator[RawDocument | DroppedRecord]:
    """A work a .txt file, alone or in a .zip, in whatever Japanese charset; title and author are its first lines."""
    for name in shard.files:
        if name.endswith(".zip"):
            yield from _zipped(shard, name)
            continue
        got = _content(shard, name)
        yield got if isinstance(got, DroppedRecord) else _work(shard, relative(name, shard.base), got)


def _content(shard: Shard, name: str) -> bytes | DroppedRecord:
    """All bytes of a file, decompressed; a file over the limit is not read."""
    source, url, limit = shard.source, relative(name, shard.base), shard.source.max_document_bytes
    size = size_of(name)
    with open_file(name) as file:
        if size > limit:
            return too_large(source.name, url, file.read(SEEN), f"{size} bytes")
        try:
            raw, whole = read_whole(file, name, limit)
        except BrokenStream as error:
            file.seek(0)
            return lost(source.name, url, error.reason, str(error), file.read())
    return raw if whole else too_large(source.name, url, raw, f"over {limit} bytes when decompressed")


def _zipped(shard: Shard, name: str) -> Iterator[RawDocument | DroppedRecord]:
    """The .txt members of a zip file, in its order."""
    source, where, limit = shard.source, relative(name, shard.base), shard.source.max_document_bytes
    with open_file(name) as file:
        try:
            archive = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, ValueError) as error:
            yield lost(source.name, where, "damaged_record", f"no zip file ({error})")
            return
        for member in archive.infolist():
            if member.is_dir() or not member.filename.lower().endswith(".txt"):
                continue
            url = f"{where}/{member.filename}"
            try:
                with archive.open(member) as opened:
                    raw = opened.read(limit + 1)
            except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
                yield lost(source.name, url, "damaged_record", str(error))
                continue
            yield too_large(source.name, url, raw, f"over {limit} bytes") if len(raw) > limit else _work(shard, url, raw)


def _work(shard: Shard, url: str, raw: bytes) -> RawDocument | DroppedRecord:
    from corpus.extract.charset import decode

    decoded = decode(raw)
    if decoded is None:
        return lost(shard.source.name, url, "undecodable", "no Japanese charset fits every byte", raw)
    text = decoded.text.replace("\r\n", "\n").replace("\r", "\n")
    work, title = text_of(text, "aozora"), header_of(text)
    return RawDocument(
        source=shard.source.name,
        url=url,
        raw=raw,
        kind="text",
        declared=decoded.charset,
        title=title,
        text=work,
        flags=decoded.flags,
    )
