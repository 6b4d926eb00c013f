"""Training text: sentences of the corpus, drawn per source; the same corpus gives the same text on every machine.

What a document offers depends on the seed, its id and its source's share alone, so that files are read in any order, by
any number of processes; only what is taken of the offers, up to a source's budget, goes through them in canonical order.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from random import Random

from pipeline.artifact import Artifact
from pipeline.documents import read_documents
from pipeline.errors import BadInput, ConfigError
from pipeline.files import whole_path
from pipeline.shards import map_shards

# A sentence goes into training whole up to here; SentencePiece's BPE trainer refuses positions above 65,535.
LINE_CHARACTERS = 4096
# No piece reaches over the end of a sentence: training never sees what follows it.
_SENTENCE_END = re.compile(r"(?<=[。！？])")
BATCH_ROWS = 256  # documents a task or a reader of its offers holds at once

Offer = tuple[str, list[str]]  # source, sentences of one document


@dataclass
class Sample:
    """Sentences by source, in canonical document order, and how many characters they have."""

    sentences: dict[str, list[str]] = field(default_factory=dict)
    characters: Counter[str] = field(default_factory=Counter)

    def __iter__(self) -> Iterator[str]:
        for source in sorted(self.sentences):
            yield from self.sentences[source]


@dataclass(frozen=True)
class DrawShard:
    """One file of the corpus to draw from."""

    documents: Path
    shares: dict[str, float]  # source -> probability of a line
    seed: int
    output: Path  # `.parquet`: a row a document that offers anything


def draw(files: Sequence[Path], weights: Mapping[str, float], max_characters: int, seed: int) -> Sample:
    """Draw at most `max_characters` of the documents in `files`, in this process.

    Args:
        weights: share of the characters each source gets, any scale; empty: as the corpus is.
    Raises: BadInput if there is no text; ConfigError if `weights` names a source that the corpus has not.
    """
    budgets, shares = _plan(map(count_characters, files), weights, max_characters)
    return _filled((row for path in files for row in offers(path, shares, seed)), budgets)


def draw_shards(
    files: Sequence[Path], weights: Mapping[str, float], max_characters: int, seed: int, artifact: Artifact
) -> Sample:
    """`draw`, with the same result, as a Ray task a file; a task holds a batch of documents, this process the sample.

    Args:
        files: in canonical order; the names of their receipts and of the offers in `artifact.work` are their stems.
    """
    named = {path.stem: path for path in files}
    counts = map_shards(count_characters, named, artifact, step="count", label="文字数")
    budgets, shares = _plan(counts.values(), weights, max_characters)
    shards = {name: DrawShard(path, shares, seed, artifact.work / "offers" / f"{name}.parquet") for name, path in named.items()}
    map_shards(write_offers, shards, artifact, step="draw", label="抽出")
    return _filled((row for name in named for row in _read_offers(shards[name].output)), budgets)


def write_offers(shard: DrawShard) -> dict[str, int]:
    """Write what every document of a file offers; returns how many documents offer something."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("source", pa.string()), ("sentences", pa.list_(pa.string()))])
    rows, count = offers(shard.documents, shard.shares, shard.seed), 0
    with whole_path(shard.output) as path, pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while batch := list(islice(rows, BATCH_ROWS)):
            columns = [
                pa.array(list(column), kind) for column, kind in zip(zip(*batch, strict=True), schema.types, strict=True)
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
            count += len(batch)
    return {"documents": count}


def offers(path: Path, shares: Mapping[str, float], seed: int) -> Iterator[Offer]:
    """Source and drawn sentences of every document of a file that offers any, in order.

    Every line is offered with its source's probability, by a generator seeded with `seed` and the document's id.
    """
    for row in read_documents(path, ("doc_id", "source", "text")):
        if share := shares.get(row["source"]):
            dice = Random(f"{seed}/{row['doc_id']}")
            lines = [line for line in row["text"].split("\n") if line and (share >= 1 or dice.random() < share)]
            if lines:
                yield row["source"], [sentence for line in lines for sentence in sentences(line)]


def count_characters(path: Path) -> Counter[str]:
    """Characters of text per source in one file of the corpus."""
    counts: Counter[str] = Counter()
    for row in read_documents(path, ("source", "text")):
        counts[row["source"]] += len(row["text"])
    return counts


def budget(available: Mapping[str, int], weights: Mapping[str, float], max_characters: int) -> dict[str, int]:
    """Characters to draw from each source: its share of `max_characters`, never more than it has.

    Raises: BadInput if a source that should give text, or the whole corpus, has none; ConfigError on an unknown source.
    """
    if not sum(available.values()):
        raise BadInput(
            "the corpus has no text to train a tokenizer on; see what the corpus stage kept and why it dropped the rest"
        )
    for source, weight in weights.items():
        if source not in available:
            raise ConfigError(f"[tokenizer] weights: no source {source!r} in the corpus; it has {sorted(available)}")
        if weight and not available[source]:
            raise BadInput(
                f"[tokenizer] weights: source {source!r} has weight {weight} but no text; give it 0 or mend the source"
            )
    shares = dict(weights) or {source: float(count) for source, count in available.items()}
    whole = sum(shares.values())
    most = {source: round(max_characters * shares.get(source, 0) / whole) for source in sorted(available)}
    return {source: min(count, most[source]) for source, count in sorted(available.items())}


def sentences(line: str) -> Iterator[str]:
    """A line cut after 。！？ and every LINE_CHARACTERS characters."""
    for sentence in _SENTENCE_END.split(line):
        for begin in range(0, len(sentence), LINE_CHARACTERS):
            yield sentence[begin : begin + LINE_CHARACTERS]


def _plan(
    counts: Iterable[Mapping[str, int]], weights: Mapping[str, float], max_characters: int
) -> tuple[dict[str, int], dict[str, float]]:
    """From the counts of every file: characters to take of each source that gives any, and each of its lines' probability."""
    available: Counter[str] = Counter()
    for count in counts:
        available.update(count)  # unlike a sum it keeps a source without text, which `budget` may have to name
    budgets = {source: limit for source, limit in budget(available, weights, max_characters).items() if limit}
    return budgets, {source: limit / available[source] for source, limit in budgets.items()}


def _filled(offered: Iterable[Offer], budgets: Mapping[str, int]) -> Sample:
    """Sentences up to each source's budget; the one that would exceed it ends its document."""
    sample = Sample({source: [] for source in budgets})
    for source, drawn in offered:
        for sentence in drawn:
            if sample.characters[source] + len(sentence) > budgets[source]:
                break
            sample.sentences[source].append(sentence)
            sample.characters[source] += len(sentence)
    if not sample.characters:
        raise BadInput(
            f"no line of text was drawn for budgets of {sum(budgets.values()):,} characters; raise [tokenizer] max_characters"
        )
    return sample


def _read_offers(path: Path) -> Iterator[Offer]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH_ROWS):
            yield from zip(batch["source"].to_pylist(), batch["sentences"].to_pylist(), strict=True)
