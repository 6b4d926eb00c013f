"""Our cross entropy and z-loss against torch's autograd, with the vocabulary whole and split over ranks."""

from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional

from pretrain.model import loss
from pretrain.model.loss import BLOCK, cross_entropy
from tests.pretrain.helpers.ranks import run_ranks

ENTRIES = 36


def made(count: int, kind: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Logits as wild as a spoilt model's, labels, and a weight for each row, some of them 0 as under a loss mask."""
    torch.manual_seed(count)
    logits, labels = (9 * torch.randn(count, ENTRIES)).to(kind), torch.randint(0, ENTRIES, (count,))
    return logits, labels, torch.rand(count) * (torch.rand(count) > 0.2)


def by_definition(logits: Tensor, labels: Tensor, weight: Tensor, z_loss: float) -> tuple[Tensor, Tensor]:
    """Cross entropies, and the gradient of what is minimised, in double precision."""
    exact = logits.detach().double().requires_grad_()
    losses = functional.cross_entropy(exact, labels, reduction="none")
    minimised = losses + z_loss * exact.exp().sum(-1).log() ** 2
    (gradient,) = torch.autograd.grad((weight * minimised).sum(), exact)
    return losses.float(), gradient


def close(ours: Tensor, theirs: Tensor, kind: torch.dtype) -> None:
    """As close as the type allows: relative to each element, so that small gradients count too."""
    rtol = 2e-4 if kind == torch.float32 else 3 * 2**-8  # gradient, weight and their product are rounded to 8 bits each
    torch.testing.assert_close(ours.double(), theirs, atol=2e-7 if kind == torch.float32 else 2e-6, rtol=rtol)


@pytest.mark.parametrize("z_loss", [0.0, 0.01])
@pytest.mark.parametrize("count", [1, BLOCK - 1, BLOCK, 2 * BLOCK + 3])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_equals_the_definition(count: int, kind: torch.dtype, z_loss: float) -> None:
    logits, labels, weight = made(count, kind)
    losses, gradient = by_definition(logits, labels, weight, z_loss)
    logits.requires_grad_()
    ours = cross_entropy(logits, labels, z_loss=z_loss)
    torch.testing.assert_close(ours, losses)
    close(torch.autograd.grad((weight * ours).sum(), logits)[0], gradient, kind)


def split(kind: torch.dtype, z_loss: float) -> tuple[Tensor, Tensor]:
    """What a rank that holds its part of the vocabulary has as losses and gradient."""
    logits, labels, weight = made(50, kind)
    group: Any = dist.group.WORLD
    part = logits.chunk(dist.get_world_size(), 1)[dist.get_rank()].contiguous().requires_grad_()
    losses = cross_entropy(part, labels, z_loss=z_loss, group=group)
    return losses.detach(), torch.autograd.grad((weight * losses).sum(), part)[0]


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("world", [2, 3])
def test_split_over_ranks(world: int, kind: torch.dtype) -> None:
    logits, labels, weight = made(50, kind)
    losses, gradient = by_definition(logits, labels, weight, 0.01)
    parts = run_ranks(world, split, kind, 0.01)
    for ours, _ in parts:
        torch.testing.assert_close(ours, losses)
    close(torch.cat([part for _, part in parts], 1), gradient, kind)


def test_what_a_gpu_compiles_is_one_graph() -> None:
    logits = made(50, torch.bfloat16)[0]
    log_sums, whole = torch.logsumexp(logits.float(), -1), torch.ones(50)
    for function, arguments in ((loss._log_sums, (logits,)), (loss._probabilities, (logits, log_sums, whole))):
        graph = torch.compile(function, fullgraph=True, backend="eager")
        torch.testing.assert_close(graph(*arguments), function(*arguments), rtol=0, atol=0)
    assert torch.equal(loss._probabilities(logits, log_sums, whole), logits.float().softmax(-1).bfloat16())


def test_a_small_step_down_its_gradient_lowers_log_z() -> None:
    """The labels' share apart, z-loss pulls the sum of the exponentials to one."""
    logits = torch.full((4, ENTRIES), 3.0, requires_grad=True)
    labels = torch.zeros(4, dtype=torch.int64)
    plain, drawn = (torch.autograd.grad(cross_entropy(logits, labels, z_loss=z).sum(), logits)[0] for z in (0.0, 0.1))
    assert torch.allclose(plain.sum(-1), torch.zeros(4), atol=1e-6), "cross entropy leaves the level of the logits alone"
    log_z = 3.0 + torch.tensor(float(ENTRIES)).log()
    assert torch.allclose(drawn.sum(-1), 0.2 * log_z.expand(4), atol=1e-5)
