"""Checkpoints that are written while training continues, and what is left when a writer or its rank dies."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist

from pipeline.errors import CorruptArtifact, ExternalServiceError
from pretrain.checkpoint import files
from pretrain.checkpoint.load import newest_checkpoint
from pretrain.train import loop
from tests.pretrain.helpers.digests import digests
from tests.pretrain.helpers.killed import BACKGROUND, train
from tests.pretrain.helpers.ranks import run_ranks
from tests.pretrain.helpers.training import prepared, tiny, tiny_pack, with_layout

pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # megatron's zero_grad


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
