"""Tests of search.server."""
