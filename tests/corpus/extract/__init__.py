"""Tests of corpus.extract."""
