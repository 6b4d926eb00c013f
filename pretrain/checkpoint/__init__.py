"""Checkpoints: written whole or not at all, loaded in any layout."""
