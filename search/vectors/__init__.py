"""Passages by meaning: embedders and the vector index."""
