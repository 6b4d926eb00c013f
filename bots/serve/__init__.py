"""Our own small OpenAI-compatible server of one model: `python -m bots.serve`.

request.py   the OpenAI chat API: checked requests, bodies of answers and errors
prompt.py    a conversation -> token ids, safe against typed control tokens
engine.py    one model, one generation at a time, streamed as whole characters
__main__.py  the HTTP server
child.py     starts the server as a child process of another command
"""
