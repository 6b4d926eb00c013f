"""`python -m benchmarks.pretrain.order`: building the order of millions of documents, and looking documents up in it.

Lengths are made up (lognormal, in three sources of unlike sizes), tokens are not there at all: their files are holes. Each
part runs in a process of its own, so that its peak of memory is its own; that includes libraries and mapped files.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe

# Share of the documents, median and spread of a lognormal of tokens, epochs beside the run's, cut at MAX_LENGTH.
SOURCES = {"web": (0.9, 500.0, 1.0, 1.0), "wiki": (0.09, 300.0, 1.1, 2.0), "books": (0.01, 20_000.0, 0.9, 1.0)}
MAX_LENGTH = 1_000_000
SEQ_LENGTH, BATCH = 2048, 1024  # LLM-jp v3's order of magnitude
LOOKUPS = 2000
ROWS = 1 << 20  # documents written at a time


def make_pack(folder: Path, documents: int, rng: np.random.Generator) -> None:
    """Packed data of made-up lengths: `.idx`, table of doc_ids, and a `.bin` that is one hole."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from pretrain.pack.indexed import write_index

    for name, (share, median, spread, _) in SOURCES.items():
        count = max(int(documents * share), 2)
        lengths = np.clip(rng.lognormal(np.log(median), spread, count), 1, MAX_LENGTH).astype(np.int32)
        prefix = folder / name / "train"
        prefix.parent.mkdir(parents=True)
        write_index(prefix.with_suffix(".idx"), lengths, np.dtype(np.int32))
        with prefix.with_suffix(".bin").open("wb") as file:
            file.truncate(int(lengths.sum(dtype=np.int64)) * 4)
        schema = pa.schema([("doc_id", pa.string()), ("tokens", pa.int32()), ("bytes", pa.int64())])
        with pq.ParquetWriter(prefix.with_suffix(".parquet"), schema, compression="zstd") as writer:
            for first in range(0, count, ROWS):
                part = lengths[first : first + ROWS]
                digits = rng.bytes(16 * len(part)).hex()
                ids = pa.array([digits[32 * n : 32 * n + 32] for n in range(len(part))])
                writer.write_table(pa.table([ids, part, part.astype(np.int64) * 4], schema=schema))


def build(folder: Path, epochs: float) -> list[str]:
    """Megatron's indices, then our order of them."""
    import torch.distributed as dist

    from pretrain.batches import BatchSchedule
    from pretrain.pack.indexed import open_indexed
    from pretrain.train import data

    tokens = {name: len(open_indexed(folder / "pack" / name / "train").tokens) for name in SOURCES}
    weights = {name: float(tokens[name] * SOURCES[name][3]) for name in SOURCES}
    iterations = int(epochs * sum(weights.values()) / SEQ_LENGTH / BATCH)
    settings = data.DataSettings(SEQ_LENGTH, iterations, BatchSchedule(BATCH), 1234, weights)
    # The rows to validate on are no part of the order, and this pack holds none out.
    data.ValidRows = lambda *arguments: None  # pyright: ignore[reportAttributeAccessIssue]
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=0, world_size=1)
    libraries, clock = peak(), Clock()
    datasets = data.build_datasets(folder / "pack", settings, eos_id=2, cache=folder / "index")
    built, at_built = clock.read(), peak()
    datasets.save_order(folder / "order")
    whole, again = clock.read(), Clock()
    data.build_datasets(folder / "pack", settings, eos_id=2, cache=folder / "index").save_order(folder / "order")
    size = sum(p.stat().st_size for p in (folder / "order").rglob("*") if p.is_file()) / 2**30
    return [
        f"{settings.samples:,} samples of {SEQ_LENGTH}, {settings.samples * SEQ_LENGTH / 1e9:.1f} G tokens, {epochs} epochs",
        f"megatron's indices {built}; with our order {whole}; a run that goes on {again.read()}",
        f"peak memory {peak():.2f} GiB ({libraries:.2f} of libraries alone, {at_built:.2f} before our part)",
        f"{size:.2f} GiB on disk",
    ]


class Clock:
    """Seconds since it was made, and processor seconds: they differ where the machine has other work."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> str:
        return f"{time.perf_counter() - self._wall:.1f} s ({time.process_time() - self._cpu:.1f} s of processor)"


def look_up(folder: Path) -> list[str]:
    """Open the order; documents -> iterations and samples -> documents, each of them for the first time."""
    from pipeline.reading_order import Order

    clock = Clock()
    order = Order.open(folder / "order", folder / "pack")
    opened, rng = clock.read(), np.random.default_rng(1)
    read = [span[1:3] for n in rng.integers(0, order.total * BATCH, LOOKUPS) for span in order.sample(int(n))[:1]]
    unknown = [("web", rng.bytes(16).hex()) for _ in range(LOOKUPS)]
    samples = rng.integers(0, order.total * BATCH, LOOKUPS).tolist()
    iterations = rng.integers(1, order.total + 1, LOOKUPS // 100).tolist()
    return [
        f"opened, with every hash compared, in {opened}",
        f"document -> iterations: {times(lambda pair: order.iterations(*pair), read)}",
        f"unknown document:       {times(lambda pair: order.iterations(*pair), unknown)}",
        f"sample -> documents:    {times(order.sample, samples)}",
        f"iteration -> documents: {times(order.documents, iterations)} ({BATCH} samples)",
        f"peak memory {peak():.2f} GiB",
    ]


def times(call: Callable[[Any], object], arguments: Iterable[Any]) -> str:
    """Microseconds a call: median and 99th of a hundred; those of the processor too, for other work may come between."""
    wall, cpu = [], []
    for argument in arguments:
        began, used = time.perf_counter_ns(), time.thread_time_ns()
        call(argument)
        cpu.append((time.thread_time_ns() - used) / 1000)
        wall.append((time.perf_counter_ns() - began) / 1000)
    said = [f"{np.median(taken):,.0f} µs, 99 % within {np.percentile(taken, 99):,.0f} µs" for taken in (wall, cpu)]
    return f"median {said[0]} (of processor {said[1]})"


def peak() -> float:
    """GiB that this process has had at most in memory, mapped files included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pretrain.order", description=__doc__)
    parser.add_argument("--documents", type=int, default=10_000_000)
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--part", choices=("build", "look_up"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        part = build(arguments.folder, arguments.epochs) if arguments.part == "build" else look_up(arguments.folder)
        print("\n".join(part))
        return
    print(describe("megatron-core", "numpy"), f"{arguments.documents:,} documents", sep="; ", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        make_pack(Path(folder) / "pack", arguments.documents, np.random.default_rng(0))
        for part in ("build", "look_up"):
            command = [sys.executable, "-W", "ignore", "-m", "benchmarks.pretrain.order", "--part", part, "--folder", folder]
            command += ["--epochs", str(arguments.epochs)]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
