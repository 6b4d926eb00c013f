"""A manual page from its source to text and title."""

import re
from dataclasses import dataclass

from corpus.extract.roff.engine import Converter
from corpus.extract.roff.mdoc import Mdoc


@dataclass(frozen=True)
class ManualPage:
    """A converted page."""

    text: str
    title: str  # "open(2)", "" unknown


@dataclass(frozen=True)
class Redirect:
    """A page that only says to read another one."""

    target: str


def roff_text(source: str) -> ManualPage | Redirect:
    """Convert the source of a manual page."""
    lines = [line for line in source.split("\n") if line.strip() and not re.match(r"^[.']?[ \t]*(\\\"|$)", line)]
    if lines and (match := re.match(r"^\.so\s+(\S+)", lines[0])) and len(lines) == 1:
        return Redirect(match[1])
    converter = Converter(source, Mdoc)
    converter.run()
    return ManualPage(converter.out.text(), converter.title)
