"""What of a model and its optimizer a checkpoint holds, in megatron's words; and what all ranks must agree on."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch.distributed as dist
from megatron.core import parallel_state as ps
from megatron.core.utils import unwrap_model

from pipeline.errors import PipelineError

T = TypeVar("T")


def metadata_for(optimizer: Any) -> dict[str, Any]:
    """What megatron wants to know to name the parts; `fully_reshardable` fits any layout later."""
    common = {
        "singleton_local_shards": False,
        "chained_optim_avoid_prefix": True,
        "dp_cp_group": ps.get_data_parallel_group(with_context_parallel=True),
    }
    if optimizer is not None and optimizer.config.use_distributed_optimizer:
        common |= {"distrib_optim_sharding_type": "fully_reshardable", "distrib_optim_fully_reshardable_mem_efficient": False}
    return common


def pieces(chunks: list[Any], metadata: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The bare pieces of the model by megatron's names, "model" or "model0", "model1", …, and what they hold."""
    names = ["model"] if len(chunks) == 1 else [f"model{number}" for number in range(len(chunks))]
    bare: dict[str, Any] = dict(zip(names, map(unwrap_model, chunks), strict=True))
    return bare, {name: piece.sharded_state_dict(metadata=metadata) for name, piece in bare.items()}


def from_rank_0(make: Callable[[], T]) -> T:
    """What `make` returns or raises on rank 0, on every rank: file systems may show ranks different things."""
    if not dist.is_initialized():
        return make()
    made: list[Any] = [None, None]
    if dist.get_rank() == 0:
        try:
            made[0] = make()
        except (OSError, PipelineError) as error:  # raised below, where all ranks are
            made[1] = error
    dist.broadcast_object_list(made)
    if made[1] is not None:
        raise made[1]
    return made[0]
