"""From sources to a clean, judged, deduplicated Japanese corpus: Parquet files and one decision for every document.

__main__.py       the stage: every step in order
settings.py       [corpus] of a run file, composed of the settings of the steps
inputs.py         everything that a corpus is made from, opened, with its digests
records.py        what readers yield: RawDocument, DroppedRecord
judge.py          one shard: read, extract, count, judge, compute signatures
decontaminate.py  documents that hold texts of benchmarks are dropped
drop_reasons.py   why a document is dropped, in English and Japanese
fetch/            sources from package registries
readers/          a source -> shards -> raw documents
extract/          a raw document -> its text
stats/            a text -> counts
filters/          counts -> a verdict; cleaners
dedup/            boilerplate lines and duplicates
pii/              personal data
increment/        extending a sealed corpus, removing documents from it
storage/          arrays and tables between the steps
output/           the artifact: documents, decisions, accounts, licences
report/           the run in pictures
audit/            one document explained, other thresholds tried
"""
