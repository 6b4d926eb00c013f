"""`python -m pretrain.pack`: the corpus as token ids in Megatron's indexed datasets.

__main__.py  the stage: encode, split, find copies, merge
splits.py    which documents of a source are trained on, held out, or left out
shards.py    the parallel steps: encode a file of the corpus; merge a source
copies.py    training documents that are copies of held-out ones
indexed.py   Megatron's .bin and .idx, without torch
"""
