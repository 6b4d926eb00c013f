"""`python -m search.index`: builds shards from corpus, pack and reading order; adds and removes."""
