"""Trainings that die on the way: what the tests of checkpoints share."""

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pretrain.settings import PretrainSettings
from pretrain.train import loop
from tests.pretrain.helpers.digests import digests
from tests.pretrain.helpers.ranks import run_ranks
from tests.pretrain.helpers.training import prepared, tiny, with_layout

BACKGROUND = with_layout(
    tiny(precision="bf16", async_save=True, keep=2, save_every=1), data=2, distributed_optimizer=True
)  # six iterations, six checkpoints


def train(
    settings: PretrainSettings, pack: Path, root: Path, patch: Callable[[], None] | None = None
) -> tuple[int, dict[str, str]]:
    """(the iteration that this rank went on from, its digests at the end)."""
    if patch:
        patch()
    run = prepared(settings, pack, root)
    began = run.position.iteration
    assert loop.train(run, lambda: False)
    return began, digests(run)


class Training:
    """A training of two ranks in a process group of its own, in the background."""

    def __init__(self, pack: Path, root: Path, patch: Callable[[], None] | None = None) -> None:
        # Every process of the group inherits the writing end, so the reading end is at its end when the last of them is gone.
        self._ended, held = os.pipe()
        context: Any = multiprocessing.get_context("fork")
        self.process = context.Process(target=_drive, args=(pack, root, patch))
        self.process.start()
        os.close(held)
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended, or has made the group itself
            os.setpgid(self.process.pid, self.process.pid)

    def kill_after(self, seconds: float) -> None:
        """kill -9 of the whole group, if it still runs by then, and wait until none of its processes is left."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.wait()

    def wait(self) -> int:
        """Wait for every process of the group; the exit code of the driver."""
        self.process.join()
        # A rank that was killed amid a system call finishes that call first: only then is the folder at rest.
        os.read(self._ended, 1)
        os.close(self._ended)
        return self.process.exitcode


def _drive(pack: Path, root: Path, patch: Callable[[], None] | None) -> None:
    with contextlib.suppress(PermissionError):
        os.setpgid(0, 0)
    run_ranks(2, train, BACKGROUND, pack, root, patch)
