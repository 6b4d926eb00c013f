"""What a corpus is made from, opened, and the digest of everything in it that decides the corpus's bytes."""

from dataclasses import dataclass
from typing import Any

from corpus.decontaminate import load_benchmarks
from corpus.filters.rules import Preset, load_preset
from corpus.increment.base import Base, open_base
from corpus.readers import Shard, input_digest, licences_of_source, needs_fetch, plan_shards
from corpus.settings import CorpusSettings
from pipeline.artifact import Manifest, open_sealed
from pipeline.errors import ConfigError
from pipeline.runfile import RunFile


@dataclass(frozen=True)
class Inputs:
    """Sources, their presets, the fetched packages and the base of a run."""

    settings: CorpusSettings
    fetched: Manifest | None
    base: Base | None
    presets: dict[str, Preset]  # of each source
    digests: dict[str, str]

    @property
    def licences(self) -> list[dict[str, Any]]:
        """Rows of source, licence, attribution, each once: fetched packages, sources, what the base came from."""
        rows = [dict(row) for row in self.fetched.body["licences"]] if self.fetched else []
        rows += [licences_of_source(source) for source in self.settings.sources]
        rows += [dict(row) for row in self.base.manifest.body["licences"] if row not in rows] if self.base else []
        return rows

    def shards(self) -> list[Shard]:
        """The sources cut into shards, under names that the base has not used."""
        fetched = self.fetched.data if self.fetched else None
        shards = [shard for source in self.settings.sources for shard in plan_shards(source, fetched)]
        return self.base.name_shards(shards) if self.base else shards


def open_inputs(run: RunFile, settings: CorpusSettings) -> Inputs:
    """Open what the run reads.

    Raises: MissingInput, CorruptArtifact, ConfigError or BadInput where something of it is not there or does not fit.
    """
    fetched = open_sealed(run.root("fetch")) if needs_fetch(settings.sources) else None
    base = open_base(run, settings.base, settings.dedup)
    _check_mask(settings, base)
    presets = {source.name: load_preset(source.preset or settings.preset, settings.rules) for source in settings.sources}
    memory = run.root("corpus").parent / "inputs.json"
    digests = {"fetch": fetched.digest} if fetched else {}
    for source in settings.sources:
        if not source.fetched:
            digests[f"source {source.name}"] = input_digest(source, memory=memory)
    digests |= {f"preset {preset.name}": preset.digest for preset in presets.values()}
    digests |= base.inputs if base else {}
    if benchmarks := _benchmarks(settings, base):
        digests["benchmarks"] = benchmarks
    return Inputs(settings, fetched, base, presets, digests)


def _check_mask(settings: CorpusSettings, base: Base | None) -> None:
    """Raises: ConfigError where new documents would be masked otherwise than the base's, which stay as they are."""
    if base is None:
        return
    ours, theirs = settings.mask.kinds, base.manifest.body["made"]["settings"]["mask"]["kinds"]
    if sorted(ours) != sorted(theirs):
        raise ConfigError(
            f"[corpus.mask] kinds = {list(ours)}, but the base {base.manifest.root} was made with {list(theirs)}, and its "
            "documents are not masked again: set the same, or make the base again"
        )


def _benchmarks(settings: CorpusSettings, base: Base | None) -> str:
    """Digest of the benchmarks that no document holds, "" for none; a run without sources takes over the base's.

    Raises: ConfigError where documents of the base and new ones would be held against different benchmarks.
    """
    ours = load_benchmarks(settings.decontaminate).digest if settings.decontaminate.files else ""
    theirs = base.manifest.inputs.get("benchmarks", "") if base else ours
    if base and ours != theirs and (settings.sources or ours):
        raise ConfigError(
            f"[corpus.decontaminate]: benchmarks {ours[:8] or 'none'}, but the base {base.manifest.root} was made with "
            f"{theirs[:8] or 'none'}, and its documents are not searched again: set the same, or make the base again"
        )
    return theirs
