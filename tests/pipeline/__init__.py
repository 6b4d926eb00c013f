"""Tests of what the stages share."""
