"""One shard from raw records to judged documents: extract, count, apply the rules, clean, sign what passed.

A batch of records is in memory at a time, bounded by count and by bytes; rows, texts and keys go to disk as they come.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from corpus.dedup.settings import DedupSettings
from corpus.dedup.signatures import compute_keys
from corpus.extract.document import Extracted, extract
from corpus.extract.plain import are_plain
from corpus.filters import rules
from corpus.filters.hosts import host_of
from corpus.filters.rules import Preset
from corpus.readers import DROP_REASONS, DroppedRecord, RawDocument, Shard, read_shard
from corpus.records import drop, one_line
from corpus.storage.judged import FIRST_BAND, ROW_GROUP, KeptWriter
from corpus.storage.tables import TableWriter
from corpus.storage.timing import Phases
from pipeline.files import atomic_path

# Records judged together: enough that numpy's and Arrow's costs a call vanish, and as many bytes as one large page.
BATCH_RECORDS, BATCH_BYTES = 1024, 16 << 20
# The longest document: counting and signing take about 100 bytes a character, and no book in one piece is so long
# (the longest of Aozora Bunko is a fifth of it).
MAX_CHARACTERS = 6_000_000
# Bytes of a document before extraction; what readers of crawls allow a record.
MAX_RAW_BYTES = 32 << 20
# Stage of a drop that happened before there was a text to judge, and of one by the cleaners of the preset.
READ, CLEAN = "read", "clean"
TEXTS = ("doc_id", "source", "url", "title", "date", "host", "stage", "rule", "detail", "charset", "flags")


@dataclass(frozen=True)
class JudgeTask:
    """What one Ray task needs to judge one shard."""

    shard: Shard
    preset: Preset
    dedup: DedupSettings
    folder: Path  # work/judged


@dataclass
class _Batch:
    """Rows of some records, column by column, and the texts of those that have one."""

    columns: dict[str, list[Any]] = field(default_factory=dict)
    readable: list[int] = field(default_factory=list)  # rows that have a text
    texts: list[str] = field(default_factory=list)
    linked: list[int] = field(default_factory=list)  # characters of each text that was in links

    def fail(self, row: int, stage: str, rule: str) -> None:
        """Drop a row's document."""
        self.columns["stage"][row], self.columns["rule"][row] = stage, rule


def rows_schema(preset: Preset) -> pa.Schema:
    """Columns of rows.parquet: what a record is, its fate so far, and the value of every rule of the preset."""
    fields = [(name, pa.string()) for name in TEXTS] + [("characters", pa.int64())]
    return pa.schema(fields + [(rule.name, pa.float64()) for rule in preset.rules])


def judge_shard(task: JudgeTask) -> dict[str, Any]:
    """Read and judge one shard; leaves the folder of `corpus.storage.judged`; returns its counts."""
    phases, dropped, size = Phases(), Counter[str](), 0
    with atomic_path(task.folder / task.shard.name) as folder:
        folder.mkdir()
        kept = KeptWriter(folder, FIRST_BAND + task.dedup.bands)
        with TableWriter(folder / "rows.parquet", rows_schema(task.preset), ROW_GROUP) as rows:
            for records in _batches(task.shard, phases):
                size += sum(_size(record) for record in records)
                with phases("extract"):
                    batch = _extract(records, task.preset)
                counts = _judge(batch, rows.count, task, kept, phases)
                dropped.update(rule for rule in batch.columns["rule"] if rule is not None)
                with phases("write"):
                    rows.add(batch.columns | counts)
            with phases("write"):
                kept.close()
    return {
        "in": rows.count,
        "passed": rows.count - dropped.total(),
        "dropped": dict(sorted(dropped.items())),
        "failed": sum(count for reason, count in dropped.items() if DROP_REASONS.get(reason, False)),
        "bytes": size,
        "seconds": phases.seconds(),
    }


def _size(record: RawDocument | DroppedRecord) -> int:
    return len(record.raw) if isinstance(record, RawDocument) else 0


def _batches(shard: Shard, phases: Phases) -> Iterator[list[RawDocument | DroppedRecord]]:
    """Records of a shard in order, together as many as a batch may hold; a large one makes a batch of its own."""
    records, batch, buffered = read_shard(shard), list[RawDocument | DroppedRecord](), 0
    while True:
        with phases("read"):
            for record in records:
                batch.append(record)
                buffered += _size(record)
                if len(batch) == BATCH_RECORDS or buffered >= BATCH_BYTES:
                    break
        if not batch:
            return
        yield batch
        batch, buffered = [], 0


def _extract(records: list[RawDocument | DroppedRecord], preset: Preset) -> _Batch:
    """A row for every record, and its text where there is one."""
    batch, rows = _Batch(), list[tuple[str | None, ...]]()
    for number, (record, plain) in enumerate(zip(records, _plain_rows(records), strict=True)):
        # A file's name may hold bytes that are not UTF-8; Parquet strings may not.
        url = record.url if record.url.isascii() else _clean(record.url)
        host = host_of(url) if "//" in url else ""
        if plain:
            assert isinstance(record, RawDocument) and record.text
            got = Extracted(
                text=record.text,
                title=one_line(record.title),
                lang="",
                charset=record.declared or "utf-8",
                extractor="text",
                flags=record.flags,
            )
        else:
            got = _text_of(record, preset) if isinstance(record, RawDocument) else record
        if isinstance(got, Extracted):
            batch.readable.append(number)
            batch.texts.append(got.text)
            batch.linked.append(got.linked)
            date = record.date if isinstance(record, RawDocument) else ""
            fate = (got.title, date, host, None, None, None, got.charset, ",".join(got.flags))
        else:
            fate = (None, None, host, READ, got.reason, _clean(got.detail), None, None)
        rows.append((record.doc_id, record.source, url, *fate))
    batch.columns = dict(zip(TEXTS, map(list, zip(*rows, strict=True)), strict=True))
    return batch


def _plain_rows(records: list[RawDocument | DroppedRecord]) -> list[bool]:
    """Which records are rows whose text and title extraction would leave as they are."""
    rows = [record if isinstance(record, RawDocument) and record.kind == "text" else None for record in records]
    texts = are_plain([row.text or "" if row and len(row.text or "") <= MAX_CHARACTERS else "" for row in rows])
    titles = are_plain([row.title or "-" if row else "-" for row in rows])
    return (texts & titles).tolist()


def _text_of(record: RawDocument, preset: Preset) -> Extracted | DroppedRecord:
    """The text of a document of which every later step can hold what it needs."""
    if len(record.raw) > MAX_RAW_BYTES and record.kind != "text":
        return drop(record, "too_large", f"{len(record.raw)} bytes of {record.kind}")
    if len(record.text or "") > 2 * MAX_CHARACTERS:  # cleaning may make a text a little shorter, not half as long
        return drop(record, "too_large", f"{len(record.text or '')} characters")
    got = extract(record, preset.language, preset.least_kana)
    if isinstance(got, Extracted) and len(got.text) > MAX_CHARACTERS:
        return drop(record, "too_large", f"{len(got.text)} characters")
    return got


def _clean(detail: str) -> str:
    return detail.encode("utf-8", "backslashreplace").decode()


def _judge(batch: _Batch, first: int, task: JudgeTask, kept: KeptWriter, phases: Phases) -> dict[str, Any]:
    """Give the batch its verdicts; what passes goes to `kept`, `first` being the number of its first row.

    Returns: the columns of numbers, null for rows without a text.
    """
    columns, preset = batch.columns, task.preset
    with phases("count"):
        urls = [columns["url"][row] for row in batch.readable]
        table_DC = rules.table(batch.texts, urls, preset, batch.linked)
        values_DR = rules.values(table_DC, preset)
        verdicts = rules.verdicts(values_DR, preset).tolist()
    for row, verdict in zip(batch.readable, verdicts, strict=True):
        if verdict >= 0:
            batch.fail(row, preset.rules[verdict].stage, preset.rules[verdict].name)
    passed, texts = _tidy(batch, preset, phases)
    with phases("sign"):
        pages = [(columns["source"][row], columns["url"][row]) for row in passed]
        keys_KN = compute_keys(pages, texts, task.dedup)
    with phases("write"):
        kept.add([first + row for row in passed], texts, [columns["doc_id"][row] for row in passed], keys_KN)
    missing = np.ones(len(columns["rule"]), bool)
    missing[batch.readable] = False
    numbers = {"characters": _spread(table_DC[:, rules.COLUMN["characters"]], missing)}
    return numbers | {rule.name: _spread(values, missing) for rule, values in zip(preset.rules, values_DR.T, strict=True)}


def _tidy(batch: _Batch, preset: Preset, phases: Phases) -> tuple[list[int], list[str]]:
    """Rows that passed the rules and still have a text after the preset's cleaners, and those texts."""
    passed, texts = [], []
    with phases("clean"):
        cleaners = _cleaners(preset)
        for row, judged in zip(batch.readable, batch.texts, strict=True):
            if batch.columns["rule"][row] is not None:
                continue
            text = judged
            for cleaner in cleaners:
                text = cleaner(text)
            if text:
                passed.append(row)
                texts.append(text)
            else:
                batch.fail(row, CLEAN, "empty")
    return passed, texts


def _cleaners(preset: Preset) -> list[Any]:
    if not preset.cleaners:
        return []
    from corpus.filters.cleaners import CLEANERS

    return [CLEANERS[name] for name in preset.cleaners]


def _spread(values: np.ndarray, missing: np.ndarray) -> pa.Array:
    """A column with the values one after the other where they are not missing, null elsewhere."""
    column = np.zeros(len(missing), values.dtype)
    column[~missing] = values
    return pa.array(column, mask=missing)
