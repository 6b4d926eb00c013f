"""A second suffix array, over text in which spellings of the same word are equal.

tables.py          what each character folds to
kanji_variants.py  old and variant kanji forms
fold.py            the fold, and offsets back into the text
kernels.py         the fold, compiled
view.py            the view of one shard
"""
