"""Tests of corpus.increment."""
