"""Tests of tokenizer.train."""
