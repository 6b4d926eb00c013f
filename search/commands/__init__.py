"""Commands over the traced index, at the terminal and as JSON: `make trace`, `make exposure`, `make contamination`.

trace.py                  what of a text is in the training data verbatim, where, and when training read it
exposure.py               how often training read a string, over its iterations and by source
exposure.html.jinja       the page that exposure.py writes
contamination.py          which texts of a benchmark each checkpoint had read
"""
