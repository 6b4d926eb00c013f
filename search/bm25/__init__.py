"""Passages ranked for a question by BM25 over rare character n-grams."""
