"""Counting without an index: every position of every document is compared with every query that begins like it.

No byte, no suffix and no order is involved: documents and queries are numbers, code points or tokens. Of code points it is
the truth that the suffix array is measured against.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from pipeline.compiled import compiled

# Stands between documents and is no code point and no token.
_BETWEEN = -1
_MAXIMUM = 0x110000  # code points, and more than a vocabulary has pieces


class Scan:
    """Documents, to be scanned for any number of queries at once."""

    def __init__(self, documents: Iterable[np.ndarray]) -> None:
        gap = np.array([_BETWEEN], np.int32)
        self._numbers = np.concatenate([part for numbers in documents for part in (numbers.astype(np.int32, copy=False), gap)])

    def count(self, queries: Sequence[np.ndarray]) -> list[int]:
        """How often each occurs, overlapping occurrences too; none may be empty."""
        begins = np.cumsum([0, *map(len, queries)])
        # queries by their first number, as chains: the first query that begins so, and the next one that does
        head, following = np.full(_MAXIMUM, -1, np.int32), np.full(len(queries), -1, np.int32)
        for number, query in enumerate(queries):
            following[number], head[query[0]] = head[query[0]], number
        return _scan(self._numbers, np.concatenate(queries).astype(np.int32), begins, head, following).tolist()


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
