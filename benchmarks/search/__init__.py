"""Benchmarks of search: `python -m benchmarks.search`, one module a figure."""
