"""A checkpoint moves from layout to layout: not a bit of it changes on the way, and training goes on with the same losses."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pretrain.settings import Adam, PretrainSettings
from tests.pretrain.helpers.digests import digests
from tests.pretrain.helpers.ranks import run_ranks
from tests.pretrain.helpers.training import SHAPE, numbers_of, prepared, tiny, tiny_pack, weights, with_layout

pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # megatron's zero_grad
ALONE: dict[str, Any] = {}
TENSOR = {"tensor": 2}
SEQUENCE = {"tensor": 2, "sequence": True}
PIPELINE = {"pipeline": 2}
INTERLEAVED = {"pipeline": 2, "virtual": 2}
DATA = {"data": 2}
CHAINS: dict[str, list[dict[str, Any]]] = {
    "model": [ALONE, TENSOR, PIPELINE, ALONE],
    "all": [ALONE, DATA, INTERLEAVED, SEQUENCE, {"tensor": 2, "pipeline": 2, "micro_batch": 1}, ALONE],
}
# Four layers, for two interleaved stages; 61 tokens fill up to 62 rows in one process and to 64 in two.
SHAPE_4 = dataclasses.replace(SHAPE, layers=4, vocab_multiple=2)


def settings_of(**changes: Any) -> PretrainSettings:
    adam = Adam(lr=1e-3, min_lr=1e-4, warmup=2)
    return tiny(model=SHAPE_4, optimizer=adam, iterations=24, save_every=0, keep=1, **changes)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, dict[str, float]]]:
    """The pack, and losses, learning rates and gradient norms of the whole training in one process."""
    folder = tmp_path_factory.mktemp("alone")
    pack = tiny_pack(folder / "pack")
    return pack, run_ranks(1, numbers_of, settings_of(), pack, folder / "run")[0]


@pytest.mark.parametrize("distributed", [False, True], ids=["plain", "distributed_optimizer"])
@pytest.mark.parametrize("chain", CHAINS)
def test_goes_on_with_the_same_losses(alone: Any, tmp_path: Path, chain: str, distributed: bool) -> None:
    pack, expected = alone
    seen: dict[int, dict[str, float]] = {}
    steps = 24 // len(CHAINS[chain])
    for number, layout in enumerate(CHAINS[chain], 1):
        settings = with_layout(settings_of(), **layout, distributed_optimizer=distributed)
        stop = steps * number if number < len(CHAINS[chain]) else 0
        numbers = run_ranks(settings.parallel.processes, numbers_of, settings, pack, tmp_path, stop)[0]
        assert sorted(numbers) == list(range(steps * (number - 1) + 1, steps * number + 1))
        seen |= numbers
    for iteration, row in expected.items():
        assert seen[iteration] == pytest.approx(row, rel=1e-5), iteration


def saved_again(settings: PretrainSettings, pack: Path, root: Path) -> None:
    run = prepared(settings, pack, root)
    assert run.position.iteration == 2
    run.save()


def state(settings: PretrainSettings, pack: Path, root: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    run = prepared(settings, pack, root)
    return digests(run), weights(run)


@pytest.mark.parametrize("distributed", [False, True], ids=["plain", "distributed_optimizer"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_not_a_bit_changes_on_the_way(tmp_path: Path, precision: str, distributed: bool) -> None:
    pack = tiny_pack(tmp_path / "pack")
    settings = with_layout(settings_of(precision=precision), distributed_optimizer=distributed)
    run_ranks(1, numbers_of, settings, pack, tmp_path, 2)
    ((before, numbers),) = run_ranks(1, state, settings, pack, tmp_path)
    assert any(np.abs(array).max() > 0 for name, array in numbers.items() if "exp_avg" in name)
    for layout in CHAINS["all"][1:-1]:
        moved = with_layout(settings, **layout, distributed_optimizer=distributed)
        run_ranks(moved.parallel.processes, saved_again, moved, pack, tmp_path)
    ((after, _),) = run_ranks(1, state, settings, pack, tmp_path)
    assert after == before
