"""Our cross entropy against torch's."""

import pytest
import torch
from torch.nn import functional

from pretrain.loss import BLOCK, cross_entropy


@pytest.mark.parametrize("count", [1, BLOCK - 1, BLOCK, 2 * BLOCK + 3])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_equals_torch(count: int, kind: torch.dtype) -> None:
    torch.manual_seed(count)
    logits = (9 * torch.randn(count, 37)).to(kind).requires_grad_()
    labels, weight = torch.randint(0, 37, (count,)), torch.rand(count)
    ours, theirs = cross_entropy(logits, labels), functional.cross_entropy(logits.float(), labels, reduction="none")
    torch.testing.assert_close(ours, theirs)
    gradients = [torch.autograd.grad((weight * loss).sum(), logits)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*gradients, atol=1e-6 if kind == torch.float32 else 8e-3, rtol=1e-5)
