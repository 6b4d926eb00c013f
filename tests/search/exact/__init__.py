"""Tests of search.exact."""
