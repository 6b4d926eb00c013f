"""Tests of corpus.report."""
