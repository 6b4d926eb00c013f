"""Training on the CPU: tokens a second of ours and of transformers, same shape, type, threads and run; and what bounds it.

Each trains in a process of its own, so that neither has the other's settings of torch and memory; iterations alternate, only
one computes at a time. The machine may be shared: beside wall time, the process's own processor time is taken, and of
both the median of the ratios of neighbouring iterations; the processor's decides. First losses are held against each other.
The bound: the matrix products of one iteration, run alone at the same sizes and in the same type.
"""

import contextlib
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.pretrain.pair import How, Ours, Theirs, across, llama_config, lr_at, random_batches
from pretrain import runtime
from pretrain.model import onednn
from pretrain.settings import Adam, Parallel, Precision, PretrainSettings, Shape

# The demo's shape, and one of ten million weights at twice its length.
SHAPES = {
    "demo": (Shape(layers=6, hidden=256, heads=4, kv_groups=2, ffn=688), 256, 8192),
    "10 M": (Shape(layers=8, hidden=256, heads=8, kv_groups=4, ffn=704), 512, 16_384),
}
TOKENS, MICRO_BATCHES = 1024, 2  # of a micro-batch, and in an iteration
TRIALS, WARM = 9, 2
THREADS = 1
MINIMUM = 1.0
PEERS: dict[Precision, tuple[How, ...]] = {"fp32": ("fp32",), "bf16": ("autocast", "bf16")}
# Relative difference of the first losses; without a warm-up yet they say that weights, batches and attention are the same.
ALIKE: dict[Precision, float] = {"fp32": 1e-5, "bf16": 2e-2}


@dataclass(frozen=True)
class Case:
    """What is trained."""

    settings: PretrainSettings
    precision: Precision
    vocab_size: int
    weights: Path  # the first ones: ours writes them, theirs reads them


@dataclass(frozen=True)
class Iteration:
    """One, measured where it runs."""

    wall: float  # seconds
    processor: float  # seconds of all threads of the process
    loss: float


def main() -> None:
    precisions: list[Precision] = ["fp32", "bf16"] if runtime.resolve_precision("auto") == "bf16" else ["fp32"]
    slower = []
    for name, (shape, length, vocab_size) in SHAPES.items():
        for precision in precisions:
            ratio = compare(name, across(settings_of(shape, length)), precision, vocab_size)
            if ratio < MINIMUM:
                slower.append(f"{name} {precision}: {ratio:.2f}")
    if slower:
        sys.exit(f"slower than transformers: {', '.join(slower)}")


def settings_of(shape: Shape, length: int) -> PretrainSettings:
    """Two micro-batches of 1,024 tokens an iteration."""
    size = TOKENS // length
    layout = Parallel(micro_batch=size, threads=THREADS, gpu=False)
    adam = Adam(warmup=10)
    return PretrainSettings(
        iterations=1000, seq_length=length, global_batch=size * MICRO_BATCHES, model=shape, optimizer=adam, parallel=layout
    )


def compare(name: str, settings: PretrainSettings, precision: Precision, vocab_size: int) -> float:
    """Print medians of both; returns ours over the fastest of theirs, by processor time.

    Raises: SystemExit where the two do not train alike.
    """
    with tempfile.TemporaryDirectory() as folder:
        case = Case(settings, precision, vocab_size, Path(folder) / "weights.pt")
        seen, products_alone = alternately(case)
    ours, tokens = seen.pop("ours"), settings.global_batch * settings.seq_length
    bound = products_alone / statistics.median(row.processor for row in ours[WARM:])
    print(f"{name}, {precision}, {THREADS} thread, tokens/s by the clock, by processor time:", flush=True)
    print(f"  ours {rates(ours, tokens)}; matrix products alone take {bound:.0%} of an iteration")
    ratios = []
    for how, theirs in seen.items():
        for a, b in zip(ours[:WARM], theirs, strict=False):
            if abs(a.loss - b.loss) > ALIKE[precision] * b.loss:
                sys.exit(f"{name}, {precision}: loss {a.loss}, transformers {how} {b.loss}: not the same training")
        wall, processor = (
            statistics.median(getattr(b, clock) / getattr(a, clock) for a, b in zip(ours[WARM:], theirs[WARM:], strict=True))
            for clock in ("wall", "processor")
        )
        print(f"  transformers {how} {rates(theirs, tokens)}")
        print(f"  ours is {wall:.2f} × transformers {how} by the clock, {processor:.2f} × by processor time", flush=True)
        ratios.append(processor)
    return min(ratios)


def rates(rows: list[Iteration], tokens: int) -> str:
    """Tokens a second, medians of the trials."""
    return ", ".join(
        f"{tokens / statistics.median(getattr(r, clock) for r in rows[WARM:]):,.0f}" for clock in ("wall", "processor")
    )


def alternately(case: Case) -> tuple[dict[str, list[Iteration]], float]:
    """Every iteration of ours and of its peers, the first ones included, and the seconds of `matrix_products`.

    Who begins changes from trial to trial.
    """
    seen: dict[str, list[Iteration]] = {}
    with contextlib.ExitStack() as stack:
        trainers = {which: stack.enter_context(trainer(case, which)) for which in ("ours", *PEERS[case.precision])}
        for trial in range(WARM + TRIALS):
            for which in list(trainers)[:: -1 if trial % 2 else 1]:
                seen.setdefault(which, []).append(asked(trainers[which], "iteration"))
        return seen, asked(trainers["ours"], "products")


def asked(connection: Any, what: str) -> Any:
    """What the process at the other end answers."""
    connection.send(what)
    return connection.recv()


@contextlib.contextmanager
def trainer(case: Case, which: Any) -> Iterator[Any]:
    """A connection to a forked process that trains; this one computes nothing itself, so that a fork inherits imports only."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=_train, args=(there, case, which), daemon=True)
    process.start()
    there.close()
    try:
        here.recv()  # built
        yield here
        here.send("end")
        process.join()
    finally:
        process.kill()


def _train(connection: Any, case: Case, which: Any) -> None:
    settings, vocab_size = case.settings, case.vocab_size
    torch.set_num_threads(THREADS)
    batches, iteration = random_batches(settings, vocab_size, seed=1), 0
    if which == "ours":
        trained: Any = Ours(settings, case.precision, vocab_size)
        torch.set_num_threads(THREADS)
        torch.save(trained.weights(), case.weights)
    else:
        trained = Theirs(settings, which, torch.load(case.weights), llama_config(settings, vocab_size))
    connection.send("built")
    while (what := connection.recv()) != "end":
        if what == "products":
            connection.send(
                matrix_products(settings, vocab_size, torch.bfloat16 if case.precision == "bf16" else torch.float32)
            )
            continue
        iteration += 1
        lr = () if which == "ours" else (lr_at(settings, iteration),)  # ours knows its own
        wall, processor = time.perf_counter(), time.process_time()
        loss = trained.step(batches, *lr)
        connection.send(Iteration(time.perf_counter() - wall, time.process_time() - processor, loss))


def matrix_products(settings: PretrainSettings, vocab_size: int, kind: torch.dtype) -> float:
    """Processor time of an iteration's matrix products alone, as our layers do them, without attention; fastest of TRIALS."""
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
            began = time.process_time()
            for product, a, b in three(kind, x_NI, w_OI, dy_NO):
                product(a, b)
            best = min(best, time.process_time() - began)
        total += best * count * steps
    return total


def three(kind: torch.dtype, x_NI: Tensor, w_OI: Tensor, dy_NO: Tensor) -> list[tuple[Callable[..., Tensor], Tensor, Tensor]]:
    """A layer's products: forward, and the gradients of its input and its weight."""
    if onednn.is_supported(kind):
        return [(onednn.matmul_nt, x_NI, w_OI), (onednn.matmul_nt, dy_NO, w_OI.t()), (onednn.matmul_tn, dy_NO, x_NI)]
    return [(torch.mm, x_NI, w_OI.t()), (torch.mm, dy_NO, w_OI), (torch.mm, dy_NO.t(), x_NI)]


if __name__ == "__main__":
    main()
