"""The text of all shards: what occurs where, how often, and what is after it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.errors import CorruptArtifact
from search.exact.suffix_array import find_character_begins
from search.shard.catalog import Catalog, Part
from search.shard.store import DUPLICATES, Duplicates, Shard


@dataclass(frozen=True)
class Spread:
    """Over how many documents the occurrences of a string spread."""

    occurrences: int  # in the text that is searched; they may overlap
    documents: int  # distinct documents; the corpus keeps one of each cluster of near-duplicates
    crawled: int  # documents before near-duplicates were left out

    def as_dict(self) -> dict[str, int]:
        """As JSON values."""
        return vars(self).copy()


class Texts:
    """The opened shards of one state of an index; any number of them answers as one would. For many threads."""

    def __init__(self, catalog: Catalog) -> None:
        """Raises: CorruptArtifact if a shard is missing, damaged, or not what its manifest counted."""
        self.shards = [_open(part, catalog) for part in catalog.parts()]
        self.duplicates = Duplicates(catalog.index.data / DUPLICATES)
        self.digest = catalog.digest
        self.searched_bytes = sum(shard.text_bytes for shard in self.shards)
        self.characters = sum(shard.suffixes.count_kept(0, shard.suffixes.size) for shard in self.shards)

    def ranges(self, text: str) -> list[tuple[int, int]]:
        """Ranks of the suffixes that begin with `text`, for each shard."""
        key = text.encode()
        return [shard.suffixes.range(key) for shard in self.shards]

    def count(self, text: str) -> int:
        """How often `text` occurs, character for character; occurrences may overlap."""
        key = text.encode()
        return sum(shard.suffixes.count(key) for shard in self.shards)

    def offsets(self, text: str) -> Iterator[tuple[Shard, np.ndarray]]:
        """Every occurrence: byte offsets in each shard's text, ascending, shards without any left out."""
        for shard, matches in zip(self.shards, self.ranges(text), strict=True):
            offsets = shard.suffixes.positions(*matches)
            if len(offsets):
                yield shard, offsets

    def spread(self, text: str) -> "Spread":
        """How the occurrences of `text` spread over documents, and over what was crawled."""
        occurrences = documents = left_out = 0
        for shard, offsets in self.offsets(text):
            numbers = shard.documents_of(offsets)
            occurrences, documents = occurrences + len(offsets), documents + len(numbers)
            if len(self.duplicates):
                left_out += sum(self.duplicates.of(shard.document(number).doc_id) for number in numbers)
        return Spread(occurrences, documents, documents + left_out)

    def matches(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Matching statistics: the longest part of `text` that occurs, from each of its characters on.

        Returns: (begins, lengths), (characters,) int64 each, in bytes of UTF-8.
        """
        key = text.encode()
        begins = find_character_begins(key)
        lengths = np.zeros(len(begins), np.int64)
        for shard in self.shards:
            shard.suffixes.extend_matches(key, begins, lengths)
        return begins, lengths

    def count_following(self, text: str) -> Counter[str]:
        """Which characters are after `text`, and how often; "" for the end of a document."""
        matches: Counter[str] = Counter()
        for shard in self.shards:
            matches.update(shard.suffixes.count_following(text.encode()))
        return matches


def _open(part: Part, catalog: Catalog) -> Shard:
    shard = Shard(part.data, part.name, catalog.removed)
    if shard.passages != part.passages:
        raise CorruptArtifact(
            f"{part.data.parent}: shard {part.name} has {shard.passages} passages, the manifest says {part.passages}; "
            "make the index again"
        )
    return shard
