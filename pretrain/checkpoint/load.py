"""Checkpoints from which a run goes on bit for bit, on any tensor, pipeline and data parallel layout.

`files` says what is in the folder, `save` how it is written. No random state is kept: with no
dropout, nothing is drawn after the first weights, and the schedule follows from the number of samples.
"""

from functools import partial
from pathlib import Path
from typing import Any

import torch.distributed as dist
from megatron.core import dist_checkpointing

from pipeline.errors import ConfigError, CorruptArtifact
from pretrain import megatron_patches
from pretrain.checkpoint import files
from pretrain.checkpoint.files import SavedCheckpoint
from pretrain.checkpoint.metadata import check_metadata
from pretrain.checkpoint.state import chunk_states, metadata_for
from pretrain.runtime import run_on_rank_0


def newest_checkpoint(folder: Path) -> SavedCheckpoint | None:
    """The newest checkpoint below `folder`, or None, as rank 0 sees it; its files are not read yet.

    Raises: CorruptArtifact if its description is damaged.
    """
    return run_on_rank_0(partial(files.find_newest, folder))


def load_checkpoint(saved: SavedCheckpoint, chunks: list[Any], optimizer: Any = None) -> None:
    """Restore the weights and, where given, the optimizer; all ranks together.

    Raises: CorruptArtifact if a file is not what was saved, ConfigError if the optimizer was of the other kind; on every
        rank, before anything is changed.
    """
    if optimizer is not None and optimizer.config.use_distributed_optimizer != saved.distributed_optimizer:
        was = "true" if saved.distributed_optimizer else "false"
        raise ConfigError(
            f"{saved.path}: written with parallel.distributed_optimizer = {was}; its optimizer can only be read with the same"
        )
    check_files(saved)
    metadata = metadata_for(optimizer) | (dist_checkpointing.load_content_metadata(str(saved.path)) or {})
    bare, state = chunk_states(chunks, metadata)
    if optimizer is None:
        _load_weights(bare, _read_state(state, saved))
        return
    with megatron_patches.restorable(optimizer):
        state["optimizer"] = optimizer.sharded_state_dict(state, is_loading=True, metadata=metadata)
        state = _read_state(state, saved)
        _load_weights(bare, state)
        optimizer.load_state_dict(state["optimizer"])


def check_files(saved: SavedCheckpoint) -> None:
    """Compare every file with its sha256, each rank its share, and see that none runs code when it is loaded.

    Raises: CorruptArtifact, the same on every rank.
    """
    rank, world = dist.get_rank(), dist.get_world_size()
    names = sorted(saved.files)[rank::world]
    bad: list[Any] = [None] * world
    dist.all_gather_object(bad, next((fault for name in names if (fault := saved.find_fault(name))), None))
    if fault := next(filter(None, bad), None):
        raise CorruptArtifact(f"{fault}; {files.recovery_hint(saved.path)}")
    check_metadata(saved.path)


def _load_weights(bare: dict[str, Any], state: dict[str, Any]) -> None:
    for name, piece in bare.items():
        piece.load_state_dict(state[name])


def _read_state(state: dict[str, Any], saved: SavedCheckpoint) -> dict[str, Any]:
    read: Any = dist_checkpointing.load(state, str(saved.path))
    return read
