"""A run that was stopped goes on bit for bit; iterations without a finite loss harm nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.errors import PipelineError
from pretrain.position import Position
from pretrain.settings import Guard, PretrainSettings
from pretrain.train import data, loop
from tests.pretrain.helpers.ranks import run_ranks
from tests.pretrain.helpers.training import numbers_of, prepared, tiny, tiny_pack, weights, with_layout


def final_weights(settings: PretrainSettings, pack: Path, root: Path) -> dict[str, np.ndarray]:
    return weights(prepared(settings, pack, root))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # megatron's zero_grad
@pytest.mark.parametrize(
    ("precision", "layout"),
    [
        ("fp32", {}),
        ("bf16", {}),
        ("fp32", {"data": 2}),
        ("bf16", {"data": 2, "distributed_optimizer": True}),
        ("bf16", {"tensor": 2}),
    ],
    ids=["fp32", "bf16", "data", "distributed_optimizer", "tensor"],
)
def test_resumes_bit_for_bit(tmp_path: Path, precision: str, layout: dict[str, Any]) -> None:
    settings, pack = with_layout(tiny(precision=precision, save_every=0, keep=2), **layout), tiny_pack(tmp_path / "pack")
    world = settings.parallel.processes
    whole = run_ranks(world, numbers_of, settings, pack, tmp_path / "whole")[0]
    parts: dict[int, dict[str, float]] = {}
    for stop_after in (1, 4, 0):
        numbers = run_ranks(world, numbers_of, settings, pack, tmp_path / "parts", stop_after)[0]
        assert not parts.keys() & numbers.keys()
        parts |= numbers
    assert parts == whole
    assert [p.name for p in sorted((tmp_path / "parts" / "checkpoints").glob("iter*"))] == ["iter_0000004", "iter_0000006"]
    both = [run_ranks(world, final_weights, settings, pack, tmp_path / name) for name in ("whole", "parts")]
    for once, thrice in zip(*both, strict=True):
        for name, array in once.items():
            np.testing.assert_array_equal(thrice[name], array, err_msg=name)


def batches(run: loop.Run) -> Any:
    layout = run.settings.parallel
    return data.train_batches(run.datasets, 0, micro_batch_size=layout.micro_batch, rank=0, world=1)


def undefined_then_well(settings: PretrainSettings, pack: Path, root: Path, where: str) -> tuple[list[Any], Position]:
    """Weights after iterations 1, 2 and 3, of which the second has a loss or a gradient that is not a number."""
    run = prepared(settings, pack, root)
    source, seen, bad = batches(run), [], [False]
    token_loss = loop.token_loss

    def spoilt(mask: torch.Tensor, losses: torch.Tensor) -> Any:
        return token_loss(mask, losses * float("nan") if bad[0] and where == "loss" else losses)

    loop.token_loss = spoilt  # in this forked rank only
    parameter = next(run.chunks[0].parameters())
    parameter.register_hook(lambda gradient: gradient * float("inf") if bad[0] and where == "gradient" else gradient)
    for iteration in (1, 2, 3):
        bad[0] = iteration == 2
        numbers = loop.step(run, source)
        assert ("loss" in numbers) == (iteration != 2 or where == "gradient")
        assert ("grad" in numbers) == (iteration != 2)
        seen.append(weights(run))
    return seen, run.position


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_an_undefined_iteration_changes_no_weight(tmp_path: Path, where: str) -> None:
    pack = tiny_pack(tmp_path / "pack")
    ((first, second, third), position) = run_ranks(1, undefined_then_well, tiny(), pack, tmp_path / "run", where)[0]
    for name, array in first.items():
        np.testing.assert_array_equal(second[name], array, err_msg=name)
        assert np.isfinite(third[name]).all()
        assert (third[name] != array).any(), name
    assert position == Position(iteration=3, samples=12, skipped=1, skipped_in_row=0, discarded=((2, 2),))


def undefined_for_ever(settings: PretrainSettings, pack: Path, root: Path) -> str:
    run = prepared(settings, pack, root)
    token_loss = loop.token_loss
    loop.token_loss = lambda mask, losses: token_loss(mask, losses * float("nan"))
    with pytest.raises(PipelineError) as caught:
        loop.train(run, lambda: False)
    return str(caught.value)


def test_a_loss_that_stays_undefined_ends_the_run(tmp_path: Path) -> None:
    settings = with_layout(tiny(guard=Guard(max_skipped=3)), data=2)
    for message in run_ranks(2, undefined_for_ever, settings, tiny_pack(tmp_path / "pack"), tmp_path / "run"):
        assert "not finite in 3 iterations in a row, up to iteration 3; lower optimizer.lr" in message
