"""A tiny training, in forked ranks, for tests of everything around it."""

import dataclasses
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np

from pretrain import process, runtime
from pretrain.settings import Adam, Parallel, PretrainSettings, Shape
from pretrain.train import loop
from tests.pretrain.helpers.packs import EOS, random_documents, write_pack

VOCABULARY = 61  # a prime: the embedding must be filled up
SHAPE = Shape(layers=2, hidden=32, heads=4, kv_groups=2, ffn=48, vocab_multiple=8)


def tiny(parallel: Parallel | None = None, **changes: Any) -> PretrainSettings:
    """Six iterations of four samples of 24 tokens."""
    defaults: dict[str, Any] = {
        "iterations": 6,
        "seq_length": 24,
        "global_batch": 4,
        "model": SHAPE,
        "optimizer": Adam(lr=1e-2, min_lr=1e-3, warmup=2),
        "parallel": parallel or Parallel(micro_batch=2),
        "precision": "fp32",
        "save_every": 2,
        "keep": 9,
    }
    return PretrainSettings(**defaults | changes)


def tiny_pack(folder: Path) -> Path:
    """Two sources of short documents."""
    sources = {"a": random_documents(1, 40, 30, VOCABULARY), "b": random_documents(2, 40, 9, VOCABULARY)}
    return write_pack(folder, sources, vocab_size=VOCABULARY, valid=3)


def prepared(settings: PretrainSettings, pack: Path, root: Path) -> loop.Run:
    """This rank, ready to train or to go on."""
    runtime.start(settings.parallel, settings.seed)
    return loop.prepare_run(settings, loop.RunPaths(pack, root), VOCABULARY, EOS)


def numbers_of(settings: PretrainSettings, pack: Path, root: Path, stop_after: int = 0) -> dict[int, dict[str, float]]:
    """Train on this rank; iteration -> loss, lr, grad. A SIGTERM comes after iteration `stop_after`."""
    stopped = process.catch_stop_signals()
    run = prepared(settings, pack, root)
    seen: dict[int, dict[str, float]] = {}
    step = loop.step

    def watched(run: loop.Run, batches: Any) -> dict[str, float]:
        numbers = step(run, batches)
        seen[run.position.iteration] = dict(numbers)
        if run.position.iteration == stop_after:
            os.kill(os.getpid(), signal.SIGTERM)
        return numbers

    loop.step = watched  # in this forked rank only
    complete = loop.train(run, stopped)
    assert complete == (not stop_after)
    return seen


def weights(run: loop.Run) -> dict[str, np.ndarray]:
    """Copies of the weights that this rank holds, and of the optimizer's fp32 state."""
    from megatron.core.utils import unwrap_model

    bare: Any = unwrap_model(run.chunks[0])
    found = {name: tensor.detach().float().numpy().copy() for name, tensor in bare.named_parameters()}
    inner = run.optimizer.chained_optimizers[0].optimizer
    for number, state in enumerate(inner.state.values()):
        found |= {f"{number}.{name}": np.array(value.float().numpy()) for name, value in state.items()}
    return found


def with_layout(settings: PretrainSettings, **layout: Any) -> PretrainSettings:
    """The same training on another layout."""
    return dataclasses.replace(settings, parallel=Parallel(**{"micro_batch": 2, **layout}))
