"""Tests of tokenizer.report."""
