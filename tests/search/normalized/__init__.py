"""Tests of search.normalized."""
