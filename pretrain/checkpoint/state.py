"""What of a model and its optimizer a checkpoint holds, in megatron's words."""

from typing import Any

from megatron.core import parallel_state as ps
from megatron.core.utils import unwrap_model


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


def chunk_states(chunks: list[Any], metadata: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The bare pieces of the model by megatron's names, "model" or "model0", "model1", …, and what they hold."""
    names = ["model"] if len(chunks) == 1 else [f"model{number}" for number in range(len(chunks))]
    bare: dict[str, Any] = dict(zip(names, map(unwrap_model, chunks), strict=True))
    return bare, {name: piece.sharded_state_dict(metadata=metadata) for name, piece in bare.items()}
