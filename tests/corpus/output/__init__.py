"""Tests of corpus.output."""
