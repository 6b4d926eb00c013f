"""The normalized view of one shard: a second n-gram index, over the folded text, that answers in bytes of the text.

text.u8, suffixes.*, fences.u8    of the folded text, see search/exact/suffix_array.py
origins.*.npy                     see fold.py
rules.txt                         digest of the rules that folded it, see fold.py
"""

from pathlib import Path

import numpy as np

from pipeline.errors import CorruptArtifact, RecipeDrift
from search.exact import suffix_array
from search.exact.suffix_array import NO_RANGES
from search.normalized.fold import OffsetMap, compute_rules_digest, fold_bytes, fold_query

RULES = "rules.txt"


def build(text: np.ndarray, folder: Path) -> dict[str, int]:
    """Write the view of a shard; beside the text takes the folded text, and 7 bytes of memory for each byte of it.

    Args:
        text: (bytes,) uint8, documents each followed by 0xFF.
    Returns: bytes of the folded text and its characters.
    """
    folded, origins = fold_bytes(text)
    origins.save(folder)
    (folder / RULES).write_text(compute_rules_digest() + "\n", "utf-8")
    return {"bytes": len(folded), "characters": suffix_array.build(folded, folder)}


class NormalView:
    """An opened view. Queries are any text; they are folded here."""

    def __init__(self, folder: Path, text_bytes: int, removed: np.ndarray = NO_RANGES) -> None:
        """Open what `build` wrote.

        Args:
            text_bytes: of the shard's own text.u8.
            removed: (R, 2) int64 ranges of that text.u8, whole documents, ascending and disjoint, in which nothing is found.
        Raises: CorruptArtifact if a file is missing or does not fit; RecipeDrift if this code folds otherwise.
        """
        try:
            rules, size = (folder / RULES).read_text("utf-8").strip(), (folder / suffix_array.TEXT).stat().st_size
        except (OSError, ValueError) as error:
            raise CorruptArtifact(f"{folder}: not a readable normalized view ({error}); make the index again") from error
        if rules != (current := compute_rules_digest()):
            raise RecipeDrift(f"{folder}: folded by rules {rules}, this code folds by {current}; make the index again")
        self.origins = OffsetMap.open(folder, size, text_bytes)
        if len(removed):
            removed = self.origins.offsets(removed.reshape(-1)).reshape(-1, 2)
        self.suffixes = suffix_array.SuffixArray(folder, removed)

    def count(self, query: str) -> int:
        """How often the folded query occurs in the folded text; one … there is three dots."""
        return self.suffixes.count(fold_query(query).encode())

    def spans(self, query: str) -> np.ndarray:
        """What the query finds.

        Returns: (n, 2) int64, bytes of the shard's text, whole characters, in ascending order, each once; they may overlap.
        """
        key = fold_query(query).encode()
        begins = self.suffixes.positions(*self.suffixes.range(key))
        spans = self.origins.origins(begins, begins + len(key))
        # Both texts have the same order, so equal spans are neighbours.
        return spans[np.append(True, (np.diff(spans, axis=0) != 0).any(1))[: len(spans)]]
