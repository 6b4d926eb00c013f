"""Tests of corpus.audit."""
