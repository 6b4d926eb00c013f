"""Tests of corpus.stats."""
