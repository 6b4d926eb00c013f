"""Tests of bots.serve."""
