"""One shard from raw records to judged documents: extract, count, apply the rules, sign what passed."""

import itertools
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from corpus import rules, scratch
from corpus.dedup import copy_keys
from corpus.extract import extract
from corpus.readers import DROP_REASONS, DroppedRecord, RawDocument, Shard, read_shard
from corpus.settings import DedupSettings, RuleSettings
from corpus.statistics import COLUMN, measure
from pipeline.files import whole_path

# Records judged at a time: pages of 100 kB make 25 MB.
_BATCH = 256
# Stage of a drop that happened before there was a text to judge.
READ = "read"
FATE = ("doc_id", "source", "url", "title", "date", "charset", "stage", "rule", "detail")
ROWS_SCHEMA = pa.schema(
    [(name, pa.string()) for name in FATE] + [("characters", pa.int64())] + [(rule.name, pa.float64()) for rule in rules.RULES]
)


@dataclass(frozen=True)
class JudgeTask:
    """What one Ray task needs to judge one shard."""

    shard: Shard
    rules: RuleSettings
    dedup: DedupSettings
    folder: Path  # work/judged


def judge_shard(task: JudgeTask) -> dict[str, Any]:
    """Read and judge one shard; leaves `corpus.scratch`'s folder and returns what was counted."""
    rows: list[dict[str, Any]] = []
    with whole_path(task.folder / task.shard.name) as folder:
        folder.mkdir()
        writer = scratch.KeptWriter(folder, scratch.FIRST_BAND + task.dedup.bands)
        records = read_shard(task.shard)
        while batch := list(itertools.islice(records, _BATCH)):
            rows += _judge(batch, len(rows), task, writer)
        writer.close()
        pq.write_table(pa.Table.from_pylist(rows, ROWS_SCHEMA), folder / "rows.parquet", compression="zstd")
    return _counts(rows)


def _judge(
    batch: list[RawDocument | DroppedRecord], first: int, task: JudgeTask, writer: scratch.KeptWriter
) -> list[dict[str, Any]]:
    """A row for every record, the first of which has number `first`; what passes goes to `writer`."""
    rows, texts = _extract(batch)
    readable = [place for place, text in enumerate(texts) if text]
    table_DS = measure([texts[place] for place in readable])
    values_DR = rules.values(table_DS)
    verdicts = rules.verdicts(values_DR, task.rules).tolist()
    for place, counts, values, verdict in zip(readable, table_DS, values_DR, verdicts, strict=True):
        rows[place] |= {"characters": int(counts[COLUMN["characters"]]), **rules.by_name(values)}
        if verdict >= 0:
            rows[place] |= {"stage": rules.RULES[verdict].stage, "rule": rules.RULES[verdict].name}
    passed = [place for place in readable if rows[place]["rule"] is None]
    kept_texts = [texts[place] for place in passed]
    keys_KN = copy_keys([(rows[place]["source"], rows[place]["url"]) for place in passed], kept_texts, task.dedup)
    writer.add([first + place for place in passed], kept_texts, [rows[place]["doc_id"] for place in passed], keys_KN)
    return rows


def _extract(batch: list[RawDocument | DroppedRecord]) -> tuple[list[dict[str, Any]], list[str]]:
    """A row for every record, and its text, "" where there is none."""
    rows: list[dict[str, Any]] = []
    texts: list[str] = []
    for record in batch:
        # A file's name may hold bytes that are no UTF-8; Parquet strings may not.
        url = record.url.encode("utf-8", "backslashreplace").decode()
        row = {"doc_id": record.doc_id, "source": record.source, "url": url, "rule": None}
        got = extract(record) if isinstance(record, RawDocument) else record
        if isinstance(got, DroppedRecord):
            row |= {"stage": READ, "rule": got.reason, "detail": got.detail}
        else:
            date = record.date if isinstance(record, RawDocument) else ""
            row |= {"title": got.title, "date": date, "charset": got.charset}
        rows.append(row)
        texts.append("" if isinstance(got, DroppedRecord) else got.text)
    return rows, texts


def _counts(rows: list[dict[str, Any]]) -> dict[str, Any]:
    dropped = Counter(row["rule"] for row in rows if row["rule"] is not None)
    return {
        "in": len(rows),
        "passed": len(rows) - dropped.total(),
        "dropped": dict(sorted(dropped.items())),
        "failed": sum(count for reason, count in dropped.items() if DROP_REASONS.get(reason, False)),
    }
