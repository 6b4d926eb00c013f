"""Validation in bits per byte, which compares across tokenizers, beside a baseline that knows only how often tokens occur."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from megatron.core import parallel_state as ps
from megatron.core.pipeline_parallel import get_forward_backward_func
from torch import Tensor

from pipeline.errors import BadInput
from pretrain import runtime
from pretrain.runtime import run_on_rank_0
from pretrain.settings import PretrainSettings
from pretrain.train import data
from pretrain.train.data import Datasets

# One micro-batch on this rank: the model's loss, from an iterator of batches (see `pretrain.train.loop.Run.forward_step`).
ForwardStep = Callable[[Iterator[dict[str, Tensor]], Any], tuple[Tensor, Callable]]


@dataclass(frozen=True)
class Score:
    """How well some held-out text was predicted; every token counts once, `</s>` too."""

    tokens: int
    bytes: int  # of the text as UTF-8
    nats: float  # -log p of all tokens, by the model
    unigram_nats: float  # the same by token frequencies of the training data

    def __add__(self, other: "Score") -> "Score":
        """Both texts together."""
        return Score(
            self.tokens + other.tokens,
            self.bytes + other.bytes,
            self.nats + other.nats,
            self.unigram_nats + other.unigram_nats,
        )

    @property
    def loss(self) -> float:
        """Nats a token."""
        return self.nats / max(self.tokens, 1)

    @property
    def bits_per_byte(self) -> float:
        """Bits a byte of text, by the model."""
        return self.nats / math.log(2) / max(self.bytes, 1)

    @property
    def unigram_bits_per_byte(self) -> float:
        """Bits a byte of text, by the baseline."""
        return self.unigram_nats / math.log(2) / max(self.bytes, 1)

    def as_dict(self) -> dict[str, Any]:
        """For manifest and events, rounded to what is worth reading."""
        return {
            "tokens": self.tokens,
            "bytes": self.bytes,
            "loss": round(self.loss, 5),
            "bits_per_byte": round(self.bits_per_byte, 5),
            "unigram_bits_per_byte": round(self.unigram_bits_per_byte, 5),
        }


def sum_scores(scores: Mapping[str, Score]) -> Score:
    """All sources together."""
    return sum(scores.values(), Score(0, 0, 0.0, 0.0))


def token_counts(datasets: Datasets, vocab_size: int) -> np.ndarray:
    """(vocab_size,) how often each token is in the training data; rank 0 reads it all, the others are told.

    Raises: BadInput if packed data has a token that is none of the vocabulary.
    """
    for name, rows in datasets.valid.items():
        if (top := int(rows.labels.max())) >= vocab_size:
            raise BadInput(
                f"{datasets.pack_data / name}: token {top}, but the tokenizer has only {vocab_size}; pack again with it"
            )
    return run_on_rank_0(partial(data.load_token_counts, datasets.pack_data, vocab_size))


def unigram_nats(counts_V: np.ndarray, labels_N: np.ndarray) -> float:
    """-log p of all labels under the distribution of `counts_V` with one added to each (Laplace's rule)."""
    log_probabilities_V = np.log(counts_V + 1.0) - math.log(float(counts_V.sum()) + len(counts_V))
    return float(-log_probabilities_V[labels_N].sum())


def score_held_out(
    chunks: list[Any], forward_step: ForwardStep, datasets: Datasets, settings: PretrainSettings, counts_V: np.ndarray
) -> dict[str, Score]:
    """Score every source's held-out text; all ranks together, each gets the result."""
    layout = settings.parallel
    share: dict[str, Any] = {
        "micro_batch_size": layout.micro_batch,
        "world": ps.get_data_parallel_world_size(),
        "group": layout.group,
    }
    rank, forward_backward = ps.get_data_parallel_rank(), get_forward_backward_func()
    scores = {}
    for chunk in chunks:
        chunk.eval()
    for name, rows in datasets.valid.items():
        with torch.no_grad():
            reports = forward_backward(
                forward_step_func=forward_step,
                data_iterator=[data.valid_batches(rows, rank=rank, **share) for _ in chunks],
                model=chunks,
                num_microbatches=data.valid_steps(rows, **share),
                seq_length=settings.seq_length,
                micro_batch_size=layout.micro_batch,
                forward_only=True,
            )
        nats, tokens = sum_reports(reports)
        assert round(tokens) == rows.tokens, f"{name}: {tokens} tokens were scored, {rows.tokens} are held out"
        scores[name] = Score(rows.tokens, rows.bytes, nats, unigram_nats(counts_V, rows.labels))
    for chunk in chunks:
        chunk.train()
    return scores


def sum_reports(reports: Iterable[Tensor]) -> tuple[float, float]:
    """(loss, tokens) summed over micro-batches and data-parallel ranks, from the last pipeline stage to every rank."""
    value = torch.zeros(2, dtype=torch.float64, device=runtime.DEVICE)
    for report in reports:
        value += report
    dist.all_reduce(value, group=ps.get_data_parallel_group(with_context_parallel=True))
    stages: Any = ps.get_pipeline_model_parallel_group()
    dist.broadcast(value, ps.get_pipeline_model_parallel_last_rank(), group=stages)
    nats, tokens = value.tolist()
    return nats, tokens
