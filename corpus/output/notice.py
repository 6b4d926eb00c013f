"""NOTICE of a corpus: licence and attribution of every source, and the copyright texts that came with fetched packages."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

# The heads that `corpus.fetch.packages.write_notice` sets before each package's text.
_HEAD = re.compile(r"^={78}\n\S+\n={78}$", re.MULTILINE)
PACKAGES = "The copyright and licence statements of the packages among them follow."


def notice(licences: Sequence[Mapping[str, str]], fetched: Path | None, base: Path | None = None) -> str:
    """The text.

    Args:
        licences: rows of source, licence, attribution.
        fetched: data folder of the fetch artifact, whose NOTICE has the text of every package.
        base: data folder of the corpus that this one grew from; its packages follow, each text once.
    """
    rows = [f"{row['source']}\n  licence: {row['licence']}\n  attribution: {row['attribution']}\n" for row in licences]
    packages = dict.fromkeys(text for data in (fetched, base) if data for text in _packages(data))
    parts = ["The documents of this corpus come from:\n", *rows, *([f"{PACKAGES}\n"] if packages else [])]
    return "\n".join([*parts, *(f"{text}\n" for text in packages)])


def _packages(data: Path) -> list[str]:
    """The text of each package of a NOTICE, with its head."""
    text = (data / "NOTICE").read_text("utf-8")
    begins = [matches.start() for matches in _HEAD.finditer(text)]
    return [text[begin:end].rstrip() for begin, end in pairwise([*begins, len(text)])]
