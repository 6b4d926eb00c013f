"""The real training loop on two data-parallel ranks, stopped and resumed: the model gets as input what the order says."""

import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist

from pipeline.reading_order import Order
from pretrain.settings import Adam, Parallel, PretrainSettings, RampUp, Shape
from pretrain.train import __main__ as train
from pretrain.train import loop
from tests.pretrain.helpers.packs import marked_pack
from tests.pretrain.helpers.ranks import run_ranks
from tests.pretrain.helpers.truth import check_documents, check_iterations, in_blend_order

LENGTHS = {"a": [random.Random(n).randint(1, 40) for n in range(14)], "b": [random.Random(n).randint(1, 9) for n in range(20)]}
VOCABULARY = 1024
MICRO = 2
SETTINGS = PretrainSettings(
    iterations=14,
    seq_length=16,
    global_batch=8,
    model=Shape(layers=1, hidden=16, heads=2, kv_groups=1, ffn=32),
    optimizer=Adam(warmup=2),
    parallel=Parallel(data=2, micro_batch=MICRO),
    precision="fp32",
    weights={"a": 0.7, "b": 0.3},
    ramp_up=RampUp(start=4, step=4, samples=14),  # four iterations of 4 samples, then 8
    valid_every=3,
    save_every=0,
)


def train_and_record(pack: Path, root: Path, stop_after: int) -> dict[int, list[list[int]]]:
    """Run one rank of the training until it is asked to stop; iteration -> the rows its model was called with."""
    seen: list[list[int]] = []
    recorded: dict[int, list[list[int]]] = {}
    build_chunks, step = loop.build_chunks, loop.step

    def watched_chunks(*arguments: Any) -> list[Any]:
        chunks = build_chunks(*arguments)
        chunks[0].register_forward_pre_hook(lambda module, inputs: seen.extend(inputs[0].tolist()) if module.training else None)
        return chunks

    def watched_step(run: loop.Run, batches: Any) -> dict[str, float]:
        seen.clear()
        numbers = step(run, batches)
        recorded[run.position.iteration] = list(seen)
        if run.position.iteration == stop_after and dist.get_rank() == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return numbers

    with pytest.MonkeyPatch.context() as patch:  # in this forked rank only
        patch.setattr(loop, "build_chunks", watched_chunks)
        patch.setattr(loop, "step", watched_step)
        train.train_rank(SETTINGS, pack, root, VOCABULARY, 2)
    return recorded


def test_the_order_is_what_the_model_was_fed(tmp_path: Path) -> None:
    pack, owners = marked_pack(tmp_path / "pack", LENGTHS)
    assert len(owners) < VOCABULARY
    first = run_ranks(2, train_and_record, pack, tmp_path / "run", 5)
    second = run_ranks(2, train_and_record, pack, tmp_path / "run", 0)
    assert [sorted(rank) for rank in first] == [[1, 2, 3, 4, 5]] * 2
    assert [sorted(rank) for rank in second] == [list(range(6, 15))] * 2
    both = [before | after for before, after in zip(first, second, strict=True)]
    recorded = [in_blend_order([rank[iteration] for rank in both], MICRO) for iteration in range(1, SETTINGS.iterations + 1)]
    order = Order.open(tmp_path / "run" / "data" / "order", pack)
    assert order.total == SETTINGS.iterations
    check_documents(order, owners, recorded)
    check_iterations(order, owners, recorded)
    for source, lengths in LENGTHS.items():  # three epochs of each
        assert sum(owners[token][0] == source for rows in recorded for row in rows for token in row) > 3 * sum(lengths)
