"""Benchmarks of the tokenizer: `python -m benchmarks.tokenizer`, one module a figure."""
