"""Passages ranked for a question by BM25 over rare character n-grams.

rank.py     a question -> ranked passages
kernels.py  the loops, compiled
"""
