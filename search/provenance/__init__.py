"""Where and when training read a text: occurrences joined with the reading order. No terminal, no HTTP.

occurrences.py    every occurrence, its documents, its iterations
kernels.py        the same, compiled
trace.py          the parts of a text that are in the training data verbatim
exposure.py       how often training read a string
contamination.py  which texts of a benchmark each checkpoint had read
"""
