"""Writing checkpoints while training goes on: every rank forks a process that writes its part as it was at the fork.

The parts become a checkpoint when all ranks have written theirs: `Saver.poll`, once an iteration, or `Saver.finish`.
A writer dies with its rank, so a killed run leaves nothing but a folder without a name.

Host memory while one is written: a copy of the weights and of the optimizer's state (12 bytes a parameter of this
rank's stage and tensor-parallel part in fp32; with the distributed optimizer on every data-parallel rank, for
megatron's `fully_reshardable` gathers it).
"""

import gc
import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from megatron.core import dist_checkpointing
from megatron.core.dist_checkpointing.serialization import get_default_save_sharded_strategy
from megatron.core.dist_checkpointing.strategies.async_utils import AsyncRequest
from megatron.core.dist_checkpointing.strategies.fully_parallel import FullyParallelSaveStrategyWrapper

from pipeline.errors import DiskFull, ExternalServiceError, PipelineError
from pipeline.files import is_disk_full
from pretrain import megatron_patches, runtime
from pretrain.checkpoint import files
from pretrain.checkpoint.state import chunk_states, metadata_for
from pretrain.position import Position
from pretrain.process import end_with_parent
from pretrain.runtime import run_on_rank_0
from pretrain.settings import Precision


class Saver:
    """Leaves the checkpoints of one run, one at a time; every method is for all ranks together.

    Args:
        keep: checkpoints kept, the newest.
        background: `save` returns while the files are still being written.
    """

    def __init__(self, folder: Path, *, keep: int, background: bool = False) -> None:
        self.folder, self.keep, self.background = folder, keep, background
        self._pending: _PendingCheckpoint | None = None
        if dist.get_rank() == 0:
            files.remove_partials(folder)

    def save(self, chunks: list[Any], optimizer: Any, position: Position, precision: Precision) -> None:
        """Begin a checkpoint of what the model and its optimizer hold now; the one before is finished first.

        Raises: as `finish`.
        """
        self.finish()
        self._pending = _PendingCheckpoint(self.folder, chunks, optimizer, position, precision)
        if not self.background:
            self.finish()

    def poll(self) -> None:
        """Finish the checkpoint that is being written if every rank has written its part; else return at once.

        Raises: as `finish`.
        """
        if self._pending is None:
            return
        waiting = torch.tensor([float(not self._pending.written())], device=runtime.DEVICE)
        dist.all_reduce(waiting)
        if not waiting.item():
            self.finish()

    def finish(self) -> None:
        """Wait for the checkpoint that is being written, if any, and make it the newest; drop all but `keep`.

        Raises, the same on every rank: DiskFull; ExternalServiceError if a writer was killed; PipelineError if it
            could not write. The checkpoints before stay as they are.
        """
        pending, self._pending = self._pending, None
        if pending:
            pending.publish(self.keep)


class _PendingCheckpoint:
    """A checkpoint that is being written."""

    def __init__(self, folder: Path, chunks: list[Any], optimizer: Any, position: Position, precision: Precision) -> None:
        self.position, self.metadata = position, metadata_for(optimizer)
        self.precision: Precision = precision
        with _explained_errors(folder):
            self.fresh = run_on_rank_0(partial(files.create_partial, folder, position))
        with _explained_errors(self.fresh):
            self.request = _plan_save(self.fresh, chunks, optimizer, self.metadata)
            self.writer, self.pipe = _fork_writer(self.request, self.fresh)

    def written(self) -> bool:
        """Whether this rank's part is on disk, or will never be."""
        return self.pipe.poll()

    def publish(self, keep: int) -> None:
        """Wait for every rank's part, give the checkpoint its name, drop all but `keep`."""
        with _explained_errors(self.fresh):
            results, mine = self._part()
            outcomes: list[Any] = [None] * dist.get_world_size()
            dist.all_gather_object(outcomes, (_explain(results, self.fresh), mine))
            if faults := [said for said, _ in outcomes if said]:
                raise _WriteFailed(faults[0])
            megatron_patches.plain_queue()
            if dist.get_rank() == 0:
                files.release_reserve(self.fresh)
            if results is not None:  # megatron takes them from a queue
                self.request.async_fn_args[-1].put(results)
            for function in self.request.finalize_fns:
                function()
            run_on_rank_0(partial(self._publish, [part for _, part in outcomes], keep))

    def _publish(self, parts: list[dict[str, list[Any]]], keep: int) -> None:
        """Rank 0's end of it."""
        found = {name: row for part in parts for name, row in part.items()}
        found |= files.hash_files(self.fresh, "[!_]*") | files.hash_files(self.fresh, ".*")
        distributed = "distrib_optim_sharding_type" in self.metadata
        files.publish(self.fresh, self.position, self.precision, distributed=distributed, contents=found)
        files.remove_old(self.fresh.parent, keep)

    def _part(self) -> tuple[Any, dict[str, list[Any]]]:
        """This rank's results for megatron, and size and sha256 of its files; or (the error, {})."""
        try:
            results, mine = self.pipe.recv()
        except EOFError:
            results, mine = None, {}
        self.writer.join()
        if status := self.writer.exitcode:
            return ChildProcessError(f"signal {-status}" if status < 0 else f"status {status}, see the log"), {}
        return results, mine


@contextmanager
def _explained_errors(place: Path) -> Iterator[None]:
    """Whatever goes wrong inside, who can fix it hears how; `place`, where it is an unfinished checkpoint, goes away."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch says RuntimeError of a full disk
        said = error.said if isinstance(error, _WriteFailed) else _explain(error, place)
        if dist.get_rank() == 0 and files.is_partial(place):
            files.remove(place)
        if said is None or said[0] is RuntimeError:
            raise
        raise said[0](f"{place}: {said[1]}") from error


_Explanation = tuple[type[Exception], str]


class _WriteFailed(RuntimeError):
    """Some rank could not write its part."""

    def __init__(self, said: _Explanation) -> None:
        super().__init__(said[1])
        self.said = said


_AGAIN = "run the same command again to go on from the checkpoint before it"
_FULL_BYTES = 1 << 20  # a disk with less than this left is full: no writer fails on the last buffer of a larger rest


def _explain(error: Any, folder: Path) -> _Explanation | None:
    """What went wrong in our words, and what to do; None if nothing did, RuntimeError if nobody but us can fix it."""
    if not isinstance(error, Exception):
        return None
    text = str(error)
    from_torch = "inline_container.cc" in text  # torch.save failed to write, and does not say why
    left = shutil.disk_usage(next(p for p in (folder, *folder.parents) if p.exists())).free
    if is_disk_full(error) or "No space left on device" in text or (from_torch and left < _FULL_BYTES):
        return DiskFull, f"no space left on the device; free some and {_AGAIN}"
    if isinstance(error, ChildProcessError):
        return ExternalServiceError, f"the process that wrote it ended with {text}; signal 9 is mostly want of memory; {_AGAIN}"
    if isinstance(error, OSError) or from_torch:
        return PipelineError, f"could not be written ({text}; {left >> 20} MiB are free); {_AGAIN}"
    return RuntimeError, repr(error)


def _plan_save(fresh: Path, chunks: list[Any], optimizer: Any, metadata: dict[str, Any]) -> AsyncRequest:
    """megatron's plan of who writes what, the tensors gathered."""
    megatron_patches.plain_queue()
    _, state = chunk_states(chunks, metadata)
    if optimizer is not None:
        state["optimizer"] = megatron_patches.saved_state(optimizer, state, metadata)
    strategy = FullyParallelSaveStrategyWrapper(
        get_default_save_sharded_strategy("torch_dist"), metadata["dp_cp_group"], do_cache_distribution=True
    )
    content = {key: value for key, value in metadata.items() if key != "dp_cp_group"}
    request = dist_checkpointing.save(state, str(fresh), strategy, async_sharded_save=True, content_metadata=content)
    assert request is not None
    return request


def _fork_writer(request: AsyncRequest, fresh: Path) -> tuple[BaseProcess, Connection]:
    """The process that writes this rank's part, and the end of the pipe that its results come from."""
    arguments = list(request.async_fn_args)
    if request.preload_fn:
        arguments[1] = request.preload_fn()  # from the GPU to the host
    ends: Any = multiprocessing.Pipe(duplex=False)
    receiving, sending = ends
    target = partial(_write, sending, os.getpid(), request.async_fn, arguments, fresh, dist.get_rank())
    writer = multiprocessing.get_context("fork").Process(target=target)
    collecting = gc.isenabled()
    gc.disable()  # a collection in the child would free what CUDA gave its parent, says megatron
    try:
        writer.start()
    finally:
        if collecting:
            gc.enable()
    sending.close()  # so that the writer's end is the end of the pipe
    return writer, receiving


def _die_with(parent: int) -> None:
    """End this forked process when its parent dies, at once where that has happened already."""
    end_with_parent(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _write(sending: Connection, parent: int, function: Any, arguments: list[Any], fresh: Path, rank: int) -> None:
    """Write this rank's part and send (megatron's results, size and sha256 of each file), or (the error, {})."""
    _die_with(parent)
    os.register_at_fork(after_in_child=partial(_die_with, os.getpid()))  # megatron forks once more for each file
    torch.set_num_threads(1)  # OpenMP's threads did not come along
    results = None
    try:
        if function is not None:
            function(*arguments)
            results = arguments[-1].get_nowait()
        sending.send((results, files.hash_files(fresh, f"__{rank}_*")))
    except (OSError, RuntimeError) as error:
        sending.send((error, {}))
