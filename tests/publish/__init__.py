"""Publishing against a fake Hub over HTTP."""
