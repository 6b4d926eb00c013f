"""The one place that knows whether this process has a GPU.

megatron-core spells its device as literals: `torch.cuda.current_device()`, `device="cuda"`, `tensor.cuda()`,
`tensor.type() == "torch.cuda.FloatTensor"`. Without CUDA, `start` makes those spellings mean the CPU for the rest of
the process; with CUDA it changes none of them.
"""

import contextlib
import ctypes
import os
import random
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch.overrides import TorchFunctionMode

from pipeline.errors import ConfigError, PipelineError
from pretrain.settings import Parallel, Precision

T = TypeVar("T")

HAVE_CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if HAVE_CUDA else "cpu")
OVERLAP = HAVE_CUDA  # data-parallel communication beside the computation; on a CPU both would want the same cores
# CPU flags that multiply bf16 natively; without one of them torch emulates it, slower than fp32.
BF16_FLAGS = {"avx512_bf16", "amx_bf16"}
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # glibc's malloc.h


def start(parallel: Parallel, seed: int) -> None:
    """Join the other ranks (torchrun's environment variables say which) and seed every generator.

    Seeds differ by pipeline stage, else every stage would start with the same layers.
    """
    os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", "1")  # lets tensor-parallel communication overlap, says megatron
    if parallel.threads:
        torch.set_num_threads(parallel.threads)
    if HAVE_CUDA:
        local, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if local >= gpus:
            raise ConfigError(
                f"[pretrain.parallel]: {parallel.processes} processes, but this machine has {gpus} GPU(s); lower data, tensor "
                f"or pipeline, or compute on the CPU with gpu = false"
            )
        torch.cuda.set_device(local)
    else:
        redirect_cuda_to_cpu()
        reuse_freed_memory()
    if not dist.is_initialized():
        dist.init_process_group("nccl" if HAVE_CUDA else "gloo", timeout=timedelta(minutes=parallel.timeout_minutes))
    from megatron.core import parallel_state, tensor_parallel

    parallel_state.initialize_model_parallel(
        tensor_model_parallel_size=parallel.tensor,
        pipeline_model_parallel_size=parallel.pipeline,
        virtual_pipeline_model_parallel_size=parallel.virtual if parallel.virtual > 1 else None,
    )
    seed += 100 * parallel_state.get_pipeline_model_parallel_rank()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    tensor_parallel.model_parallel_cuda_manual_seed(seed)


def stop() -> None:
    """Leave the other ranks in order."""
    from megatron.core import parallel_state

    dist.barrier()
    parallel_state.destroy_model_parallel()
    dist.destroy_process_group()


def run_on_rank_0(make: Callable[[], T]) -> T:
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


def resolve_precision(asked: Precision) -> Precision:
    """`asked`, with `auto` resolved for this machine: bf16 where the hardware multiplies it, else fp32."""
    if asked != "auto":
        return asked
    if HAVE_CUDA:
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    with contextlib.suppress(FileNotFoundError):  # no /proc: not Linux
        if BF16_FLAGS & set(Path("/proc/cpuinfo").read_text("utf-8").split()):
            return "bf16"
    return "fp32"


def device_settings(precision: Precision) -> dict[str, Any]:
    """Fields of megatron's TransformerConfig that depend on device and precision."""
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    common: dict[str, Any] = {"bf16": precision == "bf16", "params_dtype": kind, "pipeline_dtype": kind}
    if HAVE_CUDA:
        return common | {"bias_dropout_fusion": True}
    return common | {"use_cpu_initialization": True}


def reuse_freed_memory() -> None:
    """Let this process reuse the memory it frees; a second call changes nothing. Does nothing where libc is not glibc.

    By itself glibc gives tensors above 32 MiB back to the system and gets them anew, page by page: logits, and in
    training everything that the backward pass frees. One thread: the output layer's product takes 21 ms instead of 35.
    """
    tune = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if tune is not None:
        tune(M_MMAP_MAX, 0)
        tune(M_TRIM_THRESHOLD, 2**31 - 1)


class _CudaToCpu(TorchFunctionMode):
    """Rewrites the device of every torch call while it is active."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        device = kwargs.get("device")
        if device is not None and str(device).startswith("cuda"):
            kwargs = {**kwargs, "device": "cpu"}
        if func is torch.Tensor.cuda:
            return args[0]
        if func is torch.Tensor.type and len(args) == 1 and not kwargs:
            return func(*args).replace("torch.", "torch.cuda.", 1)
        return func(*args, **kwargs)


_mode = _CudaToCpu()


def redirect_cuda_to_cpu() -> None:
    """Make megatron's CUDA spellings mean the CPU in this process; a second call changes nothing."""
    cuda: Any = torch.cuda
    if getattr(cuda, "_redirected_to_cpu", False):
        return
    cuda._redirected_to_cpu = True
    cuda.current_device = lambda: DEVICE
    cuda.synchronize = lambda device=None: None
    cuda.get_rng_state = cuda.random.get_rng_state = lambda device=None: torch.get_rng_state()
    cuda.set_rng_state = lambda state, device=None: torch.set_rng_state(state)
    cuda.manual_seed = torch.manual_seed
    from megatron.core.tensor_parallel import random as megatron_random

    setattr(megatron_random, "_set_cuda_rng_state", lambda state, device=-1, graph_safe=False: torch.set_rng_state(state))  # noqa: B010 - private name of another package
    _mode.__enter__()
