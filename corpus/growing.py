"""A run that grows from a base: what it reads of it, what it takes over, and the accounts of both together."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from corpus.grow import BaseCorpus, BaseSettings, renumber
from corpus.removals import Selection, account, bring, read_selection
from pipeline.artifact import Artifact, Manifest, open_sealed
from pipeline.errors import ConfigError
from pipeline.runfile import RunFile

if TYPE_CHECKING:
    from corpus.readers import Shard
    from corpus.settings import DedupSettings


@dataclass(frozen=True)
class Growth:
    """A base, and what of it is to go."""

    manifest: Manifest
    selection: Selection

    @classmethod
    def open(cls, run: RunFile, settings: BaseSettings) -> "Growth | None":
        """What a run grows from, or None where it begins with nothing.

        Raises: MissingInput if the base is not sealed; ConfigError if it is this run; as `read_selection`.
        """
        if not settings.run:
            return None
        if settings.run == run.name:
            raise ConfigError(f"[corpus.base] run = {settings.run!r} is this run; a corpus grows into a run of another name")
        root = run.artifacts / "corpus" / settings.run
        return cls(open_sealed(root), read_selection(settings.remove))

    @property
    def inputs(self) -> dict[str, str]:
        """Digests that decide the bytes, by name."""
        found = {"base": self.manifest.digest}
        return found | ({"base remove": self.selection.digest} if self.selection else {})

    def named(self, shards: Sequence["Shard"]) -> list["Shard"]:
        """New shards under names that the base does not use."""
        names = renumber([shard.name for shard in shards], self._shard_names())
        return [dataclasses.replace(shard, name=names[shard.name]) for shard in shards]

    def take_over(self, artifact: Artifact, dedup: "DedupSettings") -> tuple[BaseCorpus, dict[str, dict[str, Any]]]:
        """Bring the base's shards into the artifact; returns them as they stand there, and their account by source."""
        base = BaseCorpus.open(self.manifest, dedup)
        removed = bring(artifact, base, self.selection)
        accounts = account(self.manifest.stats["sources"], removed)
        return dataclasses.replace(base, data=artifact.data), accounts

    def licences(self, new: Iterable[Mapping[str, str]]) -> list[dict[str, str]]:
        """The base's rows and the new ones, each once."""
        rows = [dict(row) for row in [*self.manifest.body["licences"], *new]]
        return [row for place, row in enumerate(rows) if row not in rows[:place]]

    def _shard_names(self) -> list[str]:
        return [path.stem for path in (self.manifest.data / "decisions").glob("*.parquet")]


def add_up(base: Mapping[str, Mapping[str, Any]], new: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Accounts of the base and of what came in anew, by source; a source may be in both."""
    total = {name: dict(counts) for name, counts in base.items()}
    for name, counts in new.items():
        total[name] = _sum(total.get(name, {}), counts)
    return dict(sorted(total.items()))


def _sum(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(one)
    for key, value in other.items():
        if isinstance(value, Mapping):
            found[key] = dict(sorted(_sum(one.get(key, {}), value).items()))
        else:
            found[key] = one.get(key, 0) + value
    return found
