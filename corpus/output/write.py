"""One shard of the artifact: documents, decisions for every record, duplicates with what was kept in their favour, and keys.

data/documents/<shard>.parquet   the documents that stay (`pipeline.documents`)
data/decisions/<shard>.parquet   a row for every record that came in: verdict and the value of every rule of the preset
data/clusters/<shard>.parquet    a row for every duplicate: the kept representative, and how similar the two are
data/contamination/<shard>.jsonl a row for every benchmark text that a document holds; where benchmarks are given
data/keys/<shard>/*.npy          keys, owners, ids, sizes as in `corpus.storage.judged`, of the documents that stay; `owners`
                                 are rows of the documents file. A later crawl is matched against these.

Rows come in record batches, texts one at a time, keys one kind at a time: a shard is never in memory as a whole.
"""

import contextlib
import dataclasses
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from corpus.decontaminate import contamination_rows, load_benchmarks
from corpus.dedup.base_join import WithBase
from corpus.dedup.pairs import ShingleSets
from corpus.dedup.passes import REASONS, STAGE, duplicates_of_shard
from corpus.dedup.settings import DedupSettings
from corpus.drop_reasons import STAGES
from corpus.filters.rules import Preset
from corpus.settings import CorpusSettings
from corpus.storage.arrays import npy_header
from corpus.storage.decisions import RULES_KEY
from corpus.storage.judged import Judged, Kept, doc_ids
from corpus.storage.tables import TableWriter
from corpus.storage.timing import Phases
from pipeline.documents import DOCUMENT_COLUMNS
from pipeline.files import atomic_path, write_text
from pipeline.text.minhash import jaccard

# Rows of a row group: what a reader of one document must hold, about 10 MB of text; decisions are small and many.
DOCUMENT_ROWS, DECISION_ROWS = 1024, 1 << 14
# Stage of a drop for holding a text of a benchmark.
DECONTAMINATE = "decontaminate"
# Rows of rows.parquet decided together.
_BATCH_ROWS = 1024
# Bytes of text that wait to become a part of a row group.
_WAITING_BYTES = 4 << 20
DOCUMENTS = pa.schema([(name, pa.string()) for name in DOCUMENT_COLUMNS])
CLUSTERS = pa.schema([("doc_id", pa.string()), ("survivor", pa.string()), ("kind", pa.string()), ("similarity", pa.float64())])
_FATE = ("doc_id", "source", "url", "title", "host", "verdict", "stage", "rule", "detail", "duplicate_of", "charset", "flags")


@dataclass(frozen=True)
class WriteTask:
    """What one Ray task needs to write one shard."""

    judged: Judged
    shard: int
    preset: Preset
    settings: CorpusSettings
    work: Path
    data: Path
    with_base: WithBase | None = None

    @property
    def known(self) -> Judged | WithBase:
        """Where the kept representatives of this shard's copies are found."""
        return self.with_base or self.judged


def decisions_schema(preset: Preset, dedup: DedupSettings) -> pa.Schema:
    """Columns of a decisions file, and as metadata what each value was compared with."""
    fields = [(name, pa.string()) for name in _FATE] + [("characters", pa.int64()), ("masked", pa.int64())]
    about = {
        "preset": preset.name,
        "rules": [
            {name: getattr(rule, name) for name in ("name", "label", "stage", "bound", "threshold", "above", "below", "source")}
            for rule in preset.rules
        ],
        "dedup": dataclasses.asdict(dedup),
    }
    schema = pa.schema(fields + [(rule.name, pa.float64()) for rule in preset.rules])
    return schema.with_metadata({RULES_KEY: json.dumps(about, ensure_ascii=False)})


def write_shard(task: WriteTask) -> dict[str, Any]:
    """Write one shard of documents/, decisions/, clusters/ and keys/; returns what was counted from the rows written."""
    name = task.judged.names[task.shard]
    with contextlib.ExitStack() as stack:
        paths = {
            kind: stack.enter_context(atomic_path(task.data / kind / f"{name}.parquet"))
            for kind in ("documents", "decisions", "clusters")
        }
        keys = stack.enter_context(atomic_path(task.data / "keys" / name))
        writer = _ShardWriter(task, name)
        with (
            TableWriter(paths["documents"], DOCUMENTS, DOCUMENT_ROWS) as documents,
            TableWriter(paths["decisions"], decisions_schema(task.preset, task.settings.dedup), DECISION_ROWS) as decisions,
            TableWriter(paths["clusters"], CLUSTERS, DECISION_ROWS) as copies,
            pq.ParquetFile(task.judged.root / name / "rows.parquet") as rows,
        ):
            for batch in rows.iter_batches(_BATCH_ROWS):
                writer.write(batch, documents, decisions, copies)
        with writer.phases("keys"):
            keys.mkdir()
            write_keys(writer.kept, writer.alive, keys)
        if task.settings.decontaminate.files:
            lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in writer.contaminated]
            write_text(task.data / "contamination" / f"{name}.jsonl", "".join(lines))
    counts = writer.counts | {"dropped": dict(sorted(writer.dropped.items())), "seconds": writer.phases.seconds()}
    return counts | {"masked": dict(sorted(writer.masked.items()))} if task.settings.mask.kinds else counts


class _ShardWriter:
    """What is known of a shard while its batches are written one after the other."""

    def __init__(self, task: WriteTask, name: str) -> None:
        self.task, self.phases = task, Phases()
        self.kept = task.judged.shard(task.shard)
        self.reasons, self.representatives = duplicates_of_shard(task.work, task.shard, len(self.kept.sizes))
        self.alive = self.reasons == 0
        self.counts = {"in": 0, "kept": 0, "characters": 0, "bytes": 0}
        self.dropped = Counter[str]()
        self._rows = np.load(task.judged.root / name / "kept.npy", mmap_mode="r")
        self.masked = Counter[str]()
        self.contaminated: list[dict[str, Any]] = []
        self._sets = ShingleSets(task.known.text, task.settings.dedup.shingle)
        self._benchmarks = load_benchmarks(task.settings.decontaminate) if task.settings.decontaminate.files else None

    def write(self, batch: pa.RecordBatch, documents: TableWriter, decisions: TableWriter, copies: TableWriter) -> None:
        """Decide the records of a batch and write its part of every file."""
        columns = {name: batch.column(name) for name in batch.schema.names}
        fate: dict[str, list[Any]] = {name: columns[name].to_pylist() for name in ("doc_id", "stage", "rule", "detail")}
        fate |= {"duplicate_of": [None] * batch.num_rows, "masked": [None] * batch.num_rows}
        first = self.counts["in"]
        begin, end = np.searchsorted(self._rows, [first, first + batch.num_rows]).tolist()
        indices = (self._rows[begin:end] - first).tolist()
        with self.phases("copies"):
            self._add_duplicates(begin, end, indices, fate, copies)
        with self.phases("documents"):
            self._documents(begin, end, indices, columns=columns, fate=fate, documents=documents)
        with self.phases("decisions"):
            assert STAGES.keys() >= {stage for stage in fate["stage"] if stage is not None}, "unknown stage"
            verdicts = ["kept" if rule is None else "dropped" for rule in fate["rule"]]
            decisions.add(columns | fate | {"verdict": verdicts})
            self.counts["in"] += batch.num_rows
            self.counts["kept"] += verdicts.count("kept")
            self.dropped.update(rule for rule in fate["rule"] if rule is not None)

    def _add_duplicates(self, begin: int, end: int, places: list[int], fate: dict[str, list[Any]], copies: TableWriter) -> None:
        """Note which of the ordinals are duplicates, of what, and how similar the two are."""
        dropped = np.flatnonzero(self.reasons[begin:end])
        if not len(dropped):
            return
        representatives = self.representatives[begin + dropped]
        ids = doc_ids(self.task.known.ranks(representatives)[1])
        kinds = [REASONS[code] for code in self.reasons[begin + dropped].tolist()]
        likeness = []
        for ordinal, representative, doc_id, kind in zip(dropped.tolist(), representatives.tolist(), ids, kinds, strict=True):
            row = places[ordinal]
            fate["stage"][row], fate["rule"][row], fate["duplicate_of"][row] = STAGE, kind, doc_id
            reference = self.task.shard << 32 | (begin + ordinal)
            likeness.append(1.0 if kind == "exact" else jaccard(self._sets[reference], self._sets[representative]))
        doc_ids_dropped = [fate["doc_id"][places[ordinal]] for ordinal in dropped.tolist()]
        copies.add({"doc_id": doc_ids_dropped, "survivor": ids, "kind": kinds, "similarity": likeness})

    def _documents(
        self,
        begin: int,
        end: int,
        places: list[int],
        columns: dict[str, pa.Array],
        fate: dict[str, list[Any]],
        documents: TableWriter,
    ) -> None:
        """Write the documents that stay, a few megabytes at a time."""
        rows, texts, buffered = list[int](), list[str](), 0

        def write() -> None:
            nonlocal rows, texts, buffered
            if rows:
                taken = pa.array(rows)
                documents.add({name: columns[name].take(taken) for name in DOCUMENT_COLUMNS[:-1]} | {"text": texts})
            rows, texts, buffered = [], [], 0

        for ordinal in (begin + np.flatnonzero(self.alive[begin:end])).tolist():
            row = places[ordinal - begin]
            text = self._published(ordinal, row, fate)
            if text is None:
                continue
            rows.append(row)
            texts.append(text)
            size = len(text.encode())
            buffered += size
            self.counts["characters"] += len(text)
            self.counts["bytes"] += size
            if buffered >= _WAITING_BYTES:
                write()
        write()

    def _published(self, ordinal: int, row: int, fate: dict[str, list[Any]]) -> str | None:
        """A document's text with its personal data masked; None where it holds a benchmark's text, and is dropped."""
        text = self.kept.text(ordinal)
        if self._benchmarks and (hits := self._benchmarks.hits(text)):
            fate["stage"][row], fate["rule"][row], fate["detail"][row] = DECONTAMINATE, "benchmark", hits[0].detail
            self.alive[ordinal] = False
            self.contaminated += contamination_rows(fate["doc_id"][row], hits)
            return None
        counts = Counter[str]()
        if self.task.settings.mask.kinds:
            from corpus.pii.mask import mask

            text, counts = mask(text, self.task.settings.mask.kinds)
        self.masked.update(counts)
        fate["masked"][row] = counts.total()
        return text


def write_keys(kept: Kept, alive_N: np.ndarray, folder: Path) -> None:
    """Write keys, owners, ids and sizes of the documents that stay, one kind of key at a time."""
    rows = (np.cumsum(alive_N) - 1).astype(np.uint32)  # ordinal -> row of the documents file
    count = int(alive_N.sum())
    with (folder / "keys.npy").open("wb") as keys, (folder / "owners.npy").open("wb") as owners:
        for file, dtype in ((keys, np.uint64), (owners, np.uint32)):
            file.write(npy_header(dtype, (len(kept.keys), count)))
        for kind_keys, kind_owners in zip(kept.keys, kept.owners, strict=True):
            stays = alive_N[kind_owners]
            keys.write(np.ascontiguousarray(kind_keys[stays]).data)
            owners.write(rows[kind_owners[stays]].data)
            kept.forget()
    np.save(folder / "ids.npy", kept.ids[alive_N])
    np.save(folder / "sizes.npy", kept.sizes[alive_N])
