"""The speed of each step of a run against the bounds of this machine, as ratios: the one part of a report that varies."""

import gzip
import io
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

# Text that a bound is measured on, and how long each is measured.
SAMPLE_BYTES, SECONDS = 16 << 20, 0.35
_MB = 1e6


@dataclass(frozen=True)
class Bound:
    """What this machine does with the run's own text when it does nothing else, on one core."""

    name: str
    rate: float  # bytes of text a second


@dataclass(frozen=True)
class Phase:
    """One phase of one step, over all its tasks."""

    step: str
    name: str
    seconds: float  # of a core
    rate: float  # bytes of the step a second of this phase; 0: unknown


@dataclass(frozen=True)
class Speed:
    """Both."""

    bounds: tuple[Bound, ...]
    phases: tuple[Phase, ...]

    def of_bound(self, phase: Phase, name: str) -> float | None:
        """A phase's rate as a share of a bound's; None where either is unknown."""
        rate = next((bound.rate for bound in self.bounds if bound.name == name), 0.0)
        return phase.rate / rate if rate and phase.rate else None


def measure_speed(root: Path) -> Speed:
    """Times from events.jsonl, bounds from about a second of work on texts of the run."""
    phases = tuple(read_phases(root / "events.jsonl"))
    table = _sample(root / "data" / "documents")
    return Speed(tuple(_bounds(table)) if table is not None else (), phases)


def read_phases(events: Path) -> list[Phase]:
    """Rows {"step", "timing": {phase: seconds}, "bytes"}; a step that was resumed has several, which add up."""
    seconds: dict[tuple[str, str], float] = {}
    sizes: dict[str, int] = {}
    if events.exists():
        for line in events.read_text("utf-8").splitlines():
            try:
                row = json.loads(line)
            except ValueError:  # a line that a killed process left half written
                continue
            if not isinstance(row, dict) or not isinstance(row.get("timing"), dict):
                continue
            sizes[row["step"]] = sizes.get(row["step"], 0) + int(row.get("bytes") or 0)
            for name, value in row["timing"].items():
                key = (row["step"], name)
                seconds[key] = seconds.get(key, 0.0) + float(value)
    return [Phase(step, name, value, sizes[step] / value if value else 0.0) for (step, name), value in seconds.items()]


def _sample(folder: Path) -> "pa.Table | None":
    """Texts of the first documents, SAMPLE_BYTES of them or less."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    batches, size = [], 0
    for path in sorted(folder.glob("*.parquet")):
        with pq.ParquetFile(path) as file:
            if "text" not in file.schema_arrow.names:
                continue
            for batch in file.iter_batches(256, columns=["text"]):
                batches.append(batch)
                size += batch.nbytes
                if size >= SAMPLE_BYTES:
                    return pa.Table.from_batches(batches)
    return pa.Table.from_batches(batches) if size else None


def _bounds(table: "pa.Table") -> list[Bound]:
    import numpy as np
    import pyarrow.parquet as pq

    text = "\n".join(table["text"].to_pylist()).encode()
    packed = gzip.compress(text, 6)
    result = io.BytesIO()
    pq.write_table(table, result, compression="zstd")

    def through_parquet() -> None:
        pq.write_table(pq.read_table(io.BytesIO(result.getvalue()), use_threads=False), io.BytesIO(), compression="zstd")

    # A megabyte again and again would stay in the cache: copied is the whole sample.
    raw = np.frombuffer(text, np.uint8)
    target = np.empty_like(raw)
    return [
        Bound("gunzip", _rate(lambda: gzip.decompress(packed), len(text))),
        Bound("zstd Parquet 読み書き", _rate(through_parquet, len(text))),
        Bound("メモリコピー", _rate(lambda: np.copyto(target, raw), len(text))),
    ]


def _rate(work: Callable[[], object], size: int) -> float:
    """Bytes a second of the fastest repetition within SECONDS, one at least."""
    best, began = float("inf"), time.perf_counter()
    while True:
        start = time.perf_counter()
        work()
        now = time.perf_counter()
        best = min(best, now - start)
        if now - began >= SECONDS:
            return size / max(best, 1e-9)


def in_mb(rate: float) -> str:
    """Bytes a second for people."""
    return f"{rate / _MB:,.1f} MB/秒" if rate else "–"
