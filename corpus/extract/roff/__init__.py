"""Manual pages in roff -> text.

page.py     one page: source -> text and title
engine.py   requests, man(7) macros, conditionals, strings
mdoc.py     the macros of mdoc(7)
tables.py   tbl(1) tables as lines of text
escapes.py  escape sequences as characters
"""
