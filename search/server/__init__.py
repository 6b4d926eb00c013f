"""Search over HTTP, with an OpenAPI schema.

serve.py  the command: address and token
guard.py  what is refused before a request is parsed
api.py    the endpoints
"""
