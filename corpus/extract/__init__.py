"""The bytes of a document -> its text: charset, language, main text.

document.py       one document: the steps below in order
charset.py        bytes of unknown charset -> text
mojibake.py       text decoded by the wrong charset, repaired where that is certain
language_gate.py  pages that surely hold no Japanese, before they are parsed
html_page.py      an HTML page -> what people read
html_scan.py      compiled scans of markup for html_page.py
plain.py          texts that need no extraction
wikitext.py       wikitext -> text
aozora.py         Aozora Bunko notation -> text
roff/             manual pages -> text
"""
