"""kill -9, whenever it comes: the run goes on from a whole checkpoint and ends with the same bits."""

import functools
import os
import random
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from megatron.core.dist_checkpointing.strategies import filesystem_async

from pretrain.checkpoint import files, save
from tests.helpers import busy_core
from tests.pretrain.helpers.killed import BACKGROUND, Training, train
from tests.pretrain.helpers.ranks import run_ranks
from tests.pretrain.helpers.training import tiny, tiny_pack, with_layout

pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # megatron's zero_grad
Digests = list[tuple[int, dict[str, str]]]
PLACES = {  # where it dies during its fourth checkpoint -> the iteration that it goes on from
    "folder": 3,
    "shard": 3,
    "sums": 3,
    "metadata": 3,
    "description": 3,
    "name": 3,
    "pointer": 4,
    "torn pointer": 4,
    "retention": 4,
}


def die() -> None:
    """kill -9 of the driver, its ranks and their writers: they are one process group."""
    os.killpg(0, signal.SIGKILL)


def dying(where: str) -> None:
    """Patch this process, so that it and its group die at a place of their fourth checkpoint."""
    fourth = "iter_0000004"

    def before(module: Any, name: str, doomed: Callable[..., bool]) -> None:
        original = getattr(module, name)

        @functools.wraps(original)  # megatron looks at a signature
        def patched(*arguments: Any, **more: Any) -> Any:
            if doomed(*arguments, **more):
                die()
            return original(*arguments, **more)

        setattr(module, name, patched)

    written = [0]

    def third_tensor(transforms: Any, stream: Any, *_: object, **__: object) -> bool:
        written[0] += fourth in stream.name
        return written[0] == 3

    def torn(path: Path, _: object) -> bool:
        if path.name == files.LATEST and fourth in str(_):
            path.write_bytes(b'{"na')
            return True
        return False

    if where == "folder":
        before(save, "_plan_save", lambda fresh, *_: fourth in fresh.name)
    elif where == "shard":
        before(filesystem_async, "_write_item", third_tensor)
    elif where == "sums":
        before(files, "hash_files", lambda fresh, pattern: fourth in fresh.name and pattern == "__1_*")
    elif where == "metadata":
        before(files, "hash_files", lambda fresh, pattern: fourth in fresh.name and pattern == "[!_]*")
    elif where == "description":
        before(files, "write_json", lambda path, _: fourth in path.parent.name)
    elif where == "name":
        before(files, "fsync", lambda path: path.name.startswith(fourth))
    elif where == "pointer":
        before(files, "write_json", lambda path, value: value.get("name") == fourth)
    elif where == "torn pointer":
        before(files, "write_json", torn)
    else:
        before(files.shutil, "rmtree", lambda path, *_: "iter_0000002" in str(path))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Digests]:
    """The pack, and what a run that nobody kills ends with, its checkpoints written one after the other."""
    folder = tmp_path_factory.mktemp("whole")
    pack = tiny_pack(folder / "pack")
    settings = with_layout(tiny(precision="bf16"), data=2, distributed_optimizer=True)
    return pack, run_ranks(2, train, settings, pack, folder / "run")


@pytest.mark.parametrize("where", PLACES)
def test_killed_while_a_checkpoint_is_written(uninterrupted: tuple[Path, Digests], tmp_path: Path, where: str) -> None:
    pack, whole = uninterrupted
    assert Training(pack, tmp_path, partial(dying, where)).wait() == -signal.SIGKILL
    for (began, found), (_, expected) in zip(run_ranks(2, train, BACKGROUND, pack, tmp_path), whole, strict=True):
        assert began == PLACES[where]
        assert found == expected
    names = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert names == ["iter_0000005", "iter_0000006", "latest.json"], "nothing is left of what was not finished"


def kill_at_random(pack: Path, root: Path, moments: list[float]) -> Digests:
    """Kill one run after the other, each after some seconds, and let a last one end."""
    for seconds in moments:
        Training(pack, root).kill_after(seconds)
    return run_ranks(2, train, BACKGROUND, pack, root)


def test_killed_at_random_moments(uninterrupted: tuple[Path, Digests], tmp_path: Path) -> None:
    pack, whole = uninterrupted
    dice = random.Random(20261121)
    found = kill_at_random(pack, tmp_path, [dice.uniform(0, 3) for _ in range(2)])
    assert [digests for _, digests in found] == [digests for _, digests in whole]


@pytest.mark.long
@pytest.mark.parametrize("seed", range(20))
def test_killed_at_random_moments_beside_a_busy_core(uninterrupted: tuple[Path, Digests], tmp_path: Path, seed: int) -> None:
    pack, whole = uninterrupted
    dice = random.Random(seed)
    with busy_core():
        found = kill_at_random(pack, tmp_path, [dice.uniform(0, 5) for _ in range(4)])
    assert [digests for _, digests in found] == [digests for _, digests in whole]
