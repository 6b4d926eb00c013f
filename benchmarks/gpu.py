"""`make bench-gpu`: training the 1.3B shape on one GPU in bf16, against transformers in the same run; exit 2 without a GPU.

For sequences of 2,048 and 4,096 tokens: tokens a second, TFLOP/s, MFU and the fullest moment of memory, ours and
transformers' (SDPA, fused AdamW; weights in bf16, and fp32 under autocast), then what one iteration of ours spends its time
on. Under nine minutes in all on an H100. The report goes to benchmarks/results/<GPU>.md. `--tiny` goes the same way with a
small shape on whatever device there is: its figures say nothing.
"""

import argparse
import dataclasses
import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import describe
from benchmarks.pretrain.pair import How, Ours, Theirs, across, llama_config, random_batches
from pipeline.files import write_text
from pipeline.runfile import load_run
from pretrain import runtime
from pretrain.cost import flops_per_token, peak_tflops
from pretrain.settings import Adam, Parallel, PretrainSettings, Shape

RUN = "ja-1.3b"  # LLM-jp v4's shape
VOCABULARY = 99_584  # LLM-jp v3's and v4's
LENGTHS = {2048: 4, 4096: 2}  # sequence -> samples of a micro-batch: 8,192 tokens each
MICRO_BATCHES = 4  # an iteration
WARM, ITERATIONS = 3, 8
MIN_MFU = 0.5
TOP = 15  # kernels that the profile names
RESULTS = Path(__file__).parent / "results"
TINY, TINY_LENGTHS = Shape(layers=2, hidden=64, heads=4, kv_groups=2, ffn=96), {32: 2}
PEERS: tuple[How, ...] = ("bf16", "autocast")


@dataclasses.dataclass(frozen=True)
class Measured:
    """One trainer at one length."""

    seconds: list[float]  # an iteration
    gigabytes: float  # at the fullest moment
    loss: float  # of the last iteration


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--tiny", action="store_true", help="a small shape on any device, to see that it runs")
    tiny = arguments.parse_args().tiny
    if not (tiny or runtime.HAVE_CUDA):
        print("bench-gpu: no CUDA device here; run it on a machine with one", file=sys.stderr)
        sys.exit(2)
    name = torch.cuda.get_device_name() if runtime.HAVE_CUDA else "CPU"
    lines, worst = [f"{describe('torch', 'megatron-core', 'transformers')}; {name}"], float("inf")
    print(lines[0], flush=True)
    for line, mfu in report(tiny, peak_tflops(name)):
        print(line, flush=True)
        lines.append(line)
        worst = min(worst, mfu)
    if tiny:
        return
    write_text(RESULTS / f"{name.replace(' ', '-')}.md", "# make bench-gpu\n\n```\n" + "\n".join(lines) + "\n```\n")
    if worst < MIN_MFU:
        sys.exit(f"demanded: {MIN_MFU:.0%} MFU, found {worst:.1%}")


def report(tiny: bool, peak: float) -> Iterator[tuple[str, float]]:
    """Yield lines, and the MFU of ours where a line says one (else infinity)."""
    profile, lengths = "", TINY_LENGTHS if tiny else LENGTHS
    for length, micro in lengths.items():
        settings = _settings(TINY if tiny else load_run(RUN).settings("pretrain", PretrainSettings).model, length, micro)
        vocab_size = 512 if tiny else VOCABULARY
        measured: dict[str, Measured] = {}
        ours = Ours(settings, "bf16", vocab_size)
        weights = ours.weights()
        batches = random_batches(settings, vocab_size, seed=1)
        measured["ours"] = measure(lambda ours=ours, batches=batches: ours.step(batches))
        if length == max(lengths):
            profile = profiled(lambda ours=ours, batches=batches: ours.step(batches))
        del ours
        for how in PEERS:
            empty()
            theirs = Theirs(settings, how, weights, llama_config(settings, vocab_size))
            measured[f"transformers {how}"] = measure(lambda theirs=theirs, batches=batches: theirs.step(batches, 1e-4))
            del theirs
        empty()
        weights_said = f"{settings.model.parameters(vocab_size):,} weights"
        yield f"\nsequence {length}, micro-batch {settings.parallel.micro_batch}, {weights_said}", float("inf")
        for which, row in measured.items():
            mfu, line = described(which, row, settings, vocab_size, peak)
            yield line, mfu if which == "ours" and peak else float("inf")
        best = min(statistics.median(row.seconds) for which, row in measured.items() if which != "ours")
        yield f"  ours is {best / statistics.median(measured['ours'].seconds):.2f} × the faster of transformers", float("inf")
    yield f"\nwhat an iteration of ours at the greatest length spends its time on:\n{profile}", float("inf")


def _settings(shape: Shape, length: int, micro: int) -> PretrainSettings:
    """A run of that shape on one device."""
    return across(
        PretrainSettings(
            iterations=1000,
            seq_length=length,
            global_batch=micro * MICRO_BATCHES,
            model=shape,
            optimizer=Adam(warmup=10),
            parallel=Parallel(micro_batch=micro),
        )
    )


def measure(step: Callable[[], float]) -> Measured:
    """Seconds of each iteration after the first ones, which compile."""
    for _ in range(WARM):
        step()
    if runtime.HAVE_CUDA:
        torch.cuda.reset_peak_memory_stats()
    seconds, loss = [], float("nan")
    for _ in range(ITERATIONS):
        synchronize()
        began = time.perf_counter()
        loss = step()
        synchronize()
        seconds.append(time.perf_counter() - began)
    used = torch.cuda.max_memory_allocated() if runtime.HAVE_CUDA else 0
    return Measured(seconds, used / 1e9, loss)


def described(which: str, row: Measured, settings: PretrainSettings, vocab_size: int, peak: float) -> tuple[float, str]:
    """MFU (0 where the peak is not known), and the line that says it all."""
    tokens = settings.global_batch * settings.seq_length
    median = statistics.median(row.seconds)
    tflops = tokens / median * flops_per_token(settings.model, settings.seq_length, vocab_size) / 1e12
    mfu = tflops / peak if peak else 0.0
    spread = f"{tokens / max(row.seconds):,.0f} to {tokens / min(row.seconds):,.0f}"
    line = (
        f"  {which:22} {tokens / median:>9,.0f} tokens/s ({spread})  {tflops:6.1f} TFLOP/s  MFU {mfu:5.1%}  "
        f"{row.gigabytes:5.1f} GB  loss {row.loss:.4f}"
    )
    return mfu, line


def profiled(step: Callable[[], float]) -> str:
    """The TOP operations of one iteration by their own time on the device."""
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if runtime.HAVE_CUDA else [])]
    with profile(activities=activities) as record:
        step()
        synchronize()
    key = "self_cuda_time_total" if runtime.HAVE_CUDA else "self_cpu_time_total"
    table: Any = record.key_averages()
    return table.table(sort_by=key, row_limit=TOP, max_name_column_width=60)


def synchronize() -> None:
    """Wait for the device."""
    if runtime.HAVE_CUDA:
        torch.cuda.synchronize()


def empty() -> None:
    """Give the memory of what was deleted back to the device."""
    gc.collect()
    if runtime.HAVE_CUDA:
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
