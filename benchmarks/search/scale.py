"""What an index of 1 TB and of 10 TB of text takes, from building and asking three sizes: does each figure grow with the text?

Each size is built by the stage's own tasks in processes of their own. What is multiplied is the rate of the greatest size.
"""

import math
import multiprocessing
import os
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe
from benchmarks.search.run import make_run
from benchmarks.search.texts import load, parser, working
from pipeline.artifact import open_sealed
from pipeline.documents import document_files
from pipeline.runfile import RunFile

SHARES = (0.25, 0.5, 1.0)
TERABYTES = (1, 10)
# Of a machine that serves: memory mapped files stay in, and what one core does.
CORES_A_MACHINE, DISK_A_MACHINE = 64, 30e12
SHARD = 1e9  # bytes of text: four-byte offsets, 8 GB of memory to build
QUERIES = 1000


@dataclass(frozen=True)
class Size:
    """One measured size."""

    text: int  # bytes
    ngrams: float  # seconds of processor, text to sealed files
    vectors: float
    disk: int  # bytes of text, suffixes, documents, passages, reads
    vector_disk: int
    peak: int  # bytes of memory that building added
    fences: int
    count: float  # seconds, median


def main() -> None:
    arguments = parser(__doc__).parse_args()
    print(describe("numpy", "numba", "pydivsufsort", "faiss-cpu"), f"load {os.getloadavg()[0]:.1f}", sep=", ", flush=True)
    texts = load(arguments.data)
    with working(arguments.work) as work:
        run = make_run(work / "one", texts.documents, shard_bytes=1 << 30)
        sizes = [measure(run, share) for share in SHARES]
    print("  text MB | n-grams MB a CPU-s | vectors MB a CPU-s | disk B/B | vectors B/B | peak B/B | fences B/B | count µs")
    for size in sizes:
        n = size.text
        row = (n / 1e6, n / 1e6 / size.ngrams, n / 1e6 / size.vectors, size.disk / n, size.vector_disk / n, size.peak / n)
        print("  " + " | ".join(f"{v:.2f}" for v in (*row, size.fences / n, size.count * 1e6)))
    for terabytes in TERABYTES:
        print(arithmetic(sizes[-1], terabytes * 1e12, f"{terabytes} TB"))
    bound = math.log2(sizes[-1].text) / math.log2(sizes[0].text) * 1.35
    growth = (sizes[-1].ngrams / sizes[-1].text) / (sizes[0].ngrams / sizes[0].text)
    if growth > bound:
        sys.exit(
            f"demanded: building grows no faster than n log n; a byte of the greatest takes {growth:.2f}x one of the least"
        )


def arithmetic(size: Size, text: float, name: str) -> str:
    """Disk, memory, core-hours and machines for so many bytes of text."""
    scale, shards = text / size.text, text / SHARD
    disk, vectors = size.disk * scale / 1e12, size.vector_disk * scale / 1e12
    machines = max(math.ceil((disk + vectors) * 1e12 / DISK_A_MACHINE), 1)
    count = size.count * shards * 1e3
    return "\n    ".join(
        (
            f"  {name}: {shards:,.0f} shards; disk {disk:.1f} TB, vectors {vectors:.1f} TB more",
            f"building: {size.ngrams * scale / 3600:,.0f} core-hours, vectors {size.vectors * scale / 3600:,.0f}; "
            f"memory of a task {size.peak / size.text * SHARD / 1e9:.1f} GB",
            f"serving: {machines} of machines with {DISK_A_MACHINE / 1e12:.0f} TB; "
            f"fences {size.fences * scale / 1e9:,.0f} GB in memory",
            f"a count: {count:,.0f} ms of processor, {count / machines / CORES_A_MACHINE:.1f} ms with {CORES_A_MACHINE} cores",
        )
    )


def measure(run: RunFile, share: float) -> Size:
    """Build the first documents, so many of all."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, context.Pool(1) as pool:
        pool.apply(_build, (run, 0.02, Path(folder) / "warm"))  # the process has loaded and compiled
        return Size(**pool.apply(_build, (run, share, Path(folder) / "measured")))


def _build(run: RunFile, share: float, data: Path) -> dict[str, Any]:
    from search.index import tasks
    from search.index.steps import Trained
    from search.settings import IndexSettings
    from search.shard import store

    data.mkdir()
    stages = {stage: open_sealed(run.root(stage)) for stage in ("corpus", "tokenizer", "pack", "pretrain", "index")}
    (rows,) = tasks.plan_shards(document_files(stages["corpus"]), 1 << 30)
    part = tuple(
        tasks.Rows(row.path, row.group, row.begin, row.begin + max(round((row.end - row.begin) * share), 1)) for row in rows
    )
    trained, before = Trained.of(stages), _peak()
    began = time.process_time()
    stats = tasks.index_text(
        tasks.TextShard(
            name="00000",
            rows=part,
            data=data,
            order=trained.order,
            pack=trained.pack,
            tokenizer=trained.tokenizer,
            settings=IndexSettings(),
        )
    )
    ngrams, peak = time.process_time() - began, _peak() - before
    began = time.process_time()
    tasks.index_vectors(tasks.VectorShard("00000", data, stages["index"].data / store.VECTOR / store.MODEL))
    vectors = time.process_time() - began
    shard = store.Shard(data, "00000")
    return {
        "text": stats["bytes"], "ngrams": ngrams, "vectors": vectors, "peak": peak,
        "disk": _size(data / store.SHARDS), "vector_disk": _size(data / store.VECTOR),
        "fences": next(data.rglob("fences.u8")).stat().st_size, "count": _count(shard),
    }  # fmt: skip


def _count(shard: Any) -> float:
    rng, taken = random.Random(1), []
    queries = []
    for passage in rng.choices(range(shard.passages), k=QUERIES):
        (text,) = shard.passage_texts([passage])
        begin = rng.randrange(len(text))
        queries.append(text[begin : begin + rng.randint(2, 16)].encode())
    for query in queries:
        began = time.thread_time_ns()
        shard.suffixes.count(query)
        taken.append((time.thread_time_ns() - began) / 1e9)
    return float(np.median(taken))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _peak() -> int:
    """Bytes that this process has had at most in memory; `ru_maxrss` would have what its parent had before."""
    (line,) = (row for row in Path("/proc/self/status").read_text("utf-8").splitlines() if row.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
