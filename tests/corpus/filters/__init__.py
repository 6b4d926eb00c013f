"""Tests of corpus.filters."""
