"""Training text: sentences of the corpus, drawn per source; the same corpus gives the same text on every machine.

Nothing is drawn of the documents on which pretraining measures itself (`pipeline.documents.HeldOut`).
What a document offers depends on the seed, its id and its source's share alone, so that files are read in any order, by
any number of processes; only what is taken of the offers, up to a source's budget, goes through them in canonical order.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from pipeline.artifact import Artifact
from pipeline.documents import HeldOut, held_out_key, is_below, read_documents
from pipeline.errors import BadInput, ConfigError
from pipeline.files import atomic_path
from pipeline.shards import map_shards
from tokenizer.analyzer import delimit, load_analyzer
from tokenizer.settings import DELIMITED_RECIPES, TokenizerSettings

# A sentence goes into training whole up to here; SentencePiece's BPE trainer refuses positions above 65,535.
LINE_CHARACTERS = 4096
# No piece reaches over the end of a sentence: training never sees what follows it.
_SENTENCE_END = re.compile(r"(?<=[。！？])")
BATCH_ROWS = 256  # documents a task or a reader of its offers holds at once

Offer = tuple[str, list[str], list[int]]  # of one document: source, sentences, characters that each has in the corpus


@dataclass
class Sample:
    """Sentences by source, in canonical document order, and how many characters they have."""

    sentences: dict[str, list[str]] = field(default_factory=dict)
    characters: Counter[str] = field(default_factory=Counter)
    is_delimited: bool = False  # whether the sentences have DELIMITER between words, which is not counted

    def __iter__(self) -> Iterator[str]:
        for source in sorted(self.sentences):
            yield from self.sentences[source]


@dataclass(frozen=True)
class SamplePlan:
    """What is drawn, of every file alike."""

    budgets: dict[str, int]  # source -> characters; no source that gives none
    shares: dict[str, float]  # source -> probability of a line
    held_out: dict[str, HeldOut]
    seed: int
    analyzer: str | None = None  # between whose words DELIMITER is put


@dataclass(frozen=True)
class CountShard:
    """One file of the corpus to count."""

    documents: Path
    held_out_share: float


@dataclass(frozen=True)
class DrawShard:
    """One file of the corpus to draw from."""

    documents: Path
    plan: SamplePlan
    output: Path  # `.parquet`: a row a document that offers anything


def draw(files: Sequence[Path], settings: TokenizerSettings) -> Sample:
    """Draw at most `max_characters` of the documents in `files`, by the weights of their sources, in this process.

    Raises: BadInput if there is not text; ConfigError if a weight names a source that the corpus has not.
    """
    plan = _plan((count_characters(CountShard(path, settings.held_out_share)) for path in files), settings)
    return _filled((row for path in files for row in offers(path, plan)), plan)


def draw_shards(files: Sequence[Path], settings: TokenizerSettings, artifact: Artifact) -> Sample:
    """`draw`, with the same result, as a Ray task a file; a task holds a batch of documents, this process the sample.

    For a recipe that reads words the tasks cut the sentences too: the analyzer is slower than all else that they do.

    Args:
        files: in canonical order; the names of their receipts and of the offers in `artifact.work` are their stems.
    """
    named = {path.stem: CountShard(path, settings.held_out_share) for path in files}
    plan = _plan(map_shards(count_characters, named, artifact, step="count", label="文字数").values(), settings)
    if settings.recipe in DELIMITED_RECIPES:
        plan = replace(plan, analyzer=settings.analyzer)
    offered = artifact.work / "offers"
    shards = {name: DrawShard(shard.documents, plan, offered / f"{name}.parquet") for name, shard in named.items()}
    map_shards(write_offers, shards, artifact, step="draw", label="抽出")
    return _filled((row for name in named for row in _read_offers(shards[name].output)), plan)


def write_offers(shard: DrawShard) -> dict[str, int]:
    """Write what every document of a file offers; returns how many documents offer something."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"source": pa.string(), "sentences": pa.list_(pa.string()), "characters": pa.list_(pa.int32())}
    schema = pa.schema(list(kinds.items()))
    rows, count = offers(shard.documents, shard.plan), 0
    with atomic_path(shard.output) as path, pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while batch := list(islice(rows, BATCH_ROWS)):
            columns = [
                pa.array(list(column), kind) for column, kind in zip(zip(*batch, strict=True), schema.types, strict=True)
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
            count += len(batch)
    return {"documents": count}


def offers(path: Path, plan: SamplePlan) -> Iterator[Offer]:
    """Source and drawn sentences of every document of a file that offers any, in order; held-out documents do not.

    Every line is offered with its source's probability, by a generator seeded with the plan's seed and the document's id.
    """
    analyzer = load_analyzer(plan.analyzer) if plan.analyzer else None
    for row in read_documents(path, ("doc_id", "source", "text")):
        share = plan.shares.get(row["source"])
        if share and row["doc_id"] not in plan.held_out[row["source"]]:
            dice = Random(f"{plan.seed}/{row['doc_id']}")
            lines = [line for line in row["text"].split("\n") if line and (share >= 1 or dice.random() < share)]
            if lines:
                drawn = [sentence for line in lines for sentence in sentences(line)]
                cut = [delimit(sentence, analyzer) for sentence in drawn] if analyzer else drawn
                yield row["source"], cut, list(map(len, drawn))


def count_characters(shard: CountShard) -> dict[str, dict[str, Any]]:
    """Characters of text in one file of the corpus.

    Returns: by source, "edges": doc_id -> characters of its documents of the lowest and the highest key, of which only
        all files together tell whether they are held out; "rest": characters of its other documents that are not.
    """
    rest: Counter[str] = Counter()
    edges: dict[str, set[tuple[int, str, int]]] = {}
    for row in read_documents(shard.documents, ("doc_id", "source", "text")):
        source, doc_id, size = row["source"], row["doc_id"], len(row["text"])
        if not is_below(doc_id, shard.held_out_share):
            rest[source] += size
        found = edges.get(source, set()) | {(held_out_key(doc_id), doc_id, size)}
        edges[source] = {min(found), max(found)}
    return {
        source: {
            "rest": rest[source] - sum(0 if is_below(doc_id, shard.held_out_share) else size for _, doc_id, size in found),
            "edges": {doc_id: size for _, doc_id, size in sorted(found)},
        }
        for source, found in edges.items()
    }


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


def _plan(counts: Iterable[Mapping[str, Mapping[str, Any]]], settings: TokenizerSettings) -> SamplePlan:
    """From what `count_characters` says of every file."""
    available: Counter[str] = Counter()
    edges: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for count in counts:
        for source, row in count.items():
            available[source] += row["rest"]
            edges[source] |= row["edges"]
    held_out = {source: HeldOut.of(found, settings.held_out_share) for source, found in edges.items()}
    for source, found in edges.items():
        available[source] += sum(size for doc_id, size in found.items() if doc_id not in held_out[source])
    limits = budget(available, settings.weights, settings.max_characters)
    budgets = {source: limit for source, limit in limits.items() if limit}
    shares = {source: limit / available[source] for source, limit in budgets.items()}
    return SamplePlan(budgets, shares, {source: held_out[source] for source in budgets}, settings.seed)


def _filled(offered: Iterable[Offer], plan: SamplePlan) -> Sample:
    """Sentences up to each source's budget; the one that would exceed it ends its document."""
    sample = Sample({source: [] for source in plan.budgets}, is_delimited=plan.analyzer is not None)
    for source, drawn, sizes in offered:
        for sentence, size in zip(drawn, sizes, strict=True):
            if sample.characters[source] + size > plan.budgets[source]:
                break
            sample.sentences[source].append(sentence)
            sample.characters[source] += size
    if not sample.characters:
        most = sum(plan.budgets.values())
        raise BadInput(f"no line of text was drawn for budgets of {most:,} characters; raise [tokenizer] max_characters")
    return sample


def _read_offers(path: Path) -> Iterator[Offer]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH_ROWS):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
