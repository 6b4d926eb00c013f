"""Counts of a document -> a verdict; cleaners that edit what passed.

features.py  counts of what is not text: compression, host, links
hosts.py     hosts and lists of them
rules.py     the rules of a preset, applied to a table of counts; pure
cleaners.py  what a preset takes out of a text that passed
presets/     the presets: rules, thresholds, and where each comes from
"""
