"""The HTML report of a corpus: `python -m corpus.report`."""
