"""What search prints: matches marked, nothing that steers the terminal."""

import re

# Bold yellow, as grep marks a match; only on a terminal.
MARK, PLAIN = "\x1b[1;33m", "\x1b[0m"
# Text of the web must not steer the terminal: control characters but newline and tab are shown as U+FFFD.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def harmless(text: str) -> str:
    """The text without what would steer a terminal, as long as before."""
    return _CONTROL.sub("\ufffd", text)
