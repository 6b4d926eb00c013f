"""`[corpus]` of a run file: what goes in, what a document must be like to stay, how like is too like."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from corpus.decontaminate import DecontaminateSettings
from corpus.dedup.base_corpus import BaseSettings
from corpus.dedup.boilerplate import BoilerplateSettings
from corpus.pii.mask import MaskSettings
from corpus.records import SourceSettings
from pipeline.runfile import field


@dataclass(frozen=True)
class DedupSettings:
    """MinHash near-duplicates (Broder 1997) with LSH bands: a pair of similarity J meets with 1 - (1 - J^rows)^bands."""

    shingle: int = 5  # characters; Japanese has no spaces to cut words at; Swallow's width
    # benchmarks/corpus/recall.py on 4,000 documents: recall .982 at J >= .7, .9997 at J >= .8, where datatrove's 14 × 8 has
    # .932 and .990 and LLM-jp's 20 × 10 .924 and .988; the price is six more keys a document, of 8 bytes.
    bands: int = 20
    rows: int = 7
    min_similarity: float = 0.8  # exact Jaccard of the shingle sets, checked for every pair that met; LLM-jp v4, FineWeb
    window: int = 64  # in a crowded bucket a document meets this many neighbours, so work stays linear in its size

    def __post_init__(self) -> None:
        if min(self.shingle, self.bands, self.rows, self.window) < 1 or not 0 < self.min_similarity <= 1:
            raise ValueError("shingle, bands, rows and window must be 1 or more, min_similarity above 0 and at most 1")


@dataclass(frozen=True)
class CorpusSettings:
    """The whole table."""

    sources: tuple[SourceSettings, ...] = ()  # none: only what `base` names is taken over, and let go
    preset: str = "minamoto"  # of `corpus.rules`; a source may name its own
    rules: Mapping[str, float | bool] = dataclasses.field(default_factory=dict)  # changes to it: name = threshold or false
    dedup: DedupSettings = DedupSettings()
    boilerplate: BoilerplateSettings = dataclasses.field(default_factory=BoilerplateSettings)
    decontaminate: DecontaminateSettings = dataclasses.field(default_factory=DecontaminateSettings)
    mask: MaskSettings = dataclasses.field(default_factory=MaskSettings)
    base: BaseSettings = dataclasses.field(default_factory=BaseSettings)
    max_failed_share: float = field(0.05)  # damaged or undecodable records a source may have before the run stops

    def __post_init__(self) -> None:
        names = [source.name for source in self.sources]
        if not (names or self.base.run) or len(set(names)) != len(names):
            raise ValueError(
                f"sources: expected one or more [[corpus.sources]] with different names, or none and [corpus.base], got {names}"
            )
        if not 0 <= self.max_failed_share <= 1:
            raise ValueError(f"max_failed_share = {self.max_failed_share}: expected a share from 0 to 1")
