"""Every layout computes what a single process computes, and any layout goes on from any other's checkpoint."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pretrain import export
from pretrain.settings import PretrainSettings
from tests.pretrain.ranks import run_ranks
from tests.pretrain.training import VOCABULARY, numbers_of, tiny, tiny_pack, with_layout

Single = tuple[Path, Path, dict[int, dict[str, float]]]
IDS = torch.arange(8, 56).view(2, 24)


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Single:
    """Pack, root and numbers of the whole training in one process."""
    folder = tmp_path_factory.mktemp("single")
    pack = tiny_pack(folder / "pack")
    (numbers,) = run_ranks(1, numbers_of, tiny(), pack, folder / "run")
    assert sorted(numbers) == [1, 2, 3, 4, 5, 6]
    assert numbers[6]["loss"] < numbers[1]["loss"]
    return pack, folder / "run", numbers


def logits(settings: PretrainSettings, root: Path) -> np.ndarray:
    """What the newest checkpoint, loaded whole into this process, makes of IDS."""
    model = export.load_whole(settings, root / "checkpoints", VOCABULARY)
    places = torch.arange(IDS.size(1)).expand_as(IDS)
    with torch.no_grad():
        return model(IDS, places, None)[..., :VOCABULARY].numpy()


@pytest.mark.parametrize(
    "layout",
    [{"tensor": 2}, {"tensor": 2, "sequence": True}, {"pipeline": 2}, {"data": 2}, {"micro_batch": 1}],
    ids=["tensor", "sequence", "pipeline", "data", "micro_batch"],
)
def test_goes_on_as_the_single_process(single: Single, tmp_path: Path, layout: dict[str, Any]) -> None:
    pack, root, expected = single
    start = "iter_0000002"
    shutil.copytree(root / "checkpoints" / start, tmp_path / "checkpoints" / start)
    settings = with_layout(tiny(), **layout)
    for numbers in run_ranks(settings.parallel.processes, numbers_of, settings, pack, tmp_path):
        assert sorted(numbers) == [3, 4, 5, 6]
        for iteration, row in numbers.items():
            assert row == pytest.approx(expected[iteration], rel=2e-5), iteration
    (ours,), (theirs,) = run_ranks(1, logits, settings, tmp_path), run_ranks(1, logits, settings, root)
    np.testing.assert_allclose(ours, theirs, atol=2e-4)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # megatron's zero_grad
def test_distributed_optimizer(single: Single, tmp_path: Path) -> None:
    """Its state split over two ranks, stopped and resumed on two and then on one: upstream loses Adam's step."""
    pack, _, expected = single
    settings = with_layout(tiny(), data=2, distributed_optimizer=True)
    seen: dict[int, dict[str, float]] = {}
    for world, stop_after in ((2, 2), (2, 4), (1, 0)):
        layout = with_layout(settings, data=world, distributed_optimizer=True)
        seen |= run_ranks(world, numbers_of, layout, pack, tmp_path, stop_after)[0]
    for iteration, row in expected.items():
        assert seen[iteration] == pytest.approx(row, rel=2e-5), iteration
