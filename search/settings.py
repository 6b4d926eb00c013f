"""`[index]` of a run file."""

from dataclasses import dataclass

from search.ngram import MOST_BYTES


@dataclass(frozen=True)
class IndexSettings:
    """How the training data is cut into shards and passages, and how large the vectors are."""

    # Text of one shard; building its suffix array takes 8 bytes of memory a byte (measured on 73 MB): 1.1 GB here.
    shard_bytes: int = 128 << 20
    # Characters of a passage: two or three sentences of Japanese prose, what fits a chat message.
    passage_least: int = 100
    passage_most: int = 300
    # R@1 of JSQuAD questions among 38,691 passages (whitened): 128 dimensions .45, 256 .59, 512 .66.
    dimensions: int = 256
    # Character 1- and 2-grams, the most frequent ones: .546 of R@1 with 30,000, .538 with 60,000, .535 with all 143,708.
    features: int = 30_000
    # Passages, evenly spread, that the vectors are fitted on: 8,000 and 16,000 differ by less than .01 of R@1.
    fit_passages: int = 8_000

    def __post_init__(self) -> None:
        if not 1 <= self.passage_least <= self.passage_most:
            raise ValueError("passage_least must be between 1 and passage_most")
        if min(self.dimensions, self.features, self.fit_passages) < 1:
            raise ValueError("dimensions, features and fit_passages must be at least 1")
        if not 1 <= self.shard_bytes < MOST_BYTES // 2:
            raise ValueError(f"shard_bytes must be between 1 and {MOST_BYTES // 2}: offsets are int32")
