"""The three tasks that make an index: text and suffixes of a shard, the embedding of all, the vectors of a shard."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.documents import BATCH_ROWS
from pipeline.errors import BadInput
from pipeline.files import whole_path
from search import embed, ngram, store, vector
from search.passages import cut
from search.settings import IndexSettings


@dataclass(frozen=True)
class Rows:
    """Some neighbouring rows of one row group of a documents file."""

    path: Path
    group: int
    begin: int
    end: int


@dataclass(frozen=True)
class TextShard:
    """What `index_text` needs to know."""

    name: str
    rows: tuple[Rows, ...]
    data: Path  # the index artifact's data
    order: Path
    pack: Path
    settings: IndexSettings


@dataclass(frozen=True)
class FitTask:
    """What `fit_embedding` needs to know."""

    passages: tuple[tuple[str, int], ...]  # name and passages of each shard, in corpus order
    data: Path
    settings: IndexSettings


@dataclass(frozen=True)
class VectorShard:
    """What `index_vectors` needs to know."""

    name: str
    data: Path


def plan(files: Sequence[Path], shard_bytes: int) -> list[tuple[Rows, ...]]:
    """Cut the corpus, in its canonical order, into shards of about `shard_bytes` of text; reads no row."""
    import pyarrow.parquet as pq

    shards: list[tuple[Rows, ...]] = []
    filling: list[Rows] = []
    filled = 0
    for path in files:
        with pq.ParquetFile(path) as file:
            text = file.schema.names.index("text")
            for group in range(file.num_row_groups):
                about = file.metadata.row_group(group)
                size, count = about.column(text).total_uncompressed_size, about.num_rows
                parts = max(min(-(-size // shard_bytes), count), 1)
                for part in range(parts):
                    if filling and filled + size // parts > shard_bytes:
                        shards.append(tuple(filling))
                        filling, filled = [], 0
                    filling.append(Rows(path, group, count * part // parts, count * (part + 1) // parts))
                    filled += size // parts
    return [*shards, tuple(filling)] if filling else shards


def index_text(shard: TextShard) -> dict[str, Any]:
    """Write text, suffix array, documents and passages of one shard; only of documents that training has read.

    Returns: documents read and not read, passages, bytes, characters, and documents by source.
    """
    from pretrain.order import Order

    order = Order.open(shard.order, shard.pack)
    least, most = shard.settings.passage_least, shard.settings.passage_most
    text, rows, documents, passages = bytearray(), [], [], []
    sources: Counter[str] = Counter()
    unread = 0
    for row in _documents(shard.rows):
        if not order.read(row["source"], row["doc_id"]):
            unread += 1
            continue
        documents.append(len(text))
        rows.append([row[name] or "" for name in store.COLUMNS])
        sources[row["source"]] += 1
        for begin, end in cut(row["text"], least=least, most=most):
            passages.append(len(text))
            text += row["text"][begin:end].encode()
        text.append(ngram.SEPARATOR)
        if len(text) > ngram.MOST_BYTES:
            raise BadInput(
                f"index shard {shard.name}: more than {ngram.MOST_BYTES:,} bytes of text, offsets are int32; "
                f"set a smaller [index] shard_bytes (now {shard.settings.shard_bytes:,})"
            )
    characters = 0
    if passages:
        with whole_path(shard.data / store.PASSAGES / shard.name) as folder:
            folder.mkdir()
            store.write(folder, rows, documents, passages, len(text))
        with whole_path(shard.data / store.NGRAM / shard.name) as folder:
            folder.mkdir()
            characters = ngram.build(np.frombuffer(text, np.uint8), folder)
    return {
        "documents": len(rows),
        "unread": unread,
        "passages": len(passages),
        "bytes": len(text) - len(rows),
        "characters": characters,
        "sources": dict(sorted(sources.items())),
    }


def fit_embedding(task: FitTask) -> dict[str, Any]:
    """Fit the embedding on passages evenly spread over all shards, and write vector/model."""
    total = sum(count for _, count in task.passages)
    size = min(task.settings.fit_passages, total)
    wanted = np.arange(size, dtype=np.int64) * total // size
    texts, before = [], 0
    for name, count in task.passages:
        inside = wanted[(wanted >= before) & (wanted < before + count)] - before
        texts += store.Shard(task.data, name).passage_texts(inside.tolist())
        before += count
    fitted = embed.fit(texts, features_kept=task.settings.features, dimensions=task.settings.dimensions)
    with whole_path(task.data / store.VECTOR / "model") as folder:
        folder.mkdir()
        fitted.save(folder)
    return {"fitted_on": size, "features": len(fitted.vocabulary), "dimensions": fitted.dimensions}


def index_vectors(shard: VectorShard) -> dict[str, Any]:
    """Embed the passages of one shard and write vector/NNNNN.faiss."""
    from threadpoolctl import threadpool_limits

    opened = store.Shard(shard.data, shard.name)
    embedder = embed.Embedder.open(shard.data / store.VECTOR / "model")
    count = opened.passages
    size = vector.training_size(count)
    sample = [number * count // size for number in range(size)]
    with threadpool_limits(1), whole_path(shard.data / store.VECTOR / f"{shard.name}.faiss") as path:
        training = np.concatenate([np.empty((0, embedder.dimensions), np.float32), *_embedded(opened, embedder, sample)])
        vector.build(_embedded(opened, embedder, range(count)), training, count, path)
    return {"vectors": count}


def _embedded(shard: store.Shard, embedder: embed.Embedder, passages: Sequence[int]) -> Iterator[np.ndarray]:
    for begin in range(0, len(passages), embed.BATCH):
        yield embedder.embed(shard.passage_texts(passages[begin : begin + embed.BATCH]))


def _documents(rows: Sequence[Rows]) -> Iterator[dict[str, Any]]:
    """Documents of some row ranges, in order, a batch at a time in memory."""
    import pyarrow.parquet as pq

    for part in rows:
        with pq.ParquetFile(part.path) as file:
            place = 0
            for batch in file.iter_batches(BATCH_ROWS, row_groups=[part.group], columns=[*store.COLUMNS, "text"]):
                first, last = max(part.begin - place, 0), min(part.end - place, batch.num_rows)
                place += batch.num_rows
                if first < last:
                    yield from batch.slice(first, last - first).to_pylist()
