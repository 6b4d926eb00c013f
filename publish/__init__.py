"""From a sealed artifact to the Hugging Face Hub: dry unless confirmed, exact, and repeatable without effect.

settings.py   `[publish]` of a run file
chain.py      the sealed artifacts behind a model, each checked against the digest the next one recorded
card.py       the model card, written from their manifests (card.md.jinja)
plan.py       exactly which files would go where
hub.py        the only file that talks to the Hub
"""
