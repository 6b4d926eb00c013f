"""Corrections of megatron-core 0.16.1, each to be deleted when upstream has it; nothing else depends on how they work.

1. DistributedOptimizer with torch's AdamW (all there is without Transformer Engine or Apex, which keep the step in
   the parameter group instead): saving or restoring a checkpoint wants a step before the first one was taken, restores none
   (`fully_reshardable`) or one tensor that all parameters share and that then advances once a parameter.
2. A save starts a multiprocessing Manager for a queue that only its own process reads (our writer hands its results over
   by a pipe): seconds lost, and a server process that outlives a killed run.
3. DistributedOptimizer gathers its state without the padding that ends each bucket, but then looks for parameters
   where they are with it: with several buckets, and a data-parallel size that does not divide them (3, 6, 96 …), what is
   saved of the second bucket and those after it is garbage.
"""

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from megatron.core.dist_checkpointing.strategies import filesystem_async
from megatron.core.optimizer.distrib_optimizer import DistributedOptimizer


@contextmanager
def restorable(optimizer: Any) -> Iterator[None]:
    """Correction 1: inside, `optimizer.sharded_state_dict` and `load_state_dict` restore every parameter's step."""
    parts = [part for part in _adams(optimizer) if isinstance(part, DistributedOptimizer)]
    for part in parts:
        _give_state(part.optimizer)
        _keep_step(part)
    try:
        yield
    finally:
        for part in parts:
            del part._set_main_param_and_optimizer_states  # the class's own again
            for state in part.optimizer.state.values():
                state["step"] = state["step"].clone()


def saved_state(optimizer: Any, state: dict[str, Any], metadata: dict[str, Any]) -> dict[str, Any]:
    """Correction 1: `optimizer.sharded_state_dict` that can be restored even if every gradient so far was skipped."""
    for part in _adams(optimizer):
        _give_state(part.optimizer)
    saved = optimizer.sharded_state_dict(state, is_loading=False, metadata=metadata)
    for part in (saved, saved.get("optimizer", {})):
        if "state" in part:  # a step of 0 counts as none there, and AdamW does not load without
            part["state"].setdefault("common_step", torch.tensor(0.0))
    return saved


def _adams(optimizer: Any) -> list[Any]:
    """Its parts that use torch's AdamW."""
    parts = getattr(optimizer, "chained_optimizers", [optimizer])
    return [part for part in parts if isinstance(part.optimizer, torch.optim.AdamW)]


def _give_state(adam: Any) -> None:
    for parameter in (p for group in adam.param_groups for p in group["params"]):
        if not adam.state[parameter]:
            zeros = torch.zeros_like(parameter)
            adam.state[parameter] = {"step": torch.tensor(0.0), "exp_avg": zeros, "exp_avg_sq": zeros.clone()}


def _keep_step(part: Any) -> None:
    """The restored step is in the optimizer's state already; hand it over with the tensors."""
    set_states = type(part)._set_main_param_and_optimizer_states

    def with_step(model_param: torch.nn.Parameter, tensors: dict[str, Any]) -> None:
        group, place = part.model_param_group_index_map[model_param]
        step = part.optimizer.state[part.optimizer.param_groups[group]["params"][place]]["step"]
        set_states(part, model_param, {**tensors, "step": step})

    part._set_main_param_and_optimizer_states = with_step


def plain_queue() -> None:
    """Correction 2: saves use a queue inside the process. Calling it again changes nothing."""
    if filesystem_async._results_queue is None:
        filesystem_async._results_queue = queue.Queue()  # pyright: ignore[reportAttributeAccessIssue] - a global that starts as None


def keep_padding(optimizer: Any) -> None:
    """Correction 3: from now on, state that the optimizer gathers has every parameter in its place."""
    parts: list[Any] = getattr(optimizer, "chained_optimizers", [optimizer])
    for part in parts:
        if isinstance(part, DistributedOptimizer):
            part.get_parameter_state_dp_zero = partial(_padded_state, part)  # pyright: ignore[reportAttributeAccessIssue] - by name


def _padded_state(part: DistributedOptimizer, **options: Any) -> Any:
    gathered: Any = DistributedOptimizer.get_parameter_state_dp_zero(part, **options)
    for number, buffer in enumerate(part.buffers if gathered else ()):
        for state in gathered[number].values():
            state |= {name: _spread(flat, buffer) for name, flat in state.items() if isinstance(flat, torch.Tensor)}
    return gathered


def _spread(flat: torch.Tensor, buffer: Any) -> torch.Tensor:
    """Every bucket's elements from where its own padding ends the one before."""
    padded, begin = flat.new_zeros(buffer.numel), 0
    for bucket in buffer.buckets:
        end = begin + bucket.numel_unpadded
        padded[bucket.offset : bucket.offset + bucket.numel_unpadded] = flat[begin:end]
        begin = end
    return padded
