"""Readers: a source is planned into shards, a shard yields raw documents lazily; one module a format.

records.py    settings of a source, Shard, RawDocument, DroppedRecord
plan.py       plan_shards, read_shard, input_digest: what the corpus stage calls
places.py     paths, globs and URLs: listing, opening; remote.py reads URLs; streams.py: decompression and lines, bounded
warc.py       crawls, and WET; members.py finds their records, damaged ones lost alone
folders.py    folders of HTML, of manual pages (roff.py turns these into text), and of Aozora works
rows.py       JSONL; parquet.py, with pages.py for the sizes in page headers; aozora.py cleans raw Aozora text
wikipedia.py  XML dumps; wikitext.py cleans their articles
tatoeba.py    the table of everyday sentences
hub.py        datasets of the Hugging Face Hub, or local ones
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
