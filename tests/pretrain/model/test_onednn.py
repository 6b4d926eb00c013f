"""oneDNN's products against torch's in double precision, and megatron's layers on them against megatron's own."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from megatron.core.transformer.transformer_config import TransformerConfig

from pretrain.model import onednn
from pretrain.runtime import start
from pretrain.settings import Parallel
from tests.pretrain.helpers.ranks import run_ranks

pytestmark = pytest.mark.skipif(not onednn.is_supported(torch.float32), reason="this torch is without oneDNN, or has a GPU")
SIZE = st.integers(1, 40)


def laid(rows: int, columns: int, how: str) -> torch.Tensor:
    """Normal numbers that are in memory by rows, by columns, or with gaps."""
    made = torch.randn(rows + 3, columns + 2)[:rows, :columns]
    return {"rows": made.contiguous(), "columns": made.t().contiguous().t(), "gaps": made}[how]


LAID = st.sampled_from(["rows", "columns", "gaps"])


@given(SIZE, SIZE, SIZE, LAID, LAID, st.integers(0, 1000))
def test_products_of_any_layout(rows: int, inner: int, columns: int, one: str, other: str, seed: int) -> None:
    torch.manual_seed(seed)
    a, b = laid(rows, inner, one), laid(columns, inner, other)
    torch.testing.assert_close(onednn.matmul_nt(a, b).double(), a.double() @ b.double().t(), rtol=1e-5, atol=1e-5)
    a, b = laid(inner, rows, one), laid(inner, columns, other)
    torch.testing.assert_close(onednn.matmul_tn(a, b).double(), a.double().t() @ b.double(), rtol=1e-5, atol=1e-5)


def both(sequence: bool, world: int) -> list[tuple[torch.Tensor, ...]]:
    """Output and gradients of a column- and a row-parallel layer with bias: megatron's, then on `products`."""
    from megatron.core.tensor_parallel import ColumnParallelLinear, RowParallelLinear

    start(Parallel(tensor=world, sequence=sequence), 1)
    config = TransformerConfig(
        num_layers=1, hidden_size=8, num_attention_heads=2, use_cpu_initialization=True,
        tensor_model_parallel_size=world, sequence_parallel=sequence,
    )  # fmt: skip
    common: Any = {"config": config, "init_method": torch.nn.init.normal_, "bias": True, "skip_bias_add": False}
    torch.manual_seed(3)
    layers = torch.nn.ModuleList(
        [ColumnParallelLinear(8, 12, **common), RowParallelLinear(12, 8, input_is_parallel=True, **common)]
    )
    with torch.no_grad():
        for layer in layers:
            torch.nn.init.normal_(layer.get_parameter("bias"))
    x = torch.randn(6 // (world if sequence else 1), 2, 8, requires_grad=True)
    found = []
    for changed in (False, True):
        if changed:
            onednn.install(layers)
            assert all("_forward_impl" in vars(layer) for layer in layers)
        output = layers[1](layers[0](x)[0])[0]
        weight = torch.linspace(-1, 1, output.numel()).view_as(output)
        asked = [x, *layers.parameters()]
        found.append((output.detach(), *torch.autograd.grad((output * weight).sum(), asked)))
    return found


@pytest.mark.parametrize(("world", "sequence"), [(1, False), (2, False), (2, True)])
def test_layers_are_megatrons(world: int, sequence: bool) -> None:
    for theirs, ours in run_ranks(world, both, sequence, world):
        assert len(theirs) == len(ours) == 6
        for a, b in zip(theirs, ours, strict=True):
            torch.testing.assert_close(b, a)
            assert b.abs().max() > 0.1
