"""Benchmarks of the corpus stage: `python -m benchmarks.corpus`, one module a figure."""
