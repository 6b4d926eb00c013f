"""Attention that stops at document ends: against torch, against a brute-force mask, and against documents run apart."""

import dataclasses
import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from megatron.core.packed_seq_params import PackedSeqParams
from megatron.core.transformer.transformer_config import TransformerConfig
from torch.nn import functional

from pretrain import runtime
from pretrain.model import attention
from pretrain.model.attention import document_mask
from pretrain.model.build import build_bare_model
from pretrain.runtime import start
from pretrain.settings import PretrainSettings, Shape
from tests.pretrain.helpers.packs import EOS
from tests.pretrain.helpers.ranks import run_ranks
from tests.pretrain.helpers.training import SHAPE, VOCABULARY, tiny


@given(st.lists(st.lists(st.sampled_from([EOS, 7, 8]), min_size=6, max_size=6), min_size=1, max_size=3))
def test_a_token_sees_what_stands_before_it_in_its_document(rows: list[list[int]]) -> None:
    bias = document_mask(torch.tensor(rows), EOS, torch.float32).bias
    assert bias is not None and bias.shape == (len(rows), 1, 6, 6)
    for row, seen in zip(rows, bias[:, 0].tolist(), strict=True):
        for query in range(6):
            for key in range(6):
                may = key <= query and EOS not in row[key:query]
                assert seen[query][key] == (0.0 if may else float("-inf")), (row, query, key)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 3), st.integers(1, 3), st.integers(0, 1000))
def test_dense_attention_is_torchs(batch: int, length: int, groups: int, repeats: int, seed: int) -> None:
    torch.manual_seed(seed)
    q = torch.randn(batch, groups * repeats, length, 4, requires_grad=True)
    k, v = (torch.randn(batch, groups, length, 4, requires_grad=True) for _ in range(2))
    bias = document_mask(torch.randint(1, 5, (batch, length)), EOS, torch.float32).bias
    assert bias is not None
    ours = attention._dense_attention(q, k, v, bias)
    theirs = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias, enable_gqa=True)
    torch.testing.assert_close(ours, theirs)
    weight = torch.randn_like(ours)
    for a, b in zip(*(torch.autograd.grad((o * weight).sum(), (q, k, v)) for o in (ours, theirs)), strict=True):
        torch.testing.assert_close(a, b)


@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 2),
    st.integers(1, 11),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(2, 5),
    st.booleans(),
    st.integers(0, 99),
)
def test_attention_on_a_cpu_is_torchs_whatever_the_block(
    batch: int, length: int, groups: int, repeats: int, block: int, ends: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    config = TransformerConfig(
        num_layers=1, hidden_size=4 * groups * repeats, num_attention_heads=groups * repeats, attention_dropout=0.0
    )
    core = attention.SdpaCoreAttention(config, 1, None, "self")
    q = torch.randn(length, batch, groups * repeats, 4, requires_grad=True)
    k, v = (torch.randn(length, batch, groups, 4, requires_grad=True) for _ in range(2))
    bias = document_mask(torch.randint(1, 5, (batch, length)), EOS, torch.float32).bias if ends else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "BLOCK", block)
        ours = core(q, k, v, bias)
        theirs = functional.scaled_dot_product_attention(
            *(part.permute(1, 2, 0, 3) for part in (q, k, v)), attn_mask=bias, is_causal=not ends, enable_gqa=True
        )
        theirs = theirs.permute(2, 0, 1, 3).flatten(2)
        torch.testing.assert_close(ours, theirs)
        weight = torch.randn_like(ours)
        for a, b in zip(*(torch.autograd.grad((o * weight).sum(), (q, k, v)) for o in (ours, theirs)), strict=True):
            torch.testing.assert_close(a, b)
    again = core(*(part.bfloat16() for part in (q, k, v)), None if bias is None else bias.bfloat16())
    torch.testing.assert_close(again.float(), theirs, atol=0.05, rtol=0.05)


def together_and_apart(settings: PretrainSettings, dense_up_to: int) -> tuple[Any, Any, torch.Tensor]:
    """Logits and gradients of a row of documents, of each document in a row of its own; logits of the row without ends."""
    attention.DENSE_UP_TO = dense_up_to  # in this forked rank only
    start(settings.parallel, settings.seed)
    model: Any = build_bare_model(settings, "fp32", VOCABULARY)
    parts = [[9, 8, 7, EOS], [EOS], [10, 11, 12, 13, 14, EOS], [15, 16, 17]]

    def place(tokens: list[int]) -> list[int]:
        places = [0]
        for token in tokens[:-1]:
            places.append(0 if token == EOS else places[-1] + 1)
        return places

    def logits(tokens: list[int], ends: bool = True) -> torch.Tensor:
        ids = torch.tensor([tokens])
        bias = document_mask(ids, EOS, torch.float32).bias if ends else None
        return model(ids, torch.tensor([place(tokens)]), bias)[0]

    def with_gradients(rows: list[list[int]]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        model.zero_grad()
        found = torch.cat([logits(row) for row in rows])
        weight = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
        (found * weight).sum().backward()
        return found.detach(), {name: parameter.grad.clone() for name, parameter in model.named_parameters()}

    row = [token for part in parts for token in part]
    return with_gradients([row]), with_gradients(parts), logits(row, ends=False).detach()


GPT2 = dataclasses.replace(SHAPE, architecture="gpt2", kv_groups=4, tied=False)


@pytest.mark.parametrize("shape", [SHAPE, GPT2], ids=["llama", "gpt2"])
@pytest.mark.parametrize("dense_up_to", [0, 1024], ids=["flash", "dense"])
def test_documents_together_are_documents_apart(dense_up_to: int, shape: Shape) -> None:
    (found,) = run_ranks(1, together_and_apart, tiny(model=shape), dense_up_to)
    (together, gradients), (apart, apart_gradients), unbounded = found
    torch.testing.assert_close(together, apart, atol=2e-6, rtol=1e-5)
    assert gradients.keys() == apart_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, apart_gradients[name], atol=2e-5, rtol=1e-4, msg=name)
    assert (unbounded[:4] - together[:4]).abs().max() < 2e-6
    assert (unbounded[5:] - together[5:]).abs().max() > 1e-3


class Row(torch.nn.Module):
    """What Transformer Engine's attention computes, by definition: documents in a row if told so, else a causal batch."""

    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: Any, **more: Any) -> torch.Tensor:
        packed, repeat = more.get("packed_seq_params"), query.size(-2) // key.size(-2)
        if packed is None:
            q, k, v = (part.permute(1, 2, 0, 3) for part in (query, key, value))
            out = functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
            return out.permute(2, 0, 1, 3).flatten(2)
        assert packed.qkv_format == "thd" and query.dim() == 3 and mask is None
        parts = []
        for begin, end in itertools.pairwise(packed.cu_seqlens_q.tolist()):
            q, k, v = (part[begin:end].transpose(0, 1) for part in (query, key, value))
            k, v = (part.repeat_interleave(repeat, 0) for part in (k, v))
            parts.append(functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(0, 1))
        return torch.cat(parts).flatten(1)


@pytest.mark.parametrize("packed", [True, False])
def test_samples_are_put_in_a_row_for_transformer_engine(packed: bool) -> None:
    torch.manual_seed(0)
    tokens = torch.tensor([[7, EOS, 8, 9, EOS, EOS], [7, 8, 9, 7, 8, EOS], [EOS, 7, 7, 7, 7, 7]])
    q = torch.randn(6, 3, 4, 8)
    k, v = torch.randn(6, 3, 2, 8), torch.randn(6, 3, 2, 8)
    ends = (tokens == EOS).index_fill(1, torch.tensor([5]), True).flatten().nonzero().flatten() + 1
    offsets = functional.pad(ends, (1, 0)).to(torch.int32)
    said = PackedSeqParams(qkv_format="sbhd", cu_seqlens_q=offsets, cu_seqlens_kv=offsets, max_seqlen_q=6, max_seqlen_kv=6)
    stopping: Any = attention.with_document_boundaries(Row)()
    ours = stopping(q, k, v, None, packed_seq_params=said if packed else None)
    bias = document_mask(tokens if packed else torch.full((3, 6), 7), EOS, torch.float32).bias
    assert bias is not None
    expected = attention._dense_attention(q.permute(1, 2, 0, 3), k.permute(1, 2, 0, 3), v.permute(1, 2, 0, 3), bias)
    torch.testing.assert_close(ours, expected.permute(2, 0, 1, 3).flatten(2))


def layers(config: TransformerConfig, installed: bool, cuda: bool) -> tuple[Any, Any]:
    """Attention and final norm that are chosen, as if Transformer Engine were installed or not, in this forked rank only."""
    start(tiny().parallel, 1)
    runtime.HAVE_CUDA = cuda
    specs: Any = attention.gpt_layer_specs
    spec: Any = specs.get_gpt_layer_local_spec()
    spec.submodules.self_attention.submodules.core_attention = Row
    specs.HAVE_TE, specs.TENorm = installed, torch.nn.Identity
    specs.get_gpt_layer_with_transformer_engine_spec = lambda: spec
    chosen: Any = attention.block_spec(config)
    core = chosen.layer_specs[0].submodules.self_attention.submodules.core_attention
    return core.__mro__[1].__name__, chosen.layer_norm.__name__


@pytest.mark.parametrize(
    ("installed", "cuda", "bf16", "expected"),
    [
        (True, True, True, ("Row", "Identity")),
        (True, True, False, ("MegatronModule", "TorchNorm")),
        (True, False, True, ("MegatronModule", "TorchNorm")),
        (False, True, True, ("MegatronModule", "TorchNorm")),
    ],
)
def test_transformer_engine_is_chosen_where_it_is(installed: bool, cuda: bool, bf16: bool, expected: tuple[str, str]) -> None:
    config = TransformerConfig(
        num_layers=1, hidden_size=8, num_attention_heads=2, bf16=bf16, params_dtype=torch.bfloat16 if bf16 else torch.float32
    )
    assert run_ranks(1, layers, config, installed, cuda) == [expected]
