"""NOTICE of a corpus: licence and attribution of every source, and the copyright texts that came with fetched packages."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

# The heads that `corpus.keep.write_notice` sets before each package's text.
_HEAD = re.compile(r"^={78}\n\S+\n={78}$", re.MULTILINE)
PACKAGES = "The packages they were taken from came with these copyright and licence statements."


def notice(licences: Sequence[Mapping[str, str]], fetched: Path | None, base: Path | None = None) -> str:
    """The text.

    Args:
        licences: rows of source, licence, attribution.
        fetched: data folder of the fetch artifact, whose NOTICE follows them.
        base: data folder of the corpus that this one grew from; of its NOTICE follow the packages that `fetched` has not.
    """
    rows = [f"{row['source']}\n  licence: {row['licence']}\n  attribution: {row['attribution']}\n" for row in licences]
    head, packages = _packages(fetched) if fetched else ("", [])
    packages += _packages(base)[1] if base else []
    parts = ["The documents of this corpus come from:\n", *rows]
    if head or packages:
        parts.append(f"{head or PACKAGES}\n")
    return "\n".join([*parts, *(f"{text}\n" for text in dict.fromkeys(packages))])


def _packages(data: Path) -> tuple[str, list[str]]:
    """What a NOTICE says before the first package, and the text of each package with its head."""
    text = (data / "NOTICE").read_text("utf-8")
    begins = [found.start() for found in _HEAD.finditer(text)]
    packages = [text[begin:end].rstrip() for begin, end in pairwise([*begins, len(text)])]
    return text[: begins[0] if begins else None].rstrip(), packages
