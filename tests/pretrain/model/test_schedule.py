"""The learning rate by sample, against its formulas; a batch that ramps up does not bend it."""

import math
from types import SimpleNamespace
from typing import Any

import pytest

from pretrain.model.schedule import build_scheduler
from pretrain.settings import Adam, PretrainSettings, RampUp
from tests.pretrain.helpers.training import tiny

PEAK, LOW = 3e-4, 3e-5


def rates(settings: PretrainSettings, begin: int = 0) -> dict[int, float]:
    """Samples read -> the rate of the step taken there, from iteration `begin` on, as the loop asks for them."""
    optimizer: Any = SimpleNamespace(param_groups=[{"lr": 0.0}, {"lr": 0.0, "wd_mult": 0.0}])
    scheduler = build_scheduler(settings, optimizer)
    consumed = settings.batch_schedule.consumed(settings.iterations).tolist()
    scheduler.step(increment=consumed[begin])
    found = {}
    for before, read in zip(consumed[begin:], consumed[begin + 1 :], strict=False):
        scheduler.step(increment=read - before)
        decaying, bare = optimizer.param_groups
        assert decaying["lr"] == bare["lr"]
        assert (decaying["weight_decay"], bare["weight_decay"]) == (settings.optimizer.weight_decay, 0.0)
        found[read] = decaying["lr"]
    return found


def cosine(read: int, warming: int, samples: int) -> float:
    if read <= warming:
        return PEAK * read / warming
    return LOW + (PEAK - LOW) * (1 + math.cos(math.pi * (read - warming) / (samples - warming))) / 2


def wsd(read: int, warming: int, samples: int, share: float) -> float:
    if read <= warming:
        return PEAK * read / warming
    return min(PEAK, LOW + (PEAK - LOW) * (samples - read) / round(share * samples))  # whole samples


@pytest.mark.parametrize("ramp_up", [RampUp(), RampUp(start=2, step=2, samples=40)], ids=["even", "ramping"])
@pytest.mark.parametrize("decay", ["cosine", "wsd"])
def test_against_the_formulas(ramp_up: RampUp, decay: Any) -> None:
    adam = Adam(lr=PEAK, min_lr=LOW, warmup=3, decay=decay, decay_share=0.25)
    settings = tiny(iterations=50, global_batch=8, optimizer=adam, ramp_up=ramp_up)
    found, samples = rates(settings), settings.samples
    assert samples == sum(settings.batch_schedule.size_at(n) for n in [0, *found][:-1])
    expected = {n: cosine(n, 24, samples) if decay == "cosine" else wsd(n, 24, samples, 0.25) for n in found}
    assert found == pytest.approx(expected, rel=1e-9)
    assert max(found.values()) == pytest.approx(PEAK, rel=0.02) and found[samples] == pytest.approx(LOW)
    assert rates(settings, begin=20) == {n: rate for n, rate in found.items() if n in [*found][20:]}, "also where it goes on"


@pytest.mark.parametrize(
    ("adam", "iterations", "said"),
    [
        (Adam(warmup=5, decay="wsd", decay_share=0.5), 8, "warmup = 5 takes 20 samples, only 16 of 32 come before the decay"),
        (Adam(warmup=6), 8, "warmup = 6 takes 24 samples, only 15 of 16 come before the decay"),
    ],
)
def test_a_warmup_that_meets_the_decay_is_refused(adam: Adam, iterations: int, said: str) -> None:
    ramp_up = RampUp() if adam.decay == "wsd" else RampUp(start=2, step=2, samples=30)
    with pytest.raises(ValueError, match=said):
        tiny(iterations=iterations, optimizer=adam, ramp_up=ramp_up)
