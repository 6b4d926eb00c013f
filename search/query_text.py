"""Texts that are looked for, in the form in which the corpus writes text."""

import unicodedata

from pipeline.errors import BadInput


def normalize_text(text: str, what: str = "the query") -> str:
    """Bring a text to NFC; white space around it is part of it.

    Args:
        what: its name in errors.
    Raises: BadInput if it is empty or not valid Unicode.
    """
    result = unicodedata.normalize("NFC", text)
    if not result:
        raise BadInput(f"{what} is empty; give some text")
    try:
        result.encode()
    except UnicodeEncodeError as error:
        raise BadInput(f"{what} is not valid Unicode: {error.reason} at character {error.start}") from error
    return result


def normalize_query(query: str) -> str:
    """Bring a query to NFC, without the white space around it.

    Raises: BadInput if nothing is left, or it is not valid Unicode.
    """
    return normalize_text(query.strip())
