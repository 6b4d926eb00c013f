"""Duplicates: exact and near-duplicates, captures of one page, boilerplate lines.

settings.py     similarity thresholds, and which lines are boilerplate
boilerplate.py  lines that a host repeats on its pages are cut
signatures.py   the keys by which duplicates are found: URL, text, MinHash bands
passes.py       the three passes: URL, text, similar text
pairs.py        candidate pairs: joined by key, compared
captures.py     captures of one page among the documents of one URL
base_corpus.py  the stored keys of the corpus that a new one extends
base_join.py    new documents that duplicate one of that corpus
"""
