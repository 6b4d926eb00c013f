"""The same training written with transformers and torch alone: same weights, same batches, same losses."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers import LlamaForCausalLM

from benchmarks.pretrain.pair import llama_config, lr_at
from pretrain.hf import weights
from pretrain.settings import PretrainSettings
from pretrain.train import data, loop
from tests.pretrain.helpers.packs import EOS
from tests.pretrain.helpers.ranks import run_ranks
from tests.pretrain.helpers.training import SHAPE, VOCABULARY, prepared, tiny, tiny_pack

Batch = dict[str, torch.Tensor]
ITERATIONS, MAXIMUM = 100, 1e-3  # relative difference of loss, lr and gradient norm


def megatron(settings: PretrainSettings, pack: Path, root: Path) -> tuple[dict[str, torch.Tensor], list[Batch], list[Any]]:
    """First weights in transformers' names, the batches of every iteration, and loss, lr and gradient norm."""
    run = prepared(settings, pack, root)
    state = weights.normalize_names(run.chunks[0].module.state_dict())
    first = weights.to_transformers(state, settings.model, VOCABULARY, torch.float32)
    size = settings.parallel.micro_batch
    batches = list(data.train_batches(run.datasets, 0, micro_batch_size=size, rank=0, world=1))
    source = iter(batches)
    numbers = [loop.step(run, [source]) for _ in range(settings.iterations)]
    steps = settings.global_batch // size
    whole = [{k: torch.cat([b[k] for b in batches[i : i + steps]]) for k in batches[0]} for i in range(0, len(batches), steps)]
    return first, whole, numbers


def mask(tokens: torch.Tensor, across: bool) -> torch.Tensor:
    """True where a token (row) may look (column), by the definition."""
    seen = torch.zeros(len(tokens), 1, tokens.size(1), tokens.size(1), dtype=torch.bool)
    for row, ids in enumerate(tokens.tolist()):
        for query in range(len(ids)):
            begin = 0 if across else max((place + 1 for place in range(query) if ids[place] == EOS), default=0)
            seen[row, 0, query, begin : query + 1] = True
    return seen


@pytest.mark.parametrize("across", [True, False], ids=["across", "within"])
def test_losses_are_those_of_plain_torch(tmp_path: Path, across: bool) -> None:
    import dataclasses

    # vocabulary a multiple of nothing but one, for the reference has no padding in its softmax
    settings = tiny(
        across_documents=across, model=dataclasses.replace(SHAPE, vocab_multiple=1, rope_theta=500.0), iterations=ITERATIONS
    )
    ((first, batches, numbers),) = run_ranks(1, megatron, settings, tiny_pack(tmp_path / "pack"), tmp_path / "run")
    model: Any = LlamaForCausalLM(llama_config(settings, VOCABULARY))
    model.set_attn_implementation("eager")
    model.load_state_dict(first)
    adam = settings.optimizer
    matrices, norms = ([p for p in model.parameters() if (p.dim() > 1) == big] for big in (True, False))
    groups = [{"params": matrices, "weight_decay": adam.weight_decay}, {"params": norms, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(adam.beta1, adam.beta2), eps=adam.eps)
    for iteration, (batch, ours) in enumerate(zip(batches, numbers, strict=True), 1):
        for group in optimizer.param_groups:
            group["lr"] = lr_at(settings, iteration)
        bias = torch.zeros(()).where(mask(batch["tokens"], across), float("-inf"))
        logits = model(batch["tokens"], attention_mask=bias).logits
        loss = functional.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten())
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), adam.clip)
        optimizer.step()
        expected = {"loss": loss.item(), "lr": lr_at(settings, iteration), "grad": norm.item()}
        assert ours == pytest.approx(expected, rel=MAXIMUM), iteration
