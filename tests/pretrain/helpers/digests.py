"""What a rank holds, as sha256 sums: for tests that want bits."""

import hashlib
from typing import Any

import torch

from pretrain.train import loop


def digests(run: loop.Run) -> dict[str, str]:
    """sha256 of every parameter of this rank, its fp32 main weight and Adam's state, by name."""
    found: dict[str, str] = {}
    for number, chunk in enumerate(run.chunks):
        found |= {f"{number}.{name}": digest(tensor) for name, tensor in chunk.named_parameters()}
    for number, part in enumerate(run.optimizer.chained_optimizers):
        for place, (parameter, state) in enumerate(part.optimizer.state.items()):
            found[f"optimizer.{number}.{place}.main"] = digest(parameter)
            found |= {f"optimizer.{number}.{place}.{name}": digest(value) for name, value in state.items()}
    return found


def digest(value: Any) -> str:
    """sha256 of a tensor's bytes."""
    tensor = value.detach().cpu().contiguous() if isinstance(value, torch.Tensor) else torch.tensor(value)
    return hashlib.sha256(tensor.reshape(-1).view(torch.uint8).numpy().tobytes()).hexdigest()
