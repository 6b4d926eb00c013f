"""Tests of tokenizer.fast."""
