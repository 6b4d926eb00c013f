"""Every layout computes what a single process computes, over 20 iterations, and any goes on from its checkpoint."""

import dataclasses
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pretrain import runtime
from pretrain.checkpoint.load import load_checkpoint, newest_checkpoint
from pretrain.model import build
from pretrain.model.build import build_bare_model
from pretrain.settings import Adam, Parallel, PretrainSettings, Shape
from tests.pretrain.helpers.ranks import run_ranks
from tests.pretrain.helpers.training import SHAPE, VOCABULARY, numbers_of, tiny, tiny_pack, with_layout

Single = tuple[PretrainSettings, Path, Path, dict[int, dict[str, float]]]
FIRST, LAST = 2, 22
IDS = torch.arange(8, 56).view(2, 24)
LLAMA = dataclasses.replace(SHAPE, layers=4, vocab_multiple=5)  # 65 rows of the embedding, and 70 over two ranks
GPT2 = dataclasses.replace(LLAMA, architecture="gpt2", kv_groups=4, tied=False)

LAYOUTS: dict[str, dict[str, Any]] = {
    "tensor": {"tensor": 2},
    "tensor-sequence": {"tensor": 2, "sequence": True},
    "pipeline": {"pipeline": 2},
    "interleaved": {"pipeline": 2, "virtual": 2},
    "tensor-pipeline-sequence": {"tensor": 2, "pipeline": 2, "sequence": True, "micro_batch": 1},
    "tensor-interleaved-sequence": {"tensor": 2, "pipeline": 2, "virtual": 2, "sequence": True, "micro_batch": 1},
    "data": {"data": 2},
    "data-interleaved": {"data": 2, "pipeline": 2, "virtual": 2, "micro_batch": 1},
    "micro_batch": {"micro_batch": 1},
}


def settings_of(shape: Shape, **changes: Any) -> PretrainSettings:
    """A training with everything that could go apart between layouts: z-loss, clipping, documents' ends."""
    adam = Adam(lr=1e-3, min_lr=1e-4, warmup=2, clip=0.8)
    return tiny(model=shape, iterations=LAST, optimizer=adam, z_loss=1e-3, save_every=0, valid_tokens=60, **changes)


def trained_alone(settings: PretrainSettings, folder: Path) -> Single:
    """The training in one process, its checkpoint after FIRST iterations in `start`, and what it said of all."""
    pack = tiny_pack(folder / "pack")
    (numbers,) = run_ranks(1, numbers_of, settings, pack, folder / "run", FIRST)
    shutil.copytree(folder / "run" / "checkpoints", folder / "start" / "checkpoints")
    numbers |= run_ranks(1, numbers_of, settings, pack, folder / "run")[0]
    assert sorted(numbers) == list(range(1, LAST + 1))
    assert numbers[LAST]["loss"] < numbers[1]["loss"] and numbers[1]["grad"] > settings.optimizer.clip
    return settings, pack, folder, numbers


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Single:
    return trained_alone(settings_of(LLAMA), tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Single:
    return trained_alone(settings_of(GPT2), tmp_path_factory.mktemp("gpt2"))


def logits(settings: PretrainSettings, root: Path) -> np.ndarray:
    """What the newest checkpoint, loaded whole into this process, makes of IDS."""
    whole = dataclasses.replace(settings, parallel=Parallel())
    runtime.start(whole.parallel, whole.seed)
    bare: Any = build_bare_model(whole, "fp32", VOCABULARY)
    saved = newest_checkpoint(root / "checkpoints")
    assert saved is not None and saved.position.iteration == LAST
    load_checkpoint(saved, [bare])
    places = torch.arange(IDS.size(1)).expand_as(IDS)
    with torch.no_grad():
        return bare.eval()(IDS, places, None)[..., :VOCABULARY].numpy()


def equal(ours: dict[int, dict[str, float]], expected: dict[int, dict[str, float]]) -> None:
    for iteration, row in ours.items():
        assert {"loss", "grad", "lr"} <= row.keys()
        assert row == pytest.approx(expected[iteration], rel=1e-5), iteration


def goes_on(single: Single, layout: dict[str, Any], root: Path) -> None:
    """The rest of the training on `layout`, every rank of it, and the weights that it leaves."""
    settings, pack, folder, expected = single
    shutil.copytree(folder / "start" / "checkpoints", root / "checkpoints")
    laid_out = with_layout(settings, **layout)
    for numbers in run_ranks(laid_out.parallel.processes, numbers_of, laid_out, pack, root):
        assert sorted(numbers) == list(range(FIRST + 1, LAST + 1))
        equal(numbers, expected)
    (ours,), (theirs,) = run_ranks(1, logits, laid_out, root), run_ranks(1, logits, settings, folder / "run")
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_llama_goes_on_as_the_single_process(llama: Single, tmp_path: Path, layout: str) -> None:
    goes_on(llama, LAYOUTS[layout], tmp_path)


@pytest.mark.parametrize("layout", ["tensor", "interleaved", "tensor-pipeline-sequence"])
def test_gpt2_goes_on_as_the_single_process(gpt2: Single, tmp_path: Path, layout: str) -> None:
    goes_on(gpt2, LAYOUTS[layout], tmp_path)


def overlapped(*arguments: Any) -> dict[int, dict[str, float]]:
    """`numbers_of` with communication beside the computation, as on GPUs, in many buckets; in this forked rank only."""
    runtime.OVERLAP = True
    bucketed: Any = partial(build.DistributedDataParallelConfig, bucket_size=2000)
    build.DistributedDataParallelConfig = bucketed
    return numbers_of(*arguments)


@pytest.mark.parametrize("layout", ["data", "data-interleaved"])
def test_overlapped_gradients(llama: Single, tmp_path: Path, layout: str) -> None:
    settings, pack, folder, expected = llama
    shutil.copytree(folder / "start" / "checkpoints", tmp_path / "checkpoints")
    laid_out = with_layout(settings, **LAYOUTS[layout])
    equal(run_ranks(laid_out.parallel.processes, overlapped, laid_out, pack, tmp_path)[0], expected)


@pytest.mark.parametrize("overlap", [False, True], ids=["in turn", "overlapped"])
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # megatron's zero_grad
def test_distributed_optimizer(llama: Single, tmp_path: Path, overlap: bool) -> None:
    """Its state split over two ranks, stopped and resumed on two and then on one: upstream loses Adam's step."""
    settings, pack, folder, expected = llama
    settings = dataclasses.replace(settings, valid_every=5)
    seen: dict[int, dict[str, float]] = {}
    for world, stop_after in ((2, 2), (2, 12), (1, 0)):
        layout = with_layout(settings, data=world, distributed_optimizer=True)
        seen |= run_ranks(world, overlapped if overlap else numbers_of, layout, pack, tmp_path, stop_after)[0]
    assert sorted(seen) == list(range(1, LAST + 1))
    equal(seen, expected)
    (ours,), (theirs,) = run_ranks(1, logits, settings, tmp_path), run_ranks(1, logits, settings, folder / "run")
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
