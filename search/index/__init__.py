"""`python -m search.index`: builds the index; adds to it and removes from it.

__main__.py  the stage
steps.py     the parallel steps
tasks.py     the tasks of a shard
passages.py  documents -> passages
add.py       another corpus, in new shards
remove.py    documents that are found no more
"""
