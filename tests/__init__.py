"""Tests: behaviour against independent truth."""
