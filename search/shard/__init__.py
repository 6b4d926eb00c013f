"""A shard on disk: documents, texts, reads; the catalog of all shards."""
