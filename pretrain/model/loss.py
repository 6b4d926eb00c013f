"""Cross entropy with z-loss, over a vocabulary that tensor-parallel ranks may share out; and the model that has it as loss.

Shapes: N rows, V entries of the vocabulary on this rank, B samples, S positions.
"""

import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.distributed as dist
from megatron.core.models.gpt.gpt_model import GPTModel
from torch import Tensor

# Rows at once on a CPU, so that the fp32 logits of a block stay in cache: 1,024 tokens x 8,192 entries from bf16 take
# 20 ms forward and backward on one core, against 120 ms for megatron's vocab_parallel_cross_entropy.
BLOCK = 64
_EXTRA_STATE = "_extra_state"


def _log_sums(logits_NV: Tensor) -> Tensor:
    return logits_NV.float().logsumexp(-1)


def _probabilities(logits_NV: Tensor, log_sums_N: Tensor, scale_N: Tensor) -> Tensor:
    return ((logits_NV.float() - log_sums_N[:, None]).exp() * scale_N[:, None]).to(logits_NV.dtype)


@cache
def _kernels(cuda: bool) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    """On a GPU one compiled kernel each, which never writes logits in fp32; a CPU stays eager (compiling takes 30 s there)."""
    return (torch.compile(_log_sums), torch.compile(_probabilities)) if cuda else (_log_sums, _probabilities)


class _CrossEntropy(torch.autograd.Function):
    """The gradient, softmax - one-hot, is made in the forward pass while a block's logits are at hand."""

    @staticmethod
    def forward(ctx: Any, logits_NV: Tensor, labels_N: Tensor, z_loss: float, group: Any) -> Tensor:
        N, V = logits_NV.shape
        rows_N, places_N = torch.arange(N, device=labels_N.device), labels_N - (dist.get_rank(group) * V if group else 0)
        here_N = (places_N >= 0) & (places_N < V)
        places_N = places_N.clamp(0, V - 1)
        chosen_N = logits_NV[rows_N, places_N].float() * here_N
        if group or logits_NV.is_cuda:
            log_sums_of, probabilities_of = _kernels(logits_NV.is_cuda)
            log_sums_N = log_sums_of(logits_NV)
            if group:
                log_sums_N, chosen_N = _reduce_over_ranks(log_sums_N, chosen_N, group)
            gradient_NV = probabilities_of(logits_NV, log_sums_N, 1 + 2 * z_loss * log_sums_N)
        else:
            log_sums_N, gradient_NV = torch.empty_like(chosen_N), torch.empty_like(logits_NV)
            for begin in range(0, N, BLOCK):  # torch's log_softmax is the fastest of all on a CPU
                rows = slice(begin, begin + BLOCK)
                logs = logits_NV[rows].float().log_softmax(-1)
                log_sums_N[rows] = chosen_N[rows] - logs.gather(1, places_N[rows, None])[:, 0]
                probabilities = logs.exp_()
                gradient_NV[rows] = probabilities.mul_(1 + 2 * z_loss * log_sums_N[rows, None]) if z_loss else probabilities
        # At the label, softmax - 1 in fp32: rounded apart, a probability near one would lose its distance from it.
        label_N = (chosen_N - log_sums_N).exp() * (1 + 2 * z_loss * log_sums_N) - 1
        label_N = label_N.to(gradient_NV.dtype).where(here_N, gradient_NV[rows_N, places_N])
        gradient_NV[rows_N, places_N] = label_N
        ctx.save_for_backward(gradient_NV)
        return log_sums_N - chosen_N

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient_NV,) = ctx.saved_tensors
        return gradient_NV.mul_(grad_outputs[0][:, None].to(gradient_NV.dtype)), None, None, None


def _reduce_over_ranks(log_sums_N: Tensor, chosen_N: Tensor, group: Any) -> tuple[Tensor, Tensor]:
    """The same of the whole vocabulary, from every rank's part."""
    most_N = log_sums_N.clone()
    dist.all_reduce(most_N, dist.ReduceOp.MAX, group=group)
    both_2N = torch.stack([(log_sums_N - most_N).exp(), chosen_N])
    dist.all_reduce(both_2N, group=group)
    return most_N + both_2N[0].log(), both_2N[1]


def cross_entropy(logits_NV: Tensor, labels_N: Tensor, *, z_loss: float = 0.0, group: Any = None) -> Tensor:
    """-log softmax(logits)[label] of each row, (N,) float32, from logits of any float type.

    Its gradient is that of cross entropy + z_loss * log(Z)**2, Z being the sum of the row's exp(logits), which keeps
    logits from drifting (PaLM, arXiv:2204.02311 §5). The value leaves the second term out, for it says
    nothing of how well the text was predicted: training and validation show one and the same quantity.

    Args:
        logits_NV: this rank's part of the vocabulary where there is a `group`; its ranks hold equal parts in their order.
        group: of tensor-parallel ranks; None: the vocabulary is whole.
    """
    return _CrossEntropy.apply(logits_NV, labels_N, z_loss, group)  # pyright: ignore[reportReturnType] - apply is untyped


class Decoder(GPTModel):
    """GPTModel whose loss is `cross_entropy`, on every device and layout."""

    z_loss = 0.0
    real_vocab_size = sys.maxsize  # of the vocabulary, without the rows that fill it up

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.register_load_state_dict_post_hook(_without_fp8)

    def compute_language_model_loss(self, labels: Tensor, logits: Tensor) -> Tensor:
        """Labels [B, S] and logits [S, B, V] -> losses [B, S]."""
        group = self.pg_collection.tp if self.config.tensor_model_parallel_size > 1 else None
        labels_N = labels.transpose(0, 1).flatten()
        begin = dist.get_rank(group) * logits.size(-1) if group else 0
        # No text has what fills the vocabulary up, and layouts differ in how much that is. Its gradient is 0 by itself.
        logits.detach()[..., max(self.real_vocab_size - begin, 0) :] = torch.finfo(logits.dtype).min
        losses_N = cross_entropy(logits.flatten(0, 1), labels_N, z_loss=self.z_loss, group=group)
        return losses_N.view(labels.shape[::-1]).transpose(0, 1).contiguous()

    def sharded_state_dict(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Without Transformer Engine's FP8 statistics, so that a checkpoint says not which layers wrote it."""
        state = super().sharded_state_dict(*arguments, **options)
        return {name: part for name, part in state.items() if not name.endswith(_EXTRA_STATE)}


def _without_fp8(model: Any, keys: Any) -> None:
    """Transformer Engine's layers miss their FP8 statistics in what is loaded: here they are never used."""
    keys.missing_keys[:] = [name for name in keys.missing_keys if not name.endswith(_EXTRA_STATE)]
