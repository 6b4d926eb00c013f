"""Manual pages: roff source → plain text."""
