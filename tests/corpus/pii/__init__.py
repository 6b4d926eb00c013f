"""Tests of corpus.pii."""
