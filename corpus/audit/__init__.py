"""After a run: why a document stayed or went, what other thresholds would change, which artifacts hold it."""
