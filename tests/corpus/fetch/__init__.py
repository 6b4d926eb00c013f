"""Tests of corpus.fetch."""
