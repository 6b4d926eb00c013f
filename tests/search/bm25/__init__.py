"""Tests of search.bm25."""
