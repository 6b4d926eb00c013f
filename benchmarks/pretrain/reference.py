"""An independent reference: the demo's training written with transformers and torch, on the same batches, losses compared.

Needs the demo's packed data (`make pack`). fp32, 100 iterations, the schedule squeezed into them, at LLM-jp v3's learning
rate: at the demo's, seven times as high, losses that are equal to seven digits after ten iterations differ by 2e-3 after fifty.
"""

import argparse
import dataclasses
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.pretrain.pair import EOS, Ours, Theirs, across, llama_config, lr_at
from pipeline.artifact import open_sealed
from pipeline.runfile import load_run
from pretrain.export import init_single_process
from pretrain.settings import Parallel, PretrainSettings
from pretrain.train import data

ROOT = Path(__file__).parents[2]
ITERATIONS, WARMUP, LR = 100, 10, 3e-4
MAXIMUM = 1e-3  # relative difference of any iteration's losses


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--artifacts", type=Path, default=ROOT / "artifacts")
    chosen = arguments.parse_args()
    run = load_run("demo", artifacts=str(chosen.artifacts))
    settings = run.settings("pretrain", PretrainSettings)
    settings = dataclasses.replace(
        across(settings),
        iterations=ITERATIONS,
        optimizer=dataclasses.replace(settings.optimizer, lr=LR, min_lr=LR / 10, warmup=WARMUP),
        parallel=Parallel(micro_batch=settings.parallel.micro_batch, threads=0, gpu=False),
    )
    pack = open_sealed(run.root("pack"))
    vocab_size = pack.stats["vocab_size"]
    init_single_process()
    with tempfile.TemporaryDirectory() as cache:
        datasets = data.build_datasets(pack.data, data.data_settings(settings), eos_id=EOS, cache=Path(cache))
        micro = settings.parallel.micro_batch
        batches = list(data.train_batches(datasets, 0, micro_batch_size=micro, rank=0, world=1))
    ours = Ours(settings, "fp32", vocab_size)
    theirs = Theirs(settings, "fp32", ours.weights(), llama_config(settings, vocab_size))
    steps, largest = settings.global_batch // micro, 0.0
    for iteration in range(1, ITERATIONS + 1):
        part = batches[(iteration - 1) * steps : iteration * steps]
        one, other = ours.step(part), theirs.step(part, lr_at(settings, iteration))
        largest = max(largest, abs(one - other) / other)
        if iteration in (1, 10, 50, ITERATIONS):
            print(f"iteration {iteration}: ours {one:.6f}, transformers {other:.6f}", flush=True)
    print(f"largest relative difference of {ITERATIONS} iterations: {largest:.1e} (torch {torch.__version__}, fp32)")
    if largest > MAXIMUM:
        sys.exit(f"demanded: at most {MAXIMUM}")


if __name__ == "__main__":
    main()
