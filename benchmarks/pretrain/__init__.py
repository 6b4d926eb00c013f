"""Benchmarks of pretraining: `python -m benchmarks.pretrain`, one module a figure."""
