"""What of the training data resembles a text, holds it, or taught it, and which training iteration read it.

__main__.py  `make search`
settings.py  [index] and [search] of a run file
searcher.py  Searcher: a query -> a page of hits
hits.py      Hit and Page
arrays.py    arrays on disk, opened by mmap
index/       the stage: builds shards, adds and removes
shard/       a shard on disk, and the catalog of all
exact/       every occurrence of a string
normalized/  the same, without differences of spelling
bm25/        passages by rare n-grams
vectors/     passages by meaning
provenance/  traces, exposure, contamination: the computations
commands/    the same at the terminal
server/      all of it over HTTP
"""
