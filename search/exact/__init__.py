"""Every occurrence of a string: suffix arrays over the bytes of the documents.

suffix_array.py  build, open and search a suffix array
short_codes.py   text in fewer bytes and the same order, to sort faster
kernels.py       the search, compiled
"""
