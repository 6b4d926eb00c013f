"""Data-parallel tests without paying the imports once a rank: the parent imports, then forks the ranks."""

import os
import pickle
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import start_processes


def run_ranks(world: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """`function(*arguments)` in `world` forked processes with gloo initialised; each rank's result, in rank order."""
    with tempfile.TemporaryDirectory() as folder:
        start_processes(_rank, (world, folder, function, arguments), nprocs=world, start_method="fork")
        return [pickle.loads((Path(folder) / f"result-{rank}").read_bytes()) for rank in range(world)]


def _rank(rank: int, world: int, folder: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    (Path(folder) / f"result-{rank}").write_bytes(pickle.dumps(function(*arguments)))
    if dist.is_initialized():  # the function may have left by itself
        dist.barrier()
        dist.destroy_process_group()


@contextmanager
def alone() -> Iterator[None]:
    """torch.distributed with this process only."""
    with tempfile.TemporaryDirectory() as folder:
        dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=0, world_size=1)
        try:
            yield
        finally:
            dist.destroy_process_group()
