"""Megabytes of text encoded in a second of processor time: ours against Hugging Face tokenizers, and two processes against one.

One core each, the same vocabulary and texts, all encoders in turn in one process; a fresh Hugging Face tokenizer each trial,
because its cache of whole lines would answer the second trial. Two processes encode a corpus file each, as packing does;
beside them: packing whole, every file synchronized to the disk, and what the machine gives two processes that only count.
"""

import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

TRIALS = 5
CHARACTERS = 1_000_000  # of a source
PACKED = "aozora"
REQUIRED = 7.0
REQUIRED_SCALING = 1.8  # times one process, of the 2 that two cores would give; the same share of what this machine gives
# Of the packing that is measured: seconds of work, in many files, so that neither process waits long for the other's last.
FILES, PACKED_CHARACTERS = 32, 30_000_000
COUNTED = 1_500_000  # additions of a process that only counts: as long as a file takes


def main() -> None:
    os.environ["TOKENIZERS_PARALLELISM"], os.environ["RAYON_NUM_THREADS"] = "false", "1"
    from benchmarks.tokenizer.model import model_of, parser
    from benchmarks.tokenizer.texts import JAPANESE, load

    arguments = parser(__doc__).parse_args()
    texts, model = load(arguments.data).train, model_of(arguments)
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[:1])
    measured = {source: compare(source, up_to(texts[source], CHARACTERS), model) for source in sorted(texts)}
    os.sched_setaffinity(0, cores)
    two = two_processes(up_to(texts[PACKED], PACKED_CHARACTERS), model, cores) if len(cores) > 1 else float("nan")
    ours, theirs = (sum(seconds[place] for seconds in measured.values()) for place in range(2))
    ratios = {source: seconds[1] / seconds[0] for source, seconds in measured.items()} | {"all": theirs / ours}
    print(f"all together: ours {ratios['all']:.1f}x tokenizers")
    least = min((*JAPANESE, "all"), key=ratios.__getitem__)
    if ratios[least] < REQUIRED or not two >= REQUIRED_SCALING:
        sys.exit(f"demanded: {REQUIRED}x ({least}: {ratios[least]:.1f}x), {REQUIRED_SCALING} of 2 processes ({two:.2f})")


def up_to(texts: Sequence[str], characters: int) -> list[str]:
    """The first texts, of so many characters together."""
    taken: list[str] = []
    for text in texts:
        if characters <= 0:
            break
        taken.append(text[:characters])
        characters -= len(text)
    return taken


def compare(source: str, texts: Sequence[str], model: bytes) -> tuple[float, float]:
    """Print the medians of every encoder; returns seconds of ours and of tokenizers."""
    from tokenizers import Tokenizer as Fast

    from tokenizer.encode import Tokenizer
    from tokenizer.export import tokenizer_json

    ours = Tokenizer(model)
    ours.encode_arrays(texts[:1])
    exported = json.dumps(tokenizer_json(ours))
    seconds: dict[str, list[float]] = {"ours": [], "SentencePiece": [], "tokenizers": []}
    for _ in range(TRIALS):
        fresh: Any = Fast.from_str(exported)
        seconds["ours"].append(processor_time(lambda: ours.encode_arrays(texts)))
        seconds["SentencePiece"].append(processor_time(lambda: ours.encode_batch(texts)))
        seconds["tokenizers"].append(processor_time(lambda fresh=fresh: fresh.encode_batch(texts, add_special_tokens=False)))
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    median = {name: statistics.median(took) for name, took in seconds.items()}
    rates = {name: [megabytes / second for second in (median[name], max(took), min(took))] for name, took in seconds.items()}
    shown = ", ".join(f"{name} {mid:.1f} ({low:.1f} to {high:.1f})" for name, (mid, low, high) in rates.items())
    ratio = median["tokenizers"] / median["ours"]
    print(f"{source}: MB per CPU-second of {megabytes:.1f} MB: {shown}; ours {ratio:.1f}x tokenizers", flush=True)
    return median["ours"], median["tokenizers"]


def processor_time(task: Callable[[], object]) -> float:
    """Seconds of processor time, so that what else runs on the machine counts little."""
    began = time.process_time()
    task()
    return time.process_time() - began


def two_processes(texts: Sequence[str], model: bytes, cores: Sequence[int]) -> float:
    """Encoding FILES files with one process and with two; returns how many times as much two do, of 2."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from pipeline.documents import DOCUMENT_COLUMNS
    from tokenizer.encode import MODEL_FILE

    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / MODEL_FILE).write_bytes(model)
        for number in range(FILES):
            rows = [dict.fromkeys(DOCUMENT_COLUMNS, "") | {"source": "s", "text": text} for text in texts[number::FILES]]
            pq.write_table(pa.Table.from_pylist(rows), folder / f"s-{number:05}.parquet")
        context = multiprocessing.get_context("spawn")
        with context.Pool(1) as one, context.Pool(2) as two:
            pools = {1: one, 2: two}
            for workers, pool in pools.items():
                pool.map(pack, [(folder, 0)] * (4 * workers), chunksize=1)  # every process has loaded and compiled
            walls: dict[tuple[Any, int], list[float]] = {(task, n): [] for task in (encode, pack, count) for n in pools}
            largest_first = sorted(range(FILES), key=lambda number: -sum(map(len, texts[number::FILES])))
            for _ in range(2 * TRIALS):
                for (task, workers), wall in walls.items():
                    began = time.monotonic()
                    pools[workers].map(task, [(folder, number) for number in largest_first], chunksize=1)
                    wall.append(time.monotonic() - began)
    encoding, packing, counting = (
        [first / second for first, second in zip(walls[task, 1], walls[task, 2], strict=True)] for task in (encode, pack, count)
    )
    of_two = [2 * ours / most for ours, most in zip(encoding, counting, strict=True)]
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    rates = ", ".join(f"{workers}: {megabytes / statistics.median(walls[encode, workers]):.1f}" for workers in pools)
    print(f"encoding files, MB a second by processes: {rates}; load {os.getloadavg()[0]:.1f} of {len(cores)} cores")
    print(f"  two processes are {spread(encoding)} x one; two that only count are {spread(counting)} x one")
    print(f"  of what the machine gives two: {spread(of_two)} of 2; packing whole, with the disk: {spread(packing)} x one")
    return max(statistics.median(encoding), statistics.median(of_two))


def spread(figures: Sequence[float]) -> str:
    """Median, least and most."""
    return f"{statistics.median(figures):.2f} ({min(figures):.2f} to {max(figures):.2f})"


def encode(task: tuple[Path, int]) -> None:
    """Read and encode one corpus file, in batches as the packing stage does."""
    from pipeline.documents import read_documents
    from pretrain.pack.shards import BATCH_TEXTS, load_tokenizer

    folder, number = task
    tokenizer, rows = load_tokenizer(folder), read_documents(folder / f"s-{number:05}.parquet", ("text",))
    while batch := [row["text"] for row in islice(rows, BATCH_TEXTS)]:
        tokenizer.encode_arrays(batch)


def pack(task: tuple[Path, int]) -> None:
    """Encode one corpus file, as a task of the packing stage does."""
    from pretrain.pack.shards import EncodeShard, encode_shard

    folder, number = task
    shard = EncodeShard(folder / f"s-{number:05}.parquet", "s", folder, folder / f"out-{os.getpid()}-{number}")
    encode_shard(shard)


def count(_: object) -> int:
    """Work that needs nothing but a processor."""
    total = 0
    for number in range(COUNTED):
        total += number
    return total


if __name__ == "__main__":
    main()
