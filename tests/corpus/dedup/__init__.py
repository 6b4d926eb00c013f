"""Tests of corpus.dedup."""
