"""Tests of bots.slack."""
