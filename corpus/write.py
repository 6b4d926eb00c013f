"""One shard of the artifact: documents that stay, and one decision for every record that came in."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from corpus import rules
from corpus.dedup import STAGE, fallen_of_shard
from corpus.scratch import Judged, split
from corpus.settings import DedupSettings, RuleSettings
from pipeline.documents import DOCUMENT_COLUMNS
from pipeline.files import whole_path

# Rows of a Parquet row group: what a reader must hold to get at one document, about 10 MB of text.
ROW_GROUP = 1024
DOCUMENTS = pa.schema([(name, pa.string()) for name in DOCUMENT_COLUMNS])
DECISIONS = pa.schema(
    [(name, pa.string()) for name in ("doc_id", "source", "url", "verdict", "stage", "rule", "detail", "duplicate_of")]
    + [("characters", pa.int64())]
    + [(rule.name, pa.float64()) for rule in rules.RULES]
)
# Key of the decision files' metadata: JSON of what each value was compared with.
THRESHOLDS = b"minamoto.thresholds"


@dataclass(frozen=True)
class WriteTask:
    """What one Ray task needs to write one shard."""

    judged: Judged
    shard: int
    rules: RuleSettings
    dedup: DedupSettings
    work: Path
    data: Path


def write_shard(task: WriteTask) -> dict[str, Any]:
    """Write documents/<shard>.parquet and decisions/<shard>.parquet; returns what was counted from the rows written."""
    name = task.judged.names[task.shard]
    kept_shard = task.judged.shard(task.shard)
    rows = pq.read_table(task.judged.root / name / "rows.parquet").to_pylist()
    fallen = fallen_of_shard(task.work, task.shard)
    documents = []
    for ordinal, index in enumerate(np.load(kept_shard.folder / "kept.npy").tolist()):
        row = rows[index]
        if ordinal in fallen:
            reason, survivor = fallen[ordinal]
            row |= {"stage": STAGE, "rule": reason, "duplicate_of": _doc_id(task.judged, survivor)}
        else:
            documents.append({column: row.get(column) for column in DOCUMENT_COLUMNS} | {"text": kept_shard.text(ordinal)})
    for row in rows:
        row["verdict"] = "kept" if row["rule"] is None else "dropped"
    limits = rules.thresholds(task.rules) | {"near": ["most", task.dedup.min_similarity]}
    _write(documents, DOCUMENTS, task.data / "documents" / f"{name}.parquet")
    _write(rows, DECISIONS.with_metadata({THRESHOLDS: json.dumps(limits)}), task.data / "decisions" / f"{name}.parquet")
    dropped = Counter(row["rule"] for row in rows if row["verdict"] == "dropped")
    return {
        "in": len(rows),
        "kept": len(documents),
        "dropped": dict(sorted(dropped.items())),
        "characters": sum(len(row["text"]) for row in documents),
        "bytes": sum(len(row["text"].encode()) for row in documents),
    }


def _write(rows: list[dict[str, Any]], schema: pa.Schema, path: Path) -> None:
    """The same rows give the same bytes: fixed row groups, no time, no host, no library of the caller in the metadata."""
    with whole_path(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema), temporary, compression="zstd", row_group_size=ROW_GROUP)


def _doc_id(judged: Judged, reference: int) -> str:
    shard, ordinal = split(reference)
    high, low = judged.shard(shard).ids[ordinal].tolist()
    return f"{high:016x}{low:016x}"
