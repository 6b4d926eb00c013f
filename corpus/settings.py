"""`[corpus]` of a run file: the sources, the rules that a document must pass, and the settings of every step."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from corpus.decontaminate import DecontaminateSettings
from corpus.dedup.settings import BoilerplateSettings, DedupSettings
from corpus.increment.settings import BaseSettings
from corpus.pii.mask import MaskSettings
from corpus.records import SourceSettings
from pipeline.runfile import field


@dataclass(frozen=True)
class CorpusSettings:
    """The whole table."""

    sources: tuple[SourceSettings, ...] = ()  # none: only what `base` names is taken over, and let go
    preset: str = "minamoto"  # of `corpus.filters.rules`; a source may name its own
    rules: Mapping[str, float | bool] = dataclasses.field(default_factory=dict)  # changes to it: name = threshold or false
    dedup: DedupSettings = dataclasses.field(default_factory=DedupSettings)
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
