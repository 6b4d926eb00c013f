"""Documents that hold items of evaluation benchmarks, found by folded character n-grams and compared exactly."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DecontaminateSettings:
    """`[corpus.decontaminate]`: benchmark files whose items no kept document may hold; no files: switched off."""

    files: tuple[Path, ...] = ()  # JSON or JSONL, SQuAD layout too
    fields: tuple[str, ...] = ()  # texts to look for; (): those of the known layouts
    ngram: int = 13  # folded characters
    min_share: float = 0.8  # of an item's different n-grams: from here on a document holds the item
    shortest: int = 10  # folded characters: an item shorter than `ngram` is sought whole, from here on; others are reported

    def __post_init__(self) -> None:
        if not 1 <= self.shortest <= self.ngram:
            raise ValueError(f"shortest = {self.shortest}, ngram = {self.ngram}: expected 1 <= shortest <= ngram")
        if not 0 < self.min_share <= 1:
            raise ValueError(f"min_share = {self.min_share}: expected a share above 0 and at most 1")
        if len(set(self.files)) != len(self.files) or len(set(self.fields)) != len(self.fields):
            raise ValueError("files, fields: expected each name once")
        if self.fields and not self.files:
            raise ValueError("fields has no effect without files")
