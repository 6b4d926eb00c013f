"""Chat with the model and search its training data: one core, three user interfaces.

settings.py  the [bots] table
model.py     the folder of the model that answers
serve/       our own small OpenAI-compatible server of one model (`python -m bots.serve`)
core.py      streams answers through the OpenAI API, and searches the training data that resembles them
terminal.py  answers and search results on a terminal
ask.py       one question (`python -m bots.ask`)
chat.py      a conversation at the terminal (`python -m bots.chat`)
slack/       the Slack app (__main__.py: `python -m bots`)

Importing this package loads none of them.
"""
