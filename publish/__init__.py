"""From a sealed artifact to the Hugging Face Hub: a dry run unless confirmed; repeating an upload changes nothing.

__main__.py   `make publish`
settings.py   the [publish] table
chain.py      the sealed artifacts that a model was made from, each checked against the digest that the next one recorded
card.py       the model card, rendered from their manifests (card.md.jinja)
plan.py       which files would be uploaded where
hub.py        the only file that calls the Hub
"""
