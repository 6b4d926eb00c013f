"""Text that several stages treat alike. Imports no stage.

fold.py             texts that differ in width, kana, case or punctuation only become equal
ngrams.py           character n-grams of folded texts, found in documents and compared exactly
characters.py       code points, their classes and texts as one buffer, for compiled kernels
minhash.py          MinHash signatures and exact Jaccard similarity of character shingles
clusters.py         clusters of similar documents, and which document of each is kept
benchmark_files.py  the texts of evaluation benchmarks, from files of any common format
benchmark_match.py  which of those texts a document holds
terminal.py         text made safe for a terminal
"""
