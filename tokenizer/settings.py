"""The [tokenizer] table."""

import dataclasses
from dataclasses import dataclass

from pipeline.documents import HELD_OUT_SHARE
from tokenizer.symbols import required_pieces

RECIPES = ("words", "bpe", "bpe-delimited", "unigram", "unigram-delimited", "unigram-filtered", "merged")
# What the stage makes. The others are there to be measured: `tokenizers` and llama.cpp read a unigram in other ways.
EXPORTED_RECIPES = ("words", "bpe", "bpe-delimited")
# What reads words: the stage's tasks cut the text as they draw it.
DELIMITED_RECIPES = ("words", "bpe-delimited", "unigram-delimited", "unigram-filtered")
MAX_VOCAB_SIZE = 800_000  # superwords.py has a private character for each piece, of 851,968
SUPERWORD_CHOICES = ("none", "ja", "all")
GROUPS = ("ja", "en", "code")


@dataclass(frozen=True)
class TokenizerSettings:
    """How the vocabulary is trained; every field decides the bytes that come out."""

    vocab_size: int
    max_characters: int  # of training text; more corpus than this is sampled by line
    recipe: str = "words"  # see train/recipes.py; docs/tokenizer.md has the table that chose the default
    analyzer: str = "mecab"  # what a word is: "mecab", "none", or "package.module:function" (see tokenizer.analyzer)
    # Recipe "words": share of the learned slots for pieces inside words; the others are runs of words. By make tokenizer-lab:
    # with .5 Japanese takes no fewer tokens at 16k, and English 6 % more; see docs/tokenizer.md.
    word_share: float = 0.8
    runs: str = "all"  # which words make runs: "ja", "all" (also English and code: `▁of▁the`), "none"
    # A piece is dropped where more than this share of its uses straddles a word boundary: with .2 the tokens of 32k pieces
    # straddle half as often as raw unigram's or a little more, with .15 less often, for 1 % more tokens.
    straddle_limit: float = 0.15
    straddle_rounds: int = 2
    groups: dict[str, str] = dataclasses.field(default_factory=dict)  # "merged": source -> ja, en, code; else by its characters
    # SentencePiece's README: 0.9995 for languages with a rich character set such as Japanese; the rest become bytes.
    character_coverage: float = 0.9995
    max_piece_characters: int = 16  # SentencePiece's default; LLM-jp v2 used 8 for Japanese, 16 for code
    weights: dict[str, float] = dataclasses.field(default_factory=dict)  # share of the text a source; none: as the corpus is
    held_out_share: float = HELD_OUT_SHARE  # of each source's documents, left out of training; at least [pack] valid_share
    seed: int = 0  # which lines are drawn where the corpus is larger than max_characters
    threads: int = 2  # for reading the text; recorded in the model file, so part of the identity

    def __post_init__(self) -> None:
        if self.vocab_size <= required_pieces():
            raise ValueError(f"vocab_size = {self.vocab_size}: {required_pieces()} pieces are fixed, it must be larger")
        if self.vocab_size > MAX_VOCAB_SIZE:
            raise ValueError(f"vocab_size = {self.vocab_size}: at most {MAX_VOCAB_SIZE}")
        if self.max_characters < 1 or self.threads < 1 or self.max_piece_characters < 1:
            raise ValueError("max_characters, threads and max_piece_characters must be >= 1")
        if not 0.98 <= self.character_coverage <= 1.0:  # SentencePiece's own bounds
            raise ValueError(f"character_coverage = {self.character_coverage}: expected 0.98 to 1")
        if any(weight < 0 for weight in self.weights.values()) or (self.weights and not any(self.weights.values())):
            raise ValueError(f"weights = {self.weights}: expected numbers >= 0, at least one of them > 0")
        if not 0 <= self.held_out_share < 1:
            raise ValueError(f"held_out_share = {self.held_out_share}: expected 0 or more, and less than 1")
        self._check_recipe()

    def _check_recipe(self) -> None:
        for name, value, choices in (("recipe", self.recipe, RECIPES), ("runs", self.runs, SUPERWORD_CHOICES)):
            if value not in choices:
                raise ValueError(f"{name} = {value!r}: expected one of {', '.join(choices)}")
        if odd := sorted({group for group in self.groups.values() if group not in GROUPS}):
            raise ValueError(f"groups = {self.groups}: expected {', '.join(GROUPS)}, not {odd[0]!r}")
        if not 0 < self.word_share <= 1 or not 0 <= self.straddle_limit <= 1 or self.straddle_rounds < 0:
            raise ValueError("word_share must be > 0 and <= 1, straddle_limit 0 to 1, straddle_rounds >= 0")
