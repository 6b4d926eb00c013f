"""Readers: a source is planned into shards, a shard yields raw documents lazily; one module a format.

records.py   settings of a source, Shard, RawDocument, DroppedRecord
plan.py      plan_shards, read_shard, input_digest: what the corpus stage calls
warc.py      crawls: a gzip member a record, damaged ones lost alone
folders.py   folders of HTML and of manual pages; roff.py turns the latter's source into text
rows.py      JSONL and Parquet; aozora.py cleans raw Aozora text
tatoeba.py   the table of everyday sentences
hub.py       datasets of the Hugging Face Hub, or local ones
"""

from corpus.readers.plan import input_digest, licences_of_source, needs_fetch, plan_shards, read_shard, source_files
from corpus.readers.records import DROP_REASONS, DroppedRecord, RawDocument, Shard, SourceSettings

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
