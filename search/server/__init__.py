"""Search over HTTP, with an OpenAPI schema.

serve.py  the command: address and token
api.py    the endpoints
"""
