"""Text from documents, models and file names made safe to print on a terminal."""

import re
import unicodedata

# SGR: bold yellow, as grep marks a match, and off; only on a terminal. Source: ECMA-48 §8.3.117.
MARK, PLAIN = "\x1b[1;33m", "\x1b[0m"
# C0 and C1 controls but newline and tab; marks, embeddings, overrides and isolates of the bidirectional algorithm (UAX #9),
# which reorder what is read; line and paragraph separators; lone surrogates, which no stream can encode.
CONTROL_CHARS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_LINE_CHARS = re.compile("[\t\n]")
REPLACEMENT = "\ufffd"


def strip_control_chars(text: str, *, one_line: bool = False) -> str:
    """Return the text, as long as before, with U+FFFD for every character that could control a terminal or reorder the text.

    Args:
        one_line: also replace newlines and tabs. Otherwise they stay, and a carriage return becomes a newline.
    """
    stripped = CONTROL_CHARS.sub(REPLACEMENT, text if one_line else text.replace("\r", "\n"))
    return _LINE_CHARS.sub(REPLACEMENT, stripped) if one_line else stripped


def display_width(text: str) -> int:
    """Return the columns that the text takes on a terminal: two for wide and full-width characters (UAX #11)."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
