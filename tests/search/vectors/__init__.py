"""Tests of search.vectors."""
