"""One training step twice: ours, and the same written with transformers and torch alone, from the same weights.

Both take every batch as its micro-batches, clip the same norm, and follow the same schedule; attention is torch's SDPA in
both, over document ends, for transformers has no other fast way.
"""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from pretrain import runtime
from pretrain.export import init_single_process
from pretrain.hf.weights import normalize_names, to_transformers
from pretrain.model.build import build_chunks, build_optimizer
from pretrain.position import Position
from pretrain.settings import Precision, PretrainSettings
from pretrain.train import loop

EOS = 2
Batch = dict[str, Tensor]
# How transformers computes in bf16: weights and moments too, or fp32 weights under torch.autocast.
How = Literal["fp32", "bf16", "autocast"]


class Ours:
    """`pretrain.train.loop.step`, in this process alone."""

    def __init__(self, settings: PretrainSettings, precision: Precision, vocab_size: int) -> None:
        init_single_process()
        nothing: Any = None  # neither data nor checkpoints: batches are given
        chunks = build_chunks(settings, precision, vocab_size)
        optimizer, scheduler = build_optimizer(settings, chunks)
        self._run = loop.Run(
            settings=settings,
            paths=loop.RunPaths(Path(), Path()),
            precision=precision,
            eos_id=EOS,
            counts=nothing,
            datasets=nothing,
            chunks=chunks,
            optimizer=optimizer,
            scheduler=scheduler,
            position=Position(),
            saver=nothing,
        )

    def step(self, batches: Sequence[Batch]) -> float:
        """Train on the micro-batches of one iteration; returns the loss, nats a token."""
        return loop.step(self._run, [iter(batches)])["loss"]

    def weights(self) -> dict[str, Tensor]:
        """As transformers names them, fp32."""
        (chunk,) = self._run.chunks
        state = normalize_names(chunk.module.state_dict())
        rows = len(state["embedding.word_embeddings.weight"])
        return to_transformers(state, self._run.settings.model, rows, torch.float32)


class Theirs:
    """AutoModelForCausalLM, AdamW and a loop of ten lines."""

    def __init__(self, settings: PretrainSettings, how: How, weights: dict[str, Tensor], config: Any) -> None:
        from transformers import AutoModelForCausalLM

        self._settings, self._how, self._iteration = settings, how, 0
        kind = torch.bfloat16 if how == "bf16" else torch.float32
        self.model: Any = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa", dtype=kind)
        self.model.load_state_dict(weights, strict=False)  # a tied output is the embedding
        self.model.to(runtime.DEVICE).train()
        adam = settings.optimizer
        big, small = ([p for p in self.model.parameters() if (p.dim() > 1) == more] for more in (True, False))
        groups = [{"params": big, "weight_decay": adam.weight_decay}, {"params": small, "weight_decay": 0.0}]
        self._optimizer = torch.optim.AdamW(groups, lr=adam.lr, betas=(adam.beta1, adam.beta2), eps=adam.eps, fused=True)

    def step(self, batches: Sequence[Batch], lr: float) -> float:
        """Train on the micro-batches of one iteration; returns the loss, nats a token."""
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        tokens, total = sum(batch["tokens"].numel() for batch in batches), torch.zeros((), device=runtime.DEVICE)
        for batch in batches:
            ids, labels = (batch[name].to(runtime.DEVICE) for name in ("tokens", "labels"))
            with torch.autocast(runtime.DEVICE.type, torch.bfloat16, enabled=self._how == "autocast"):
                logits = self.model(ids, use_cache=False).logits
            loss = functional.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), reduction="sum") / tokens
            loss.backward()
            total += loss.detach()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self._settings.optimizer.clip)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return float(total)


def lr_at(settings: PretrainSettings, iteration: int) -> float:
    """Linear warmup, then cosine down to min_lr at the last iteration."""
    adam = settings.optimizer
    if iteration <= adam.warmup:
        return adam.lr * iteration / adam.warmup
    done = (iteration - adam.warmup) / (settings.iterations - adam.warmup)
    return adam.min_lr + (adam.lr - adam.min_lr) * (1 + math.cos(math.pi * done)) / 2


def random_batches(settings: PretrainSettings, vocab_size: int, seed: int) -> list[Batch]:
    """The micro-batches of an iteration, ids drawn evenly."""
    generator = torch.Generator().manual_seed(seed)
    size = settings.parallel.micro_batch
    made = []
    for _ in range(settings.global_batch // size):
        ids = torch.randint(EOS + 1, vocab_size, (size, settings.seq_length + 1), generator=generator)
        places = torch.arange(settings.seq_length).expand(size, -1)
        mask = torch.ones(size, settings.seq_length)
        made.append({"tokens": ids[:, :-1], "labels": ids[:, 1:].contiguous(), "loss_mask": mask, "position_ids": places})
    return made


def llama_config(settings: PretrainSettings, vocab_size: int) -> Any:
    """transformers' description of the same model."""
    from transformers import LlamaConfig

    shape = settings.model
    return LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=shape.hidden,
        intermediate_size=shape.ffn,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_groups,
        max_position_embeddings=settings.seq_length,
        rms_norm_eps=shape.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},  # pyright: ignore[reportArgumentType] - a dict is taken
        tie_word_embeddings=shape.tied,
    )


def across(settings: PretrainSettings) -> PretrainSettings:
    """The same training with attention over document ends, on one rank, its vocabulary not filled up."""
    model = dataclasses.replace(settings.model, vocab_multiple=1)
    layout = dataclasses.replace(settings.parallel, tensor=1, pipeline=1, virtual=1, data=1, sequence=False)
    return dataclasses.replace(settings, model=model, parallel=layout, across_documents=True)
