"""The three tasks that make an index: text and suffixes of a shard, the embedding of all, the vectors of a shard."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.documents import BATCH_ROWS, doc_id_array
from pipeline.errors import BadInput, CorruptArtifact
from pipeline.files import atomic_path
from search.exact import suffix_array
from search.exact.kernels import SEPARATOR
from search.exact.suffix_array import MAX_BYTES
from search.index.passages import cut_passages
from search.normalized import view
from search.settings import AnyKind, IndexSettings
from search.shard import store
from search.shard.reads import ReadsWriter
from search.vectors import nearest
from search.vectors.embedder import BATCH, Embedder
from search.vectors.factory import make_embedder, open_embedder, sample_size

if TYPE_CHECKING:
    from pipeline.reading_order import Order
    from tokenizer.encode import Tokenizer

# Documents encoded at a time, so that few tokens are in memory.
DOCUMENTS_PER_BATCH = 256


@dataclass(frozen=True)
class Rows:
    """Some neighbouring rows of one row group of a documents file."""

    path: Path
    group: int
    begin: int
    end: int


@dataclass(frozen=True)
class TextShard:
    """Arguments of `index_text`."""

    name: str
    rows: tuple[Rows, ...]
    data: Path  # the index artifact's data
    order: Path
    pack: Path
    tokenizer: Path
    settings: IndexSettings
    unread: bool = False  # also index documents that training has not read
    known: tuple[tuple[Path, str], ...] = ()  # shards (data, name) whose documents are left out


@dataclass(frozen=True)
class FitTask:
    """Arguments of `fit_embedding`."""

    passages: tuple[tuple[str, int], ...]  # name and passages of each shard, in corpus order
    data: Path
    settings: IndexSettings


@dataclass(frozen=True)
class VectorShard:
    """Arguments of `index_vectors`."""

    name: str
    data: Path
    model: Path  # folder of the embedding
    kind: AnyKind = "auto"


def plan_shards(files: Sequence[Path], shard_bytes: int) -> list[tuple[Rows, ...]]:
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
    """Write text, suffix array, documents, passages and reads of one shard.

    Returns: documents indexed, unread and known; passages, bytes, characters, and documents by source.
    Raises: BadInput if the shard is too large; CorruptArtifact if a document is not what training read.
    """
    from pipeline.reading_order import Order
    from tokenizer.encode import Tokenizer

    order, tokenizer = Order.open(shard.order, shard.pack), Tokenizer.load(shard.tokenizer)
    sizes_V = np.array([len(tokenizer.token_bytes(token)) for token in range(tokenizer.vocab_size)], np.int64)
    least, most = shard.settings.passage_least, shard.settings.passage_most
    text, rows, documents, passages, reads = bytearray(), [], [], [], ReadsWriter()
    left_out: Counter[str] = Counter()
    for row, tokens in _encode_documents(_select_documents(shard, order, left_out), tokenizer):
        documents.append(len(text))
        rows.append([row[name] or "" for name in store.COLUMNS])
        for begin, end in cut_passages(row["text"], least=least, most=most):
            passages.append(len(text))
            text += row["text"][begin:end].encode()
        reads.add(*_find_samples(order, row, np.cumsum([0, *sizes_V[tokens]]), len(text) - documents[-1]))
        text.append(SEPARATOR)
        if len(text) > MAX_BYTES:
            raise BadInput(
                f"index shard {shard.name}: more than {MAX_BYTES:,} bytes of text; "
                f"set a smaller [index] shard_bytes (now {shard.settings.shard_bytes:,})"
            )
    characters = 0
    if passages:
        with atomic_path(shard.data / store.SHARDS / shard.name) as folder:
            folder.mkdir()
            store.write(folder, rows, documents, passages, len(text))
            reads.save(folder)
            characters = suffix_array.build(np.frombuffer(text, np.uint8), folder)
            if shard.settings.normalized:
                (folder / store.NORMAL).mkdir()
                view.build(np.frombuffer(text, np.uint8), folder / store.NORMAL)
    sources = Counter(row[store.COLUMNS.index("source")] for row in rows)
    return {
        "documents": len(rows),
        "unread": left_out["unread"],
        "known": left_out["known"],
        "passages": len(passages),
        "bytes": len(text) - len(rows),
        "characters": characters,
        "sources": dict(sorted(sources.items())),
    }


def _select_documents(shard: TextShard, order: "Order", left_out: Counter[str]) -> Iterator[dict[str, Any]]:
    """The documents to index; the others are counted in `left_out`."""
    known = [store.Ids(data / store.SHARDS / name) for data, name in shard.known]
    for row in _read_documents(shard.rows):
        if any(row["doc_id"] in ids for ids in known):
            left_out["known"] += 1
        elif shard.unread or order.was_read(row["source"], row["doc_id"]):
            yield row
        else:
            left_out["unread"] += 1


def _find_samples(
    order: "Order", row: Mapping[str, str], token_begins: np.ndarray, size: int
) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """Where the document's tokens begin, and the samples that training cut it into; none where it is not in the training data.

    Raises: CorruptArtifact if the text that training read has another length.
    """
    tokens, samples = order.samples(row["source"], row["doc_id"])
    if samples and (len(token_begins), int(token_begins[-1])) != (tokens, size):
        raise CorruptArtifact(
            f"document {row['doc_id']} of {row['source']!r}: {len(token_begins)} tokens of {int(token_begins[-1])} bytes, "
            f"training read {tokens} tokens of {size} bytes; make corpus, tokenizer, pack and pretrain of one run"
        )
    return token_begins, samples


@dataclass(frozen=True)
class CountDuplicates:
    """Arguments of `count_duplicates`."""

    clusters: tuple[Path, ...]  # Parquet files with one row for each duplicate
    data: Path


def count_duplicates(task: CountDuplicates) -> dict[str, Any]:
    """Write copies/: how many duplicates were left out in favour of each document; 16 bytes of memory for each duplicate."""
    import pyarrow.parquet as pq

    matches = [np.empty(0, store.ID)]
    for path in task.clusters:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH_ROWS * 64, columns=["survivor"]):
                matches.append(doc_id_array(batch["survivor"].to_pylist()).reshape(-1).view(store.ID))
    ids, counts = np.unique(np.concatenate(matches), return_counts=True)
    with atomic_path(task.data / store.DUPLICATES) as folder:
        folder.mkdir()
        store.write_duplicates(folder, ids, counts)
    return {"documents_with_copies": len(ids), "copies": int(counts.sum())}


def fit_embedding(task: FitTask) -> dict[str, Any]:
    """Fit the embedding on passages evenly spread over all shards, and write vector/model."""
    total = sum(count for _, count in task.passages)
    size = min(sample_size(task.settings), total)
    sampled = np.arange(size, dtype=np.int64) * total // size
    texts, before = [], 0
    for name, count in task.passages:
        inside = sampled[(sampled >= before) & (sampled < before + count)] - before
        texts += store.Shard(task.data, name).passage_texts(inside.tolist())
        before += count
    result = make_embedder(task.settings, texts)
    with atomic_path(task.data / store.VECTOR / store.MODEL) as folder:
        folder.mkdir()
        result.save(folder)
    return {"fitted_on": size, **result.identity.as_dict()}


def index_vectors(shard: VectorShard) -> dict[str, Any]:
    """Embed the passages of one shard and write vector/NNNNN."""
    from threadpoolctl import threadpool_limits

    opened = store.Shard(shard.data, shard.name)
    embedder = open_embedder(shard.model)
    count = opened.passages
    with threadpool_limits(1), atomic_path(shard.data / store.VECTOR / shard.name) as folder:
        folder.mkdir()
        batches = _embed_passages(opened, embedder, range(count))
        return nearest.build(batches, folder, count=count, identity=embedder.identity, kind=shard.kind)


def _embed_passages(shard: store.Shard, embedder: Embedder, passages: Sequence[int]) -> Iterator[np.ndarray]:
    for begin in range(0, len(passages), BATCH):
        yield embedder.embed(shard.passage_texts(passages[begin : begin + BATCH]))


def _encode_documents(
    documents: Iterator[dict[str, Any]], tokenizer: "Tokenizer"
) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """Documents and their tokens, a batch at a time in memory."""
    while batch := list(islice(documents, DOCUMENTS_PER_BATCH)):
        yield from zip(batch, tokenizer.encode_arrays(row["text"] for row in batch), strict=True)


def _read_documents(rows: Sequence[Rows]) -> Iterator[dict[str, Any]]:
    """Documents of some row ranges, in order, a batch at a time in memory."""
    import pyarrow.parquet as pq

    for part in rows:
        with pq.ParquetFile(part.path) as file:
            offset = 0
            for batch in file.iter_batches(BATCH_ROWS, row_groups=[part.group], columns=[*store.COLUMNS, "text"]):
                first, last = max(part.begin - offset, 0), min(part.end - offset, batch.num_rows)
                offset += batch.num_rows
                if first < last:
                    yield from batch.slice(first, last - first).to_pylist()
