"""Bytes of a page → its charset, its language, its main text."""
