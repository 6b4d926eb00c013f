"""Search over HTTP, with an OpenAPI schema."""
