"""Training on the CPU: tokens a second of ours and of transformers, same shape, type, threads and run; and what bounds it.

Trials of a few iterations alternate between the two, so that what else the machine does hits both. The bound: the matrix
products of one iteration, run alone at the same sizes and in the same type, against the time of the whole iteration.
"""

import statistics
import sys
import time
from collections.abc import Callable

import torch

from benchmarks.pretrain_pair import How, Ours, Theirs, across, llama_config, random_batches
from pretrain import runtime
from pretrain.settings import Adam, Parallel, Precision, PretrainSettings, Shape

# The demo's shape, and one of ten million weights at twice its length.
SHAPES = {
    "demo": (Shape(layers=6, hidden=256, heads=4, kv_groups=2, ffn=688), 256, 8192),
    "10 M": (Shape(layers=8, hidden=256, heads=8, kv_groups=4, ffn=704), 512, 16_384),
}
TRIALS, ITERATIONS, WARM = 7, 3, 2
THREADS = 1
LEAST = 1.0
PEERS: dict[Precision, tuple[How, ...]] = {"fp32": ("fp32",), "bf16": ("autocast", "bf16")}


def main() -> None:
    torch.set_num_threads(THREADS)
    precisions: list[Precision] = ["fp32", "bf16"] if runtime.chosen_precision("auto") == "bf16" else ["fp32"]
    slower = []
    for name, (shape, length, vocab_size) in SHAPES.items():
        for precision in precisions:
            ratio = compare(name, across(settings_of(shape, length)), precision, vocab_size)
            if ratio < LEAST:
                slower.append(f"{name} {precision}: {ratio:.2f}")
    if slower:
        sys.exit(f"slower than transformers: {', '.join(slower)}")


def settings_of(shape: Shape, length: int) -> PretrainSettings:
    """Two micro-batches of four samples an iteration."""
    layout = Parallel(micro_batch=4, threads=THREADS, gpu=False)
    return PretrainSettings(
        iterations=1000, seq_length=length, global_batch=8, model=shape, optimizer=Adam(warmup=10), parallel=layout
    )


def compare(name: str, settings: PretrainSettings, precision: Precision, vocab_size: int) -> float:
    """Print medians of both; returns ours over the fastest of theirs."""
    ours = Ours(settings, precision, vocab_size)
    config = llama_config(settings, vocab_size)
    theirs = {how: Theirs(settings, how, ours.weights(), config) for how in PEERS[precision]}
    batches = random_batches(settings, vocab_size, seed=1)
    runs: dict[str, Callable[[], float]] = {"ours": lambda: ours.step(batches)}
    runs |= {how: lambda peer=peer: peer.step(batches, 1e-4) for how, peer in theirs.items()}
    seconds = alternately(runs)
    tokens = settings.global_batch * settings.seq_length
    median = {which: statistics.median(times) for which, times in seconds.items()}
    rates = ", ".join(
        f"{'ours' if which == 'ours' else 'transformers ' + which} {tokens / median[which]:,.0f} "
        f"({tokens / max(times):,.0f} to {tokens / min(times):,.0f})"
        for which, times in seconds.items()
    )
    ratios = {how: statistics.median(b / a for a, b in zip(seconds["ours"], seconds[how], strict=True)) for how in theirs}
    products = matrix_products(settings, vocab_size, torch.bfloat16 if precision == "bf16" else torch.float32)
    print(f"{name}, {precision}, {THREADS} thread: tokens/s: {rates}")
    print(
        "  ours is " + ", ".join(f"{ratio:.2f} × transformers {how}" for how, ratio in ratios.items())
        + f"; its matrix products alone take {products / median['ours']:.0%} of an iteration",
        flush=True,
    )  # fmt: skip
    return min(ratios.values())


def alternately(runs: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Seconds an iteration of each, TRIALS times in turn."""
    for run in runs.values():
        for _ in range(WARM):
            run()
    seconds: dict[str, list[float]] = {which: [] for which in runs}
    for _ in range(TRIALS):
        for which, run in runs.items():
            began = time.perf_counter()
            for _ in range(ITERATIONS):
                run()
            seconds[which].append((time.perf_counter() - began) / ITERATIONS)
    return seconds


def matrix_products(settings: PretrainSettings, vocab_size: int, kind: torch.dtype) -> float:
    """Seconds of an iteration's matrix products alone, the fastest of TRIALS: each weight's three, attention's left out."""
    shape, rows = settings.model, settings.parallel.micro_batch * settings.seq_length
    layer = [
        (shape.hidden, (shape.heads + 2 * shape.kv_groups) * shape.head_dim),
        (shape.heads * shape.head_dim, shape.hidden),
        (shape.hidden, 2 * shape.ffn),
        (shape.ffn, shape.hidden),
    ]
    steps = settings.global_batch // settings.parallel.micro_batch
    total = 0.0
    for (inputs, outputs), count in [(sizes, shape.layers) for sizes in layer] + [((shape.hidden, vocab_size), 1)]:
        x_NI, w_OI = torch.randn(rows, inputs, dtype=kind), torch.randn(outputs, inputs, dtype=kind)
        dy_NO = torch.randn(rows, outputs, dtype=kind)
        best = float("inf")
        for _ in range(TRIALS):
            began = time.perf_counter()
            for product in ((x_NI, w_OI.t()), (dy_NO, w_OI), (dy_NO.t(), x_NI)):
                torch.mm(*product)
            best = min(best, time.perf_counter() - began)
        total += best * count * steps
    return total


if __name__ == "__main__":
    main()
