"""Counting without an index: every position of every document is compared with every query that begins like it.

No byte, no suffix and no order is involved: documents and queries are code points. It is the truth that the suffix array
is measured against.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.compiled import compiled

# Stands between documents and is no code point.
_BETWEEN = -1


class Scan:
    """Documents, to be scanned for any number of queries at once."""

    def __init__(self, documents: Sequence[str]) -> None:
        gap = np.array([_BETWEEN], np.int32)
        self._points = np.concatenate([part for text in documents for part in (points_of(text), gap)])

    def count(self, queries: Sequence[str]) -> list[int]:
        """How often each occurs, overlapping occurrences too; none may be empty."""
        parts = [points_of(query) for query in queries]
        begins = np.cumsum([0, *map(len, parts)])
        flat = np.concatenate(parts)
        # queries by their first character, as chains: the first query of a character, and the next one of the same
        head, following = np.full(0x110000, -1, np.int32), np.full(len(parts), -1, np.int32)
        for number, part in enumerate(parts):
            following[number], head[part[0]] = head[part[0]], number
        return _scan(self._points, flat, begins, head, following).tolist()


def points_of(text: str) -> np.ndarray:
    """(characters,) int32 code points."""
    return np.frombuffer(text.encode("utf-32-le"), "<i4")


@compiled
def _scan(text: Any, queries: Any, begins: Any, head: Any, following: Any) -> Any:
    counts = np.zeros(len(begins) - 1, np.int64)
    for place in range(len(text)):
        number = head[text[place]] if text[place] >= 0 else -1
        while number >= 0:
            begin, size = begins[number], begins[number + 1] - begins[number]
            same = 0
            while same < size and place + same < len(text) and text[place + same] == queries[begin + same]:
                same += 1
            counts[number] += same == size
            number = following[number]
    return counts
