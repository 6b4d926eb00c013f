"""The compiled encoder: the same ids as SentencePiece, faster.

encoder.py  builds the tables from a model file and encodes batches of texts
kernels.py  the compiled code: BPE of many texts at once
"""
