"""Passages by meaning: embedders and the vector index.

embedder.py    what an embedder is, and what identifies one
svd.py         the default: fitted on the corpus
pretrained.py  models trained elsewhere
factory.py     which of them a run asks for, or an index was made with
nearest.py     the faiss index; candidates compared exactly
"""
