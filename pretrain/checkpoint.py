"""Checkpoints from which a run goes on bit for bit, on any tensor, pipeline and data parallel layout.

checkpoints/iter_0000100/   megatron's torch_dist format: weights, fp32 main weights, Adam's moments
    checkpoint.json         where the run stood, the precision, and size and sha256 of every other file

A folder gets its name when everything in it is on disk, so the newest folder is the newest whole checkpoint, whenever
the run was killed. No random state is kept: with no dropout, nothing is drawn after the first weights, and the
schedule follows from the number of samples.
"""

import dataclasses
import json
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist
from megatron.core import dist_checkpointing
from megatron.core import parallel_state as ps
from megatron.core.dist_checkpointing.serialization import get_default_save_sharded_strategy
from megatron.core.dist_checkpointing.strategies.fully_parallel import FullyParallelSaveStrategyWrapper
from megatron.core.utils import unwrap_model

from pipeline.errors import CorruptArtifact, DiskFull
from pipeline.files import UNFINISHED, digest_file, digest_json, is_disk_full, whole_path, write_json
from pretrain import upstream
from pretrain.position import Position
from pretrain.settings import Precision

ABOUT = "checkpoint.json"


@dataclass(frozen=True)
class Saved:
    """A checkpoint on disk, its description read."""

    path: Path
    position: Position
    precision: Precision
    files: Mapping[str, list[Any]]  # name -> [bytes, sha256]


def newest(folder: Path) -> Saved | None:
    """The newest checkpoint below `folder`, or None; its files are not read yet.

    Raises: CorruptArtifact if its description is damaged.
    """
    found = _finished(folder)
    return _read(found[-1]) if found else None


def save(folder: Path, chunks: list[Any], optimizer: Any, position: Position, precision: Precision, *, keep: int) -> None:
    """Write a checkpoint, all ranks together; drop all but the `keep` newest.

    Raises: DiskFull.
    """
    path, metadata = folder / f"iter_{position.iteration:07d}", _metadata(optimizer)
    with ExitStack() as stack:
        fresh = _shared(stack.enter_context(whole_path(path)) if dist.get_rank() == 0 else None)
        try:
            _write(fresh, chunks, optimizer, metadata)
        except Exception as error:  # torch and megatron wrap what the operating system said in types of their own
            if is_disk_full(error) or "No space left on device" in str(error):
                raise DiskFull(f"{path}: no space left on the device; free some and run the same command again") from error
            raise
        sums: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(sums, _sums(fresh, f"__{dist.get_rank()}_*"))
        if dist.get_rank() == 0:
            files = {name: row for part in [_sums(fresh, "[!_]*"), _sums(fresh, ".*"), *sums] for name, row in part.items()}
            about = {"position": dataclasses.asdict(position), "precision": precision, "files": files}
            write_json(fresh / ABOUT, about | {"digest": digest_json(about)})
    if dist.get_rank() == 0:
        for old in _finished(folder)[:-keep]:
            shutil.rmtree(old.rename(old.with_name(old.name + UNFINISHED + "old")))
    dist.barrier()


def load(saved: Saved, chunks: list[Any], optimizer: Any = None) -> None:
    """Restore the weights and, where given, the optimizer; all ranks together.

    Raises: CorruptArtifact if a file is not what was saved, on every rank.
    """
    check(saved)
    metadata = _metadata(optimizer) | (dist_checkpointing.load_content_metadata(str(saved.path)) or {})
    bare, state = _states(chunks, metadata)
    if optimizer is None:
        _put(bare, _read_state(state, saved))
        return
    with upstream.restorable(optimizer):
        state["optimizer"] = optimizer.sharded_state_dict(state, is_loading=True, metadata=metadata)
        state = _read_state(state, saved)
        _put(bare, state)
        optimizer.load_state_dict(state["optimizer"])


def check(saved: Saved) -> None:
    """Compare every file with its sha256, each rank its share.

    Raises: CorruptArtifact, the same on every rank.
    """
    rank, world = dist.get_rank(), dist.get_world_size()
    names = sorted(saved.files)[rank::world]
    bad: list[Any] = [None] * world
    dist.all_gather_object(bad, next((fault for name in names if (fault := _fault(saved, name))), None))
    if fault := next(filter(None, bad), None):
        raise CorruptArtifact(f"{fault}; {_way_out(saved.path)}")


def _fault(saved: Saved, name: str) -> str | None:
    path, (size, sha256) = saved.path / name, saved.files[name]
    if not path.is_file():
        return f"{path}: missing"
    if path.stat().st_size != size:
        return f"{path}: {path.stat().st_size} bytes, {size} were saved"
    return None if digest_file(path) == sha256 else f"{path}: its content is not what was saved (sha256 differs)"


def _read(path: Path) -> Saved:
    file = path / ABOUT
    try:
        about = json.loads(file.read_text("utf-8"))
        digest = about.pop("digest")
        saved = Saved(path, Position(**about["position"]), about["precision"], about["files"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptArtifact(f"{file}: not a checkpoint's description ({error!r}); {_way_out(path)}") from error
    if digest != digest_json(about):
        raise CorruptArtifact(f"{file}: its content does not match its own digest; {_way_out(path)}")
    return saved


def _way_out(path: Path) -> str:
    older = [p.name for p in _finished(path.parent) if p.name < path.name]
    return f"remove the folder {path} and run again, to go on from {older[-1] if older else 'the beginning'}"


def _finished(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("iter_*") if UNFINISHED not in p.name)


def _write(folder: Path, chunks: list[Any], optimizer: Any, metadata: dict[str, Any]) -> None:
    upstream.plain_queue()
    _, state = _states(chunks, metadata)
    state["optimizer"] = optimizer.sharded_state_dict(state, is_loading=False, metadata=metadata)
    strategy = FullyParallelSaveStrategyWrapper(
        get_default_save_sharded_strategy("torch_dist"), metadata["dp_cp_group"], do_cache_distribution=True
    )
    content = {key: value for key, value in metadata.items() if key != "dp_cp_group"}
    dist_checkpointing.save(state, str(folder), strategy, content_metadata=content)
    dist.barrier()


def _states(chunks: list[Any], metadata: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The bare pieces of the model by megatron's names, "model" or "model0", "model1", …, and what they hold."""
    names = ["model"] if len(chunks) == 1 else [f"model{number}" for number in range(len(chunks))]
    bare: dict[str, Any] = dict(zip(names, map(unwrap_model, chunks), strict=True))
    return bare, {name: piece.sharded_state_dict(metadata=metadata) for name, piece in bare.items()}


def _put(bare: dict[str, Any], state: dict[str, Any]) -> None:
    for name, piece in bare.items():
        piece.load_state_dict(state[name])


def _read_state(state: dict[str, Any], saved: Saved) -> dict[str, Any]:
    read: Any = dist_checkpointing.load(state, str(saved.path))
    return read


def _metadata(optimizer: Any) -> dict[str, Any]:
    """What megatron wants to know to name the parts; `fully_reshardable` fits any data-parallel size later."""
    common = {
        "singleton_local_shards": False,
        "chained_optim_avoid_prefix": True,
        "dp_cp_group": ps.get_data_parallel_group(with_context_parallel=True),
    }
    if optimizer is not None and optimizer.config.use_distributed_optimizer:
        common |= {"distrib_optim_sharding_type": "fully_reshardable", "distrib_optim_fully_reshardable_mem_efficient": False}
    return common


def _shared(path: Path | None) -> Path:
    """Rank 0's new folder, known to all ranks and made."""
    names = [path]
    dist.broadcast_object_list(names)
    assert names[0] is not None
    if path:
        path.mkdir()
    dist.barrier()
    return names[0]


def _sums(folder: Path, pattern: str) -> dict[str, list[Any]]:
    return {p.name: [p.stat().st_size, digest_file(p)] for p in sorted(folder.glob(pattern)) if p.is_file()}
