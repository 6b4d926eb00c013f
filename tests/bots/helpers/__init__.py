"""Helpers of the tests; none is a test."""
