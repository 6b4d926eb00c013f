"""The [tokenizer] table of a run file."""

import dataclasses
from dataclasses import dataclass

from tokenizer.symbols import required_pieces


@dataclass(frozen=True)
class TokenizerSettings:
    """How the vocabulary is trained; every field decides the bytes that come out."""

    vocab_size: int
    max_characters: int  # of training text; more corpus than this is sampled by line
    # SentencePiece's README: 0.9995 for languages with a rich character set such as Japanese; the rest become bytes.
    character_coverage: float = 0.9995
    max_piece_characters: int = 16  # SentencePiece's default; LLM-jp v2 used 8 for Japanese, 16 for code
    weights: dict[str, float] = dataclasses.field(default_factory=dict)  # share of the text a source; none: as the corpus is
    seed: int = 0  # which lines are drawn where the corpus is larger than max_characters
    threads: int = 2  # for reading the text; recorded in the model file, so part of the identity

    def __post_init__(self) -> None:
        if self.vocab_size <= required_pieces():
            raise ValueError(f"vocab_size = {self.vocab_size}: {required_pieces()} pieces are fixed, it must be larger")
        if self.max_characters < 1 or self.threads < 1 or self.max_piece_characters < 1:
            raise ValueError("max_characters, threads and max_piece_characters must be >= 1")
        if not 0.98 <= self.character_coverage <= 1.0:  # SentencePiece's own bounds
            raise ValueError(f"character_coverage = {self.character_coverage}: expected 0.98 to 1")
        if any(weight < 0 for weight in self.weights.values()) or (self.weights and not any(self.weights.values())):
            raise ValueError(f"weights = {self.weights}: expected numbers >= 0, at least one of them > 0")
