"""A shard on disk, and the catalog of all shards.

store.py    text, documents, passages: written once, read by mmap
reads.py    when training read each byte of a document
catalog.py  what was added and removed
texts.py    all shards as one text
"""
