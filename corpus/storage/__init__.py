"""Arrays and tables that the steps hand to each other, written in bounded pieces.

references.py  one 64-bit number for a document among all shards
judged.py      what judging leaves: texts, keys, rows
decisions.py   the decisions of a sealed corpus, read
arrays.py      .npy files that grow at their end, sorted by ranges
tables.py      Parquet in bounded row groups
timing.py      seconds of each step of a task
"""
