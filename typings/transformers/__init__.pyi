# transformers binds thousands of names lazily through one file: reading it costs the type checker half of its minute.
from typing import Any

def __getattr__(name: str) -> Any: ...
