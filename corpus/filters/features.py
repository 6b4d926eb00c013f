"""What rules read beside the statistics of the text: how well it compresses, where it comes from, how much of it was linked."""

import zlib
from collections.abc import Callable, Sequence

import numpy as np

from corpus.filters.hosts import HostLists

# Columns of the table after those of `corpus.stats.measure`; one that no rule of the preset reads stays 0.
FEATURES = (
    "filled",  # 1 where the text has any character that Python's str.strip leaves
    "compressed_bytes",  # of the UTF-8 text by zlib at level 9, as LLM-jp v1 measures compression
    "linked",  # visible characters of the extracted text that was in links
    "host_allowed",  # 1 or 0, by the preset's [hosts]
    "host_denied",
    "extension_allowed",
)


def measure_features(
    texts: Sequence[str], urls: Sequence[str], hosts: HostLists, wanted: frozenset[str], linked: Sequence[int] | None = None
) -> np.ndarray:
    """Features of every text: (documents, len(FEATURES)) int64.

    Args:
        wanted: names of FEATURES that a rule reads; the others are not computed.
        linked: characters that was in links; None: unknown, counted as 0.
    """
    of_text: dict[str, Callable[[str], int]] = {
        "filled": lambda text: text != "" and not text.isspace(),
        "compressed_bytes": lambda text: len(zlib.compress(text.encode(), 9)),
    }
    of_url: dict[str, Callable[[str], bool]] = {
        "host_allowed": hosts.allowed,
        "host_denied": hosts.denied,
        "extension_allowed": hosts.extension_allowed,
    }
    table_DF = np.zeros((len(texts), len(FEATURES)), np.int64)
    for index, name in enumerate(FEATURES):
        if name not in wanted:
            continue
        if name == "linked":
            table_DF[:, index] = 0 if linked is None else linked
        elif name in of_text:
            table_DF[:, index] = [of_text[name](text) for text in texts]
        else:
            table_DF[:, index] = [of_url[name](url) for url in urls]
    return table_DF
