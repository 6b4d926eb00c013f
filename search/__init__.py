"""Which training data resembles a text, and which training iteration read it.

`hits` is what a search returns (light to import), `passages` cuts documents, `ngram` counts and locates exact
substrings in suffix arrays, `vector` embeds and finds neighbours, `query` joins both with `pretrain.order` (Searcher),
`index` builds the artifact (`make index`), and `python -m search` asks it (`make search Q=…`).
"""
