"""Folders of files that are a document each: HTML pages, and manual pages (gzip or plain)."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from corpus.readers.records import DroppedRecord, Kind, RawDocument, Shard, lost


def read_folder(shard: Shard, kind: Kind) -> Iterator[RawDocument | DroppedRecord]:
    """Every file of the shard, in name order; its url is its path below the source's folder."""
    for name in shard.files:
        path = Path(name)
        url, raw = path.relative_to(shard.base).as_posix(), path.read_bytes()
        if path.suffix == ".gz":
            try:
                raw = gzip.decompress(raw)
            except EOFError as error:
                yield lost(shard.source.name, url, "truncated_record", str(error), raw)
                continue
            except (OSError, zlib.error) as error:
                yield lost(shard.source.name, url, "damaged_record", str(error), raw)
                continue
        yield RawDocument(shard.source.name, url, raw, kind)
