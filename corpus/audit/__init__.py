"""After a run: why a document was kept or dropped, what other thresholds would change, which artifacts hold it.

explain.py  `make explain`: the life of one document
spans.py    where in a text the rules see what they count
retune.py   `make retune`: what other thresholds gain and lose
rejudge.py  other thresholds applied to the stored values; no text is read
promote.py  which duplicate replaces a kept representative that is dropped
holders.py  `make holders`: the sealed artifacts that contain a document
"""
