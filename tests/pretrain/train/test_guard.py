"""The guard: what is skipped, what a rewind leaves, and that a stopped run decides as before."""

import dataclasses
import math
import os
import shutil
import signal
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import PipelineError
from pretrain import process
from pretrain.position import Position, add_range
from pretrain.settings import Guard, PretrainSettings
from pretrain.train import guard, loop
from tests.pretrain.helpers.ranks import run_ranks
from tests.pretrain.helpers.training import prepared, tiny, tiny_pack, weights, with_layout

NAN, INF = math.nan, math.inf


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 5)), max_size=8))
def test_ranges_are_the_set_of_their_iterations(pairs: list[tuple[int, int]]) -> None:
    ranges, iterations = (), set()
    for first, more in pairs:
        ranges = add_range(ranges, first, first + more)
        iterations |= set(range(first, first + more + 1))
    assert [i for first, last in ranges for i in range(first, last + 1)] == sorted(iterations)
    assert all(later[0] > earlier[1] + 1 for earlier, later in pairwise(ranges))


@pytest.mark.parametrize(("loss", "norm"), [(NAN, 1.0), (INF, 1.0), (1.0, NAN), (1.0, INF), (NAN, NAN)])
def test_what_is_not_finite_is_never_kept(loss: float, norm: float) -> None:
    assert guard.judge(Guard(), Position(), loss, norm) == "not finite"
    assert guard.judge(Guard(), Position(), 1e30, 1e30) == "kept"  # no limit was set


@given(st.lists(st.floats(0.1, 9) | st.just(NAN), max_size=40), st.integers(1, 5), st.floats(1.1, 3))
def test_against_the_whole_history(losses: list[float], window: int, spike: float) -> None:
    """The position keeps what the decision needs: the same as when all losses are remembered."""
    limits, position, kept, undone, row = Guard(spike=spike, window=window), Position(), [], [], 0
    for iteration, loss in enumerate(losses, 1):
        leaps = len(kept) >= window and loss > spike * median(kept[-window:])
        expected = "not finite" if math.isnan(loss) else "spike" if leaps else "kept"
        verdict = guard.judge(limits, position, loss, 1.0)
        assert verdict == expected
        position = guard.advance(limits, position, verdict, samples=4, loss=loss)
        kept += [loss] * (verdict == "kept")
        undone += [iteration] * (verdict != "kept")
        row = 0 if verdict == "kept" else row + 1
        assert (position.iteration, position.samples, position.skipped, position.skipped_in_row) == (
            iteration, 4 * iteration, len(undone), row
        )  # fmt: skip
    assert position.recent == tuple(kept[-window:])
    assert [i for first, last in position.discarded for i in range(first, last + 1)] == undone


def test_a_rewind_undoes_everything_since_the_checkpoint() -> None:
    saved = Position(40, 160, 1, 0, 0, ((7, 7),), (2.0, 1.0))
    now = Position(53, 212, 4, 3, 1, ((7, 7), (51, 53)), (3.0, 4.0))
    assert guard.rewind(now, saved) == Position(53, 212, 4, 0, 2, ((7, 7), (41, 53)), (2.0, 1.0))


def bad_losses(factors: dict[int, float]) -> Any:
    """From now on, in this forked rank, the losses of those iterations are multiplied."""
    token_loss, step, now = loop.token_loss, loop.step, [0]

    def watched(run: loop.Run, batches: Any) -> dict[str, float]:
        now[0] = run.position.iteration + 1
        return step(run, batches)

    loop.step = watched
    loop.token_loss = lambda mask, losses: token_loss(mask, losses * factors.get(now[0], 1.0))


def trained(
    settings: PretrainSettings, pack: Path, root: Path, factors: dict[int, float], stop_after: int = 0
) -> tuple[dict[int, float], Position, dict[str, np.ndarray]]:
    """Losses by iteration, the position at the end, and all that this rank holds."""
    bad_losses(factors)
    stopped, step, losses = process.catch_stop_signals(), loop.step, {}

    def watched(run: loop.Run, batches: Any) -> dict[str, float]:
        numbers = step(run, batches)
        losses[run.position.iteration] = numbers.get("loss", NAN)
        if run.position.iteration == stop_after:
            os.kill(os.getpid(), signal.SIGUSR1)
        return numbers

    loop.step = watched
    run = prepared(settings, pack, root)
    assert loop.train(run, stopped) == (not stop_after)
    return losses, run.position, weights(run)


def from_checkpoint(
    settings: PretrainSettings, pack: Path, root: Path, iteration: int
) -> tuple[dict[int, float], dict[str, np.ndarray]]:
    """Train on from the newest checkpoint's weights, but with the data and the schedule after `iteration`."""
    run = prepared(settings, pack, root)
    samples = 4 * iteration
    run.scheduler.step(increment=samples - run.position.samples)
    run.position = dataclasses.replace(run.position, iteration=iteration, samples=samples)
    batches, losses = loop._batches(run), {}
    while run.position.iteration < settings.iterations:
        numbers = loop.step(run, batches)
        losses[run.position.iteration] = numbers["loss"]
    return losses, weights(run)


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(other[name], array, err_msg=name)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # megatron's zero_grad
@pytest.mark.parametrize(
    ("precision", "layout", "factor", "limits"),
    [
        ("fp32", {}, NAN, Guard(max_skipped=2, rewind=1)),
        ("bf16", {"data": 2, "distributed_optimizer": True}, 9.0, Guard(max_skipped=2, rewind=1, spike=3.0, window=3)),
    ],
    ids=["nan", "spike"],
)
def test_a_run_rewinds_to_its_checkpoint_and_goes_on_with_the_next_data(
    tmp_path: Path, precision: str, layout: dict[str, Any], factor: float, limits: Guard
) -> None:
    """Checkpoint at 4, trouble at 7 and 8: 5 to 8 are undone, and 9 on is a training from 4's weights."""
    settings = with_layout(tiny(precision=precision, iterations=12, save_every=4, guard=limits), **layout)
    pack, world = tiny_pack(tmp_path / "pack"), settings.parallel.processes
    bad = {7: factor, 8: factor}
    ranks = run_ranks(world, trained, settings, pack, tmp_path / "run", bad)
    losses, position, _ = ranks[0]
    assert (position.iteration, position.samples, position.skipped, position.rewinds) == (12, 48, 2, 1)
    assert position.discarded == ((5, 8),)
    names = [p.name for p in sorted((tmp_path / "run" / "checkpoints").glob("iter_*"))]
    assert names == ["iter_0000004", "iter_0000008", "iter_0000012"]
    shutil.copytree(tmp_path / "run" / "checkpoints" / names[0], tmp_path / "again" / "checkpoints" / names[0])
    again = run_ranks(world, from_checkpoint, settings, pack, tmp_path / "again", 8)
    for (_, _, held), (expected, fresh) in zip(ranks, again, strict=True):
        assert expected == {i: losses[i] for i in (9, 10, 11, 12)}
        same(held, fresh)
    shutil.copytree(tmp_path / "run" / "checkpoints" / names[0], tmp_path / "killed" / "checkpoints" / names[0])
    run_ranks(world, trained, settings, pack, tmp_path / "stopped", bad, 9)
    for name in ("killed", "stopped"):  # before the trouble and after it: what is decided and kept is the same
        resumed = run_ranks(world, trained, settings, pack, tmp_path / name, bad)
        for (_, _, held), (_, there, fresh) in zip(ranks, resumed, strict=True):
            assert there == position
            same(held, fresh)


def refused(settings: PretrainSettings, pack: Path, root: Path, factors: dict[int, float]) -> tuple[str, Position]:
    bad_losses(factors)
    run = prepared(settings, pack, root)
    with pytest.raises(PipelineError) as caught:
        loop.train(run, lambda: False)
    return str(caught.value), run.position


def test_after_its_rewinds_it_stops(tmp_path: Path) -> None:
    settings = tiny(iterations=20, save_every=2, guard=Guard(max_skipped=2, rewind=2, spike=2.0, window=2))
    bad = dict.fromkeys(range(5, 21), 50.0)
    ((message, position),) = run_ranks(1, refused, settings, tiny_pack(tmp_path / "pack"), tmp_path / "run", bad)
    assert "loss above 2 times the median of 2 in 2 iterations in a row, up to iteration 10, after 2 rewind(s); " in message
    assert "\n" not in message and position.discarded == ((5, 10),)


def test_without_a_checkpoint_there_is_nothing_to_rewind_to(tmp_path: Path) -> None:
    settings = tiny(guard=Guard(max_skipped=1, rewind=3), save_every=4)
    ((message, position),) = run_ranks(1, refused, settings, tiny_pack(tmp_path / "pack"), tmp_path / "run", {2: NAN})
    assert "not finite in 1 iterations in a row, up to iteration 2; lower optimizer.lr" in message
    assert position.rewinds == 0 and not list((tmp_path / "run" / "checkpoints").glob("iter_*"))


def too_long(settings: PretrainSettings, pack: Path, root: Path) -> tuple[str, bool]:
    run = prepared(settings, pack, root)
    before = weights(run)
    tokens = torch.ones(2, 48, dtype=torch.int64)
    batch = {"tokens": tokens, "labels": tokens, "loss_mask": tokens.float(), "position_ids": tokens}
    with pytest.raises(PipelineError) as caught:
        loop.step(run, [iter([batch, batch])])
    return str(caught.value), all((before[name] == array).all() for name, array in weights(run).items())


def test_a_sample_longer_than_the_positions(tmp_path: Path) -> None:
    pack = tiny_pack(tmp_path / "pack")
    ((message, unharmed),) = run_ranks(1, too_long, tiny(), pack, tmp_path / "run")
    assert "a sample of 48 tokens, but the model has 24 positions; lower pretrain.seq_length" in message
    assert "\n" not in message and unharmed
