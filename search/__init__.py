"""What of the training data resembles a text, holds it, or taught it, and which training iteration read it.

`index` builds the artifact (`make index`), `add` and `remove` change what is searched, `query` opens it (Searcher) and
`python -m search` asks it (`make search Q=…`). `ngram` counts and finds exact strings, `rank` orders passages by rare n-grams,
`embed` and `vector` by resemblance, `reads` tells when each byte was read. On top of them: `trace`, `exposure`,
`contamination`, and all of it over HTTP (`serve`). docs/search.md has the files and the figures.
"""
