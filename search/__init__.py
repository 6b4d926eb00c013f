"""Searches the training data; every result names its document and the training iterations that read it.

settings.py    [index] of a run file
index/         the stage: builds shards, adds and removes
arrays.py      arrays on disk, opened by mmap
shard/         a shard on disk, and the catalog of all
exact/         every occurrence of a string
normalized/    the same, without differences of spelling
bm25/          passages by rare n-grams
vectors/       passages by meaning
query_text.py  a query in the form in which the corpus writes text
searcher.py    Searcher: a query -> a page of hits
hits.py        Hit and Page
provenance/    traces, exposure, contamination: the computations
commands/      the same at the terminal
__main__.py    `make search`
server/        all of it over HTTP
"""
