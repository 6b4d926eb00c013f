"""kill -9, whenever it comes: the run goes on from a whole checkpoint and ends with the same bits."""

import functools
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist
from megatron.core.dist_checkpointing.strategies import filesystem_async

from pipeline.errors import CorruptArtifact, ExternalServiceError
from pretrain.checkpoint import files, save
from pretrain.checkpoint.load import newest_checkpoint
from pretrain.settings import PretrainSettings
from pretrain.train import loop
from tests.pretrain.helpers.digests import digests
from tests.pretrain.helpers.ranks import run_ranks
from tests.pretrain.helpers.training import prepared, tiny, tiny_pack, with_layout

pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # megatron's zero_grad
BACKGROUND = with_layout(
    tiny(precision="bf16", async_save=True, keep=2, save_every=1), data=2, distributed_optimizer=True
)  # six iterations, six checkpoints
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


def train(settings: PretrainSettings, pack: Path, root: Path, where: str = "") -> tuple[int, dict[str, str]]:
    """(the iteration that this rank went on from, its digests at the end)."""
    if where:
        dying(where)
    run = prepared(settings, pack, root)
    began = run.position.iteration
    assert loop.train(run, lambda: False)
    return began, digests(run)


def driver(pack: Path, root: Path, where: str) -> None:
    """A run in a process group of its own."""
    os.setsid()
    run_ranks(2, train, BACKGROUND, pack, root, where)


def started(pack: Path, root: Path, where: str = "") -> Any:
    process = multiprocessing.get_context("fork").Process(target=driver, args=(pack, root, where))
    process.start()
    return process


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[int, dict[str, str]]]]:
    """The pack, and what a run that nobody kills ends with, its checkpoints written one after the other."""
    folder = tmp_path_factory.mktemp("whole")
    pack = tiny_pack(folder / "pack")
    settings = with_layout(tiny(precision="bf16"), data=2, distributed_optimizer=True)
    return pack, run_ranks(2, train, settings, pack, folder / "run")


@pytest.mark.parametrize("where", PLACES)
def test_killed_while_a_checkpoint_is_written(uninterrupted: Any, tmp_path: Path, where: str) -> None:
    pack, whole = uninterrupted
    process = started(pack, tmp_path, where)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    for (began, found), (_, expected) in zip(run_ranks(2, train, BACKGROUND, pack, tmp_path), whole, strict=True):
        assert began == PLACES[where]
        assert found == expected
    names = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert names == ["iter_0000005", "iter_0000006", "latest.json"], "nothing is left of what was not finished"


def test_killed_at_random_moments(uninterrupted: Any, tmp_path: Path) -> None:
    pack, whole = uninterrupted
    dice = random.Random(20261121)
    for _ in range(4):
        process = started(pack, tmp_path)
        process.join(dice.uniform(0.5, 5))
        if process.exitcode is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.join()
    for (_, found), (_, expected) in zip(run_ranks(2, train, BACKGROUND, pack, tmp_path), whole, strict=True):
        assert found == expected


def test_a_torn_pointer_or_a_torn_folder_is_told_from_damage(tmp_path: Path) -> None:
    pack, folder = tiny_pack(tmp_path / "pack"), tmp_path / "checkpoints"
    run_ranks(1, train, with_layout(tiny()), pack, tmp_path)

    def newest() -> int:
        saved = newest_checkpoint(folder)
        assert saved
        return saved.position.iteration

    latest, about = folder / "latest.json", folder / "iter_0000006" / "checkpoint.json"
    good = about.read_bytes()
    for pointer in (b"", b'{"name": "iter_00', b"[]", b'{"name": 3}', b'{"name": "elsewhere"}', b"\xff", None):
        latest.write_bytes(pointer) if pointer is not None else latest.unlink()
        assert newest() == 6
        about.write_bytes(good[: len(good) // 2])
        with pytest.raises(CorruptArtifact, match=r"iter_0000006/checkpoint\.json.*go on from iter_0000004"):
            newest()
        about.write_bytes(good)
    latest.write_bytes(b'{"name": "iter_0000004"}')
    assert newest() == 6, "it was given its name, and the machine died before the pointer was written"
    about.write_bytes(good[: len(good) // 2])
    assert newest() == 4, "it never was whole"
    about.unlink()
    assert newest() == 4


def paused(gate: Path, rank: int) -> None:
    """Writers of this rank wait for `gate` before a file counts as written."""
    sync = os.fsync

    def waiting(descriptor: int) -> None:
        while not gate.exists() and dist.get_rank() == rank:
            time.sleep(0.01)
        sync(descriptor)

    os.fsync = waiting


def goes_on(pack: Path, root: Path) -> tuple[dict[str, str], dict[str, str], list[int]]:
    """Digests when a checkpoint was begun, those two iterations later, and what was on disk when."""
    run = prepared(BACKGROUND, pack, root)
    gate, seen, batches = root / "gate", [], loop._batches(run)
    loop.step(run, batches)
    then = digests(run)
    paused(gate, rank=1)
    run.save()
    for _ in range(2):
        loop.step(run, batches)
        run.saver.poll()
        seen.append(len(files.list_finished(root / "checkpoints")))
    later = digests(run)
    dist.barrier()
    gate.touch()
    run.saver.finish()
    seen.append(len(files.list_finished(root / "checkpoints")))
    run.saver.poll()
    assert then != later
    return then, later, seen


def restored(pack: Path, root: Path) -> dict[str, str]:
    return digests(prepared(BACKGROUND, pack, root))


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path: Path) -> None:
    """And what is written is what was there when the checkpoint began."""
    pack = tiny_pack(tmp_path / "pack")
    results = run_ranks(2, goes_on, pack, tmp_path)
    for (then, _, seen), now in zip(results, run_ranks(2, restored, pack, tmp_path), strict=True):
        assert seen == [0, 0, 1]
        assert now == then


def writer_killed(pack: Path, root: Path) -> tuple[str, list[str]]:
    run = prepared(BACKGROUND, pack, root)
    paused(root / "never", rank=1)
    run.save()
    pending: Any = run.saver._pending
    if dist.get_rank() == 1:
        os.kill(pending.writer.pid, signal.SIGKILL)
    with pytest.raises(ExternalServiceError) as caught:
        run.saver.finish()
    dist.barrier()
    return str(caught.value), [p.name for p in (root / "checkpoints").iterdir()]


def test_a_killed_writer_is_one_line(tmp_path: Path) -> None:
    for said, left in run_ranks(2, writer_killed, tiny_pack(tmp_path / "pack"), tmp_path):
        assert "the process that wrote it ended with signal 9" in said and "\n" not in said
        assert left == []


def lonely(pack: Path, root: Path) -> None:
    """A rank that dies while its writer waits; the writer's process id, and those of its own children, are left in a file."""
    run = prepared(tiny(async_save=True), pack, root)
    paused(root / "never", rank=0)
    run.save()
    pending: Any = run.saver._pending
    writer = pending.writer.pid
    children = Path(f"/proc/{writer}/task/{writer}/children")
    while not (below := children.read_text("utf-8").split()):
        time.sleep(0.01)
    (root / "writers").write_text(" ".join([str(writer), *below]), "utf-8")
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="only Linux tells a process that its parent died")
def test_writers_die_with_their_rank(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="SIGKILL"):
        run_ranks(1, lonely, tiny_pack(tmp_path / "pack"), tmp_path)
    pids = (tmp_path / "writers").read_text("utf-8").split()
    assert len(pids) >= 2
    while any(alive(pid) for pid in pids):
        time.sleep(0.05)  # the test's own time limit is the judge


def alive(pid: str) -> bool:
    """Whether a process runs; a zombie that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
