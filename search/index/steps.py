"""The parallel steps that an index and an addition to it have in common."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.artifact import Artifact, Manifest
from pipeline.documents import document_files
from pipeline.shards import map_shards
from search.settings import IndexSettings


@dataclass(frozen=True)
class Trained:
    """The folders from which it is known when training read a document."""

    order: Path
    pack: Path
    tokenizer: Path

    @classmethod
    def of(cls, manifests: Mapping[str, Manifest]) -> "Trained":
        """From the sealed artifacts "pretrain", "pack" and "tokenizer"."""
        return cls(manifests["pretrain"].data / "order", manifests["pack"].data, manifests["tokenizer"].data)

    def iterations(self) -> int:
        """How many iterations the training had."""
        from pipeline.reading_order import Order

        return Order.open(self.order, self.pack).total


def index_texts(
    artifact: Artifact, corpus: Manifest, trained: Trained, settings: IndexSettings, **more: Any
) -> dict[str, dict[str, Any]]:
    """Write text and suffix arrays of a corpus, one Ray task for each shard.

    Args:
        more: `unread` and `known` of `tasks.TextShard`.
    Returns: for each shard, by its name, what `tasks.index_text` returns.
    """
    from search.index import tasks

    parts = enumerate(tasks.plan_shards(document_files(corpus), settings.shard_bytes))
    shards = {
        f"{number:05}": tasks.TextShard(
            name=f"{number:05}",
            rows=rows,
            data=artifact.data,
            order=trained.order,
            pack=trained.pack,
            tokenizer=trained.tokenizer,
            settings=settings,
            **more,
        )
        for number, rows in parts
    }
    return map_shards(tasks.index_text, shards, artifact, step="text", label="索引 (n-gram)")


def count_duplicates(artifact: Artifact, corpus: Manifest) -> dict[str, Any]:
    """Count the duplicates that the corpus left out, by their kept representative."""
    from search.index import tasks

    task = tasks.CountDuplicates(tuple(sorted((corpus.data / "clusters").glob("*.parquet"))), artifact.data)
    return map_shards(tasks.count_duplicates, {"copies": task}, artifact, step="copies", label="索引 (重複の数)")["copies"]


def fit_embedding(artifact: Artifact, shards: Mapping[str, Mapping[str, Any]], settings: IndexSettings) -> dict[str, Any]:
    """Fit one embedding for all passages; returns what identifies it."""
    from search.index import tasks

    counts = tuple((name, stats["passages"]) for name, stats in shards.items())
    task = tasks.FitTask(counts, artifact.data, settings)
    return map_shards(tasks.fit_embedding, {"model": task}, artifact, step="fit", label="索引 (埋め込みの学習)")["model"]


def index_vectors(artifact: Artifact, shards: Sequence[str], model: Path, settings: IndexSettings) -> None:
    """Write the vectors of every shard's passages, made by the embedding in `model`."""
    from search.index import tasks

    vectors = {name: tasks.VectorShard(name, artifact.data, model, settings.neighbours) for name in shards}
    map_shards(tasks.index_vectors, vectors, artifact, step="vectors", label="索引 (ベクトル)")


def sum_totals(shards: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Add up the counts of all shards, and the documents of each source."""
    names = ("documents", "unread", "known", "passages", "bytes", "characters")
    sources: Counter[str] = Counter()
    for stats in shards.values():
        sources.update(stats["sources"])
    return {name: sum(stats[name] for stats in shards.values()) for name in names} | {"sources": dict(sorted(sources.items()))}
