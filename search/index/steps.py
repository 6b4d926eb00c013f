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
    """What says when a document was read."""

    order: Path
    pack: Path
    tokenizer: Path

    @classmethod
    def of(cls, found: Mapping[str, Manifest]) -> "Trained":
        """From the sealed artifacts "pretrain", "pack" and "tokenizer"."""
        return cls(found["pretrain"].data / "order", found["pack"].data, found["tokenizer"].data)

    def iterations(self) -> int:
        """How many iterations the training had."""
        from pipeline.reading_order import Order

        return Order.open(self.order, self.pack).total


def index_texts(
    artifact: Artifact, corpus: Manifest, trained: Trained, settings: IndexSettings, **more: Any
) -> dict[str, dict[str, Any]]:
    """Text and suffix arrays of a corpus, a Ray task a shard.

    Args:
        more: `unread` and `known` of `build.TextShard`.
    Returns: what each shard counted, by its name.
    """
    from search.index import tasks as build

    parts = enumerate(build.plan(document_files(corpus), settings.shard_bytes))
    tasks = {
        f"{number:05}": build.TextShard(
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
    return map_shards(build.index_text, tasks, artifact, step="text", label="索引 (n-gram)")


def count_copies(artifact: Artifact, corpus: Manifest) -> dict[str, Any]:
    """How many copies the corpus left out, by the document that stands for them."""
    from search.index import tasks as build

    task = build.CountCopies(tuple(sorted((corpus.data / "clusters").glob("*.parquet"))), artifact.data)
    return map_shards(build.count_copies, {"copies": task}, artifact, step="copies", label="索引 (写し)")["copies"]


def fit_embedding(artifact: Artifact, shards: Mapping[str, Mapping[str, Any]], settings: IndexSettings) -> dict[str, Any]:
    """The embedding of all passages."""
    from search.index import tasks as build

    counts = tuple((name, stats["passages"]) for name, stats in shards.items())
    task = build.FitTask(counts, artifact.data, settings)
    return map_shards(build.fit_embedding, {"model": task}, artifact, step="fit", label="索引 (埋め込みの学習)")["model"]


def index_vectors(artifact: Artifact, shards: Sequence[str], model: Path, settings: IndexSettings) -> None:
    """Vectors of every shard's passages, by the embedding in `model`."""
    from search.index import tasks as build

    tasks = {name: build.VectorShard(name, artifact.data, model, settings.neighbours) for name in shards}
    map_shards(build.index_vectors, tasks, artifact, step="vectors", label="索引 (ベクトル)")


def totals(made: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What all shards counted together, with the documents of each source."""
    names = ("documents", "unread", "known", "passages", "bytes", "characters")
    sources: Counter[str] = Counter()
    for stats in made.values():
        sources.update(stats["sources"])
    return {name: sum(stats[name] for stats in made.values()) for name in names} | {"sources": dict(sorted(sources.items()))}
