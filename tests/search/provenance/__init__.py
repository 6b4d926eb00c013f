"""Tests of search.provenance."""
