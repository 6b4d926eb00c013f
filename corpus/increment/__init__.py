"""Extending a sealed corpus, and removing documents from it.

settings.py  [corpus.base]: which corpus, and what of it is left out
base.py      the sealed corpus as the recipe sees it
removals.py  its files in the new artifact: hard links, or rewritten without what is removed
rewrite.py   files of a shard without some documents
"""
