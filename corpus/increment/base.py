"""The sealed corpus that a run extends, as the recipe sees it."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from corpus.dedup.base_corpus import BaseCorpus, renumber
from corpus.dedup.settings import DedupSettings
from corpus.increment import removals
from corpus.increment.settings import BaseSettings
from corpus.readers import Shard
from pipeline.artifact import Artifact, Manifest, open_sealed
from pipeline.runfile import RunFile

Accounts = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Base:
    """A base and what of it is to go."""

    manifest: Manifest
    corpus: BaseCorpus
    selection: removals.Selection

    @property
    def inputs(self) -> dict[str, str]:
        """What of it decides the bytes of the corpus that extends it."""
        result = {"base": self.manifest.digest}
        return result | {"base remove": self.selection.digest} if self.selection else result

    def name_shards(self, shards: Sequence[Shard]) -> list[Shard]:
        """New shards under names that the base has not used."""
        names = renumber([shard.name for shard in shards], self.corpus.names)
        return [dataclasses.replace(shard, name=names[shard.name]) for shard in shards]

    def import_base(self, artifact: Artifact) -> tuple[BaseCorpus, Accounts]:
        """Put the base's files into the artifact, without what is to go. Returns: the base as it is there, its account."""
        removed = removals.import_base(artifact, self.corpus, self.selection)
        accounts = removals.account(self.manifest.stats["sources"], removed)
        return dataclasses.replace(self.corpus, data=artifact.data), accounts


def open_base(run: RunFile, base: BaseSettings, dedup: DedupSettings) -> Base | None:
    """The base of a run, None where it has none.

    Raises: MissingInput, CorruptArtifact or ConfigError if it cannot be extended; BadInput on an entry of `remove`.
    """
    if not base.run:
        return None
    manifest = open_sealed(run.root("corpus").with_name(base.run))
    return Base(manifest, BaseCorpus.open(manifest, dedup), removals.read_selection(base.remove))


def merge_accounts(one: Mapping[str, Mapping[str, Any]], other: Mapping[str, Mapping[str, Any]]) -> Accounts:
    """Two accounts by source added up."""
    total: Accounts = {}
    for name in dict.fromkeys([*one, *other]):
        left, right = one.get(name, {}), other.get(name, {})
        total[name] = {
            key: dict(sorted((Counter(left.get(key, {})) + Counter(right.get(key, {}))).items()))
            if isinstance(left.get(key, right.get(key)), Mapping)
            else left.get(key, 0) + right.get(key, 0)
            for key in dict.fromkeys([*left, *right])
        }
    return total
