"""Tests of search.shard."""
