"""Readers: a source is planned into shards, a shard yields raw documents lazily; one module a format.

plan.py           source -> shards -> documents; the digest of what a source reads
places.py         paths, globs and URLs: listing and opening
remote.py         files at URLs
streams.py        decompression and lines, bounded
warc.py           crawls in WARC, and WET
warc_members.py   the records of a WARC file, damaged ones lost alone
folders.py        folders of HTML, of manual pages, of Aozora works
jsonl.py          JSON Lines
parquet.py        Parquet
parquet_pages.py  sizes in the page headers of Parquet
wikipedia.py      XML dumps of a MediaWiki
tatoeba.py        the table of everyday sentences
hub.py            datasets of the Hugging Face Hub, or local ones
"""

from corpus.readers.plan import input_digest, licences_of_source, needs_fetch, plan_shards, read_shard, source_files
from corpus.records import DROP_REASONS, DroppedRecord, RawDocument, Shard, SourceSettings

__all__ = [
    "DROP_REASONS",
    "DroppedRecord",
    "RawDocument",
    "Shard",
    "SourceSettings",
    "input_digest",
    "licences_of_source",
    "needs_fetch",
    "plan_shards",
    "read_shard",
    "source_files",
]
