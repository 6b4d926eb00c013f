"""Judging again from the decisions table against judging the texts again, and whether both say the same.

The speed is that of `corpus.audit.retune` over a generated table: one file of a million rows, linked under other names,
because the time depends on reading it and not on its values. The check is a real run of the stage with the changed
thresholds, document by document.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.machine import describe
from corpus.audit.rejudge import rejudge
from corpus.audit.retune import retune
from corpus.dedup.passes import STAGE
from corpus.dedup.settings import DedupSettings
from corpus.extract.document import Extracted, extract
from corpus.filters import rules
from corpus.output.write import DECISION_ROWS, decisions_schema
from corpus.readers import RawDocument, SourceSettings, plan_shards, read_shard
from corpus.storage.decisions import Decisions, open_decisions
from pipeline.files import digest_json, write_json

ROWS, FILE_ROWS = 10_000_000, 1_000_000
# Texts whose judging is timed.
TEXT_BYTES = 8 << 20
RUN = """
[corpus]
[[corpus.sources]]
name = "ja_cc"
reader = "warc"
path = "{path}"
licence = "see the data's README"
attribution = "sample"
"""
# Thresholds whose prediction is compared with a run: some stricter, some looser, one switched off.
TRIALS: tuple[dict[str, float | None], ...] = (
    {"length": 400.0, "kana": 0.2},
    {"foreign": 0.9, "kuten": None, "japanese": 0.02, "repeated": 0.1},
)


def make_table(root: Path, rows: int, preset: rules.Preset) -> Decisions:
    """A decisions artifact of `rows` rows whose values scatter about the thresholds; about one in seven fails some rule."""
    rng = np.random.default_rng(0)
    folder = root / "corpus" / "made" / "data" / "decisions"
    folder.mkdir(parents=True)
    size = min(rows, FILE_ROWS)
    schema = decisions_schema(preset, DedupSettings())
    names = [f"ja_cc-{number:05}" for number in range(-(-rows // size))]
    with pq.ParquetWriter(folder / f"{names[0]}.parquet", schema, compression="zstd") as writer:
        for begin in range(0, size, DECISION_ROWS):
            writer.write_table(_group(rng, min(DECISION_ROWS, size - begin), preset, schema))
    for name in names[1:]:
        os.link(folder / f"{names[0]}.parquet", folder / f"{name}.parquet")
    core = {"stage": "corpus", "fingerprint": "", "inputs": {}, "stats": {}, "licences": [], "files": []}
    write_json(folder.parents[1] / "manifest.json", core | {"digest": digest_json(core), "made": {}})
    return open_decisions(folder.parents[1], check=False)


def _group(rng: np.random.Generator, size: int, preset: rules.Preset, schema: pa.Schema) -> pa.Table:
    values_DR = np.empty((size, len(preset.rules)))
    for place, rule in enumerate(preset.rules):
        # 1 % lie beyond the threshold; shares hardly ever repeat and so do not compress, as real ones.
        limit = rule.threshold or 1e-3
        spread = rng.normal(0, abs(limit) * 0.2, size)
        centre = limit + np.quantile(spread, 0.99) if rule.bound == "least" else limit - np.quantile(spread, 0.99)
        values_DR[:, place] = centre + spread if rule.below else np.round(centre + spread)
    verdicts = rules.verdicts(values_DR, preset)
    reasons = [None if place < 0 else preset.rules[place].name for place in verdicts.tolist()]
    stages = [None if place < 0 else preset.rules[place].stage for place in verdicts.tolist()]
    digits = rng.bytes(16 * size).hex()
    hosts = [f"h{number}.example" for number in rng.zipf(1.3, size).clip(max=100_000).tolist()]
    columns: dict[str, Any] = {"doc_id": [digits[i : i + 32] for i in range(0, 32 * size, 32)], "host": hosts}
    columns |= {"source": ["ja_cc"] * size, "charset": ["utf-8"] * size, "flags": [""] * size, "rule": reasons, "stage": stages}
    columns |= {"verdict": ["dropped" if reason else "kept" for reason in reasons], "title": ["題"] * size}
    columns |= {"url": [f"https://{host}/{number}" for number, host in enumerate(hosts)]}
    columns |= {"characters": rng.integers(100, 20_000, size), "masked": np.zeros(size, np.int64)}
    columns |= {rule.name: values_DR[:, place] for place, rule in enumerate(preset.rules)}
    arrays = [
        pa.array(columns[field.name], field.type) if field.name in columns else pa.nulls(size, field.type) for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def speed_of_table(rows: int, out: Callable[[str], None]) -> float:
    """Rows a second, the slowest of the trials."""
    preset = rules.load_preset("minamoto")
    limit = {rule.name: rule.threshold for rule in preset.rules}
    trials: dict[str, dict[str, float | None]] = {
        "one rule stricter": {"length": limit["length"] * 1.1},
        "one rule looser": {"kuten": limit["kuten"] * 1.1},
        "one rule off": {"kana": None},
        "three rules": {"length": limit["length"] * 1.1, "kuten": limit["kuten"] * 1.1, "marks": None},
    }
    rates = []
    with tempfile.TemporaryDirectory() as folder:
        decisions = make_table(Path(folder), rows, preset)
        size = decisions.files[0].path.stat().st_size / decisions.files[0].rows
        out(f"table: {rows:,} rows, {len(preset.rules)} rules, {size:.0f} bytes a row on disk")
        for name, changes in trials.items():
            began, busy = time.perf_counter(), time.process_time()
            result = retune(decisions, changes)
            seconds, busy = time.perf_counter() - began, time.process_time() - busy
            rates.append(result.rows / seconds)
            counts = f"{result.gained.documents:,} gained, {result.lost.documents:,} lost"
            out(f"{name:18} {seconds:6.2f} s ({busy:.2f} s of CPU)  {rates[-1] / 1e6:5.2f} M rows/s  ({counts})")
    return min(rates)


def speed_of_texts(data: Path) -> tuple[float, float]:
    """Documents and bytes a second of the rules over extracted texts, without reading or extracting."""
    source = SourceSettings("ja_cc", "warc", "", "", str(data / "web-ja.warc.gz"))
    records = itertools.chain.from_iterable(map(read_shard, plan_shards(source)))
    texts: list[str] = []
    urls: list[str] = []
    size = 0
    for record in records:
        got = extract(record) if isinstance(record, RawDocument) else record
        if isinstance(got, Extracted):
            texts.append(got.text)
            urls.append(record.url)
            size += len(got.text.encode())
            if size >= TEXT_BYTES:
                break
    preset = rules.load_preset("minamoto")
    rules.table(texts[:10], urls[:10], preset)  # compiled before it is timed
    began = time.perf_counter()
    rules.verdicts(rules.values(rules.table(texts, urls, preset), preset), preset)
    seconds = time.perf_counter() - began
    return len(texts) / seconds, size / seconds


def predicted(decisions: Decisions, changes: dict[str, float | None]) -> dict[tuple[str, int], str | None]:
    """(shard, row) -> the rule that drops it afterwards, None where it passes, "" where it was never judged."""
    found: dict[tuple[str, int], str | None] = {}
    for file in decisions.files:
        names = [*(rule.name for rule in file.rules), None, ""]  # the last is UNJUDGED, -1
        for piece in rejudge(file, changes):
            found |= {(file.shard, piece.begin + row): names[after] for row, after in enumerate(piece.after.tolist())}
    return found


def compare(before: Decisions, after: Decisions, changes: dict[str, float | None], out: Callable[[str], None]) -> None:
    """Prediction against a real run, document by document; copies apart."""
    expected, names = predicted(before, changes), set(before.rule_names)
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    for file in after.files:
        for begin, _, table in file.chunks(("doc_id", "rule", "stage")):
            rows |= {(file.shard, begin + row): one for row, one in enumerate(table.to_pylist())}
    wrong = [
        key for key, rule in expected.items() if (rows[key]["rule"] if rows[key]["rule"] in names else None) != (rule or None)
    ]
    result = retune(before, changes)
    kept = sum(row["rule"] is None for row in rows.values())
    copies = Counter(row["rule"] for row in rows.values() if row["stage"] == STAGE)
    words = " ".join(f"{name}={'off' if value is None else f'{value:g}'}" for name, value in changes.items())
    out(f"{words}: {len(expected):,} documents, {len(wrong)} verdicts differ from the run's")
    out(f"  kept: predicted {result.kept_after:,}, the run {kept:,}; its copies {dict(copies)}")
    out(f"  promoted copies predicted: {result.promoted.documents} of {result.promoted.freed} freed")
    assert not wrong, f"{len(wrong)} verdicts differ, first {wrong[0]}"
    assert result.kept_after >= kept, "the prediction is an upper bound: what newly passes may be a copy"


def real_runs(data: Path, out: Callable[[str], None]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "t.toml").write_text(RUN.format(path=(data / "web-ja.warc.gz").resolve().as_posix()), "utf-8")

        def make(artifacts: Path, changes: dict[str, float | None]) -> Decisions:
            words = [
                f"corpus.rules.{rule}={'false' if value is None else json.dumps(value)}" for rule, value in changes.items()
            ]
            command = [sys.executable, "-m", "corpus", "--run", str(folder / "t.toml"), "--artifacts", str(artifacts)]
            command += [word for setting in words for word in ("--set", setting)]
            subprocess.run(command, check=True, capture_output=True)
            return open_decisions(artifacts / "corpus" / "t")

        before = make(folder / "before", {})
        for number, changes in enumerate(TRIALS):
            compare(before, make(folder / f"after{number}", changes), changes, out)


def run(data: Path, out: Callable[[str], None], rows: int = ROWS) -> None:
    """Print the figures."""
    table = speed_of_table(rows, out)
    documents, size = speed_of_texts(data)
    out(f"rules over the texts, one core: {documents:,.0f} documents/s, {size / 1e6:.1f} MB/s")
    out(f"from the table: at least {table / 1e6:.2f} M rows/s, {table / documents:,.0f} times as fast")
    real_runs(data, out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder of development data")
    parser.add_argument("--rows", type=int, default=ROWS, help="rows of the made table")
    chosen = parser.parse_args()
    print(describe("numpy", "pyarrow", "numba"))
    run(chosen.data, print, chosen.rows)


if __name__ == "__main__":
    main()
