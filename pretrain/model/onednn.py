"""Matrix products of fp32 on a CPU by oneDNN, which torch otherwise asks only for bf16 and convolutions.

torch's own fp32 products are MKL's, which does not use AVX-512 on AMD's processors. On an AMD EPYC with it, one
thread, 1,024 tokens, GFLOP/s, MKL and oneDNN: 256 x 1,376 forward 93 and 201, its weight's gradient 91 and 191.

Shapes: N rows, I inputs, O outputs of a layer.
"""

from typing import Any

import torch
from megatron.core.tensor_parallel import (
    ColumnParallelLinear,
    RowParallelLinear,
    copy_to_tensor_model_parallel_region,
    gather_from_sequence_parallel_region,
)
from torch import Tensor

from pretrain import runtime


def is_supported(kind: torch.dtype) -> bool:
    """Whether layers of that type do better here: fp32 on a CPU, and this torch has the operator that its own compiler uses."""
    return (
        not runtime.HAVE_CUDA
        and kind == torch.float32
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def matmul_nt(a_NI: Tensor, b_OI: Tensor) -> Tensor:
    """a bᵀ, [N, O]; what is neither in a row nor the transpose of that is copied."""
    if not (b_OI.is_contiguous() or b_OI.t().is_contiguous()):  # oneDNN has only a slow reference for other strides
        b_OI = b_OI.contiguous()
    return torch.ops.mkldnn._linear_pointwise(a_NI, b_OI, None, "none", [], "")


def matmul_tn(a_NO: Tensor, b_NI: Tensor) -> Tensor:
    """aᵀ b, [O, I], over the rows of both: a weight's gradient. The smaller of the two is copied."""
    if a_NO.size(1) > b_NI.size(1):
        return matmul_nt(b_NI.t(), a_NO.t()).t()
    return matmul_nt(a_NO.t(), b_NI.t())


class _Linear(torch.autograd.Function):
    """x wᵀ."""

    @staticmethod
    def forward(ctx: Any, x_NI: Tensor, w_OI: Tensor) -> Tensor:
        ctx.save_for_backward(x_NI, w_OI)
        return matmul_nt(x_NI, w_OI)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (dy_NO,), (x_NI, w_OI) = grad_outputs, ctx.saved_tensors
        wants_x, wants_w = ctx.needs_input_grad
        return matmul_nt(dy_NO, w_OI.t()) if wants_x else None, matmul_tn(dy_NO, x_NI) if wants_w else None


def linear(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    allreduce_dgrad: bool,
    sequence_parallel: bool,
    tp_group: Any = None,
    **unused: Any,  # of fused accumulation and deferred gradients, which a CPU has not
) -> Tensor:
    """megatron's linear_with_grad_accumulation_and_async_allreduce, on a CPU, where nothing overlaps."""
    if sequence_parallel:
        input = gather_from_sequence_parallel_region(input, tensor_parallel_output_grad=True, group=tp_group)
    elif allreduce_dgrad:
        input = copy_to_tensor_model_parallel_region(input, group=tp_group)
    rows: Any = _Linear.apply(input.flatten(0, -2), weight)
    output = rows.view(*input.shape[:-1], -1)
    return output if bias is None else output + bias


def install(model: torch.nn.Module) -> None:
    """Let every linear layer of megatron's in `model` multiply by `linear`; what it holds and how it is split stay."""
    for layer in model.modules():
        if isinstance(layer, ColumnParallelLinear | RowParallelLinear):
            layer._forward_impl = linear  # pyright: ignore[reportAttributeAccessIssue] - the method both have for the purpose
