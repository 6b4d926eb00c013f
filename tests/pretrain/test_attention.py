"""Attention that stops at document ends: against torch, against a brute-force mask, and against documents run apart."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from pretrain import attention
from pretrain.attention import documents
from pretrain.model import bare_model
from pretrain.runtime import start
from tests.pretrain.packs import EOS
from tests.pretrain.ranks import run_ranks
from tests.pretrain.training import VOCABULARY, tiny


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from([EOS, 7, 8]), min_size=6, max_size=6), min_size=1, max_size=3))
def test_a_token_sees_what_stands_before_it_in_its_document(rows: list[list[int]]) -> None:
    bias = documents(torch.tensor(rows), EOS, torch.float32).bias
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
    bias = documents(torch.randint(1, 5, (batch, length)), EOS, torch.float32).bias
    assert bias is not None
    ours = attention._dense(q, k, v, bias)
    theirs = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias, enable_gqa=True)
    torch.testing.assert_close(ours, theirs)
    weight = torch.randn_like(ours)
    for a, b in zip(*(torch.autograd.grad((o * weight).sum(), (q, k, v)) for o in (ours, theirs)), strict=True):
        torch.testing.assert_close(a, b)


def together_and_apart(dense_up_to: int) -> tuple[torch.Tensor, list[torch.Tensor], torch.Tensor]:
    """Logits of a row of documents, of each document in a row of its own, and of the row without ends."""
    attention.DENSE_UP_TO = dense_up_to  # in this forked rank only
    run = tiny()
    start(run.parallel, run.seed)
    model: Any = bare_model(run, "fp32", VOCABULARY).eval()
    parts = [[9, 8, 7, EOS], [EOS], [10, 11, 12, 13, 14, EOS], [15, 16, 17]]

    def logits(tokens: list[int], ends: bool = True) -> torch.Tensor:
        ids = torch.tensor([tokens])
        bias = documents(ids, EOS, torch.float32).bias if ends else None
        with torch.no_grad():
            return model(ids, torch.arange(len(tokens))[None], bias)[0]

    row = [token for part in parts for token in part]
    return logits(row), [logits(part) for part in parts], logits(row, ends=False)


@pytest.mark.parametrize("dense_up_to", [0, 1024], ids=["flash", "dense"])
def test_documents_together_are_documents_apart(dense_up_to: int, tmp_path: Path) -> None:
    ((together, apart, unbounded),) = run_ranks(1, together_and_apart, dense_up_to)
    torch.testing.assert_close(together, torch.cat(apart), atol=2e-6, rtol=1e-5)
    assert (unbounded[:4] - together[:4]).abs().max() < 2e-6
    assert (unbounded[5:] - together[5:]).abs().max() > 1e-3
