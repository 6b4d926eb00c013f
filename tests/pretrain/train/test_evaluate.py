"""Bits per byte and the baseline, against arithmetic by hand and against transformers."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional
from transformers import LlamaForCausalLM

from pretrain.hf import llama, weights
from pretrain.settings import PretrainSettings
from pretrain.train import evaluate
from pretrain.train.evaluate import Score, unigram_nats
from tests.pretrain.helpers.packs import EOS
from tests.pretrain.helpers.ranks import run_ranks
from tests.pretrain.helpers.training import VOCABULARY, prepared, tiny, tiny_pack, with_layout


@given(st.lists(st.integers(0, 9), max_size=40), st.lists(st.integers(0, 9), max_size=40))
def test_unigram_baseline(train: list[int], held_out: list[int]) -> None:
    seen = Counter(train)
    expected = -sum(math.log((seen[token] + 1) / (len(train) + 10)) for token in held_out)
    assert unigram_nats(np.bincount(train, minlength=10), np.array(held_out, int)) == pytest.approx(expected)


def test_a_score_by_hand() -> None:
    score = Score(tokens=4, bytes=2, nats=math.log(16), unigram_nats=math.log(256)) + Score(0, 2, math.log(16), 0.0)
    assert (score.loss, score.bits_per_byte, score.unigram_bits_per_byte) == pytest.approx((2 * math.log(16) / 4, 2, 2))
    assert score.as_dict() == {
        "tokens": 4, "bytes": 4, "loss": 1.38629, "bits_per_byte": 2.0, "unigram_bits_per_byte": 2.0
    }  # fmt: skip


def scores(settings: PretrainSettings, pack: Path, root: Path) -> tuple[dict[str, Score], Any]:
    run = prepared(settings, pack, root)
    state = run.chunks[0].module.state_dict() if run.settings.parallel.processes == 1 else {}
    return run.validate(), (state, {name: rows.labels for name, rows in run.datasets.valid.items()})


def test_scores_are_those_of_transformers(tmp_path: Path) -> None:
    """Untrained weights; windows of seq_length tokens over `</s>` and the held-out documents, as defined."""
    settings, pack = tiny(), tiny_pack(tmp_path / "pack")
    ((found, (state, labels)),) = run_ranks(1, scores, settings, pack, tmp_path / "run")
    config = llama.build_config(settings, _Ids(), "float32")  # pyright: ignore[reportArgumentType] - all that it reads of a tokenizer
    model: Any = LlamaForCausalLM(config)
    made = weights.to_transformers(weights.normalize_names(state), settings.model, VOCABULARY, torch.float32)
    model.load_state_dict(made)
    assert len(state["embedding.word_embeddings.weight"]) == VOCABULARY + 3, "what fills the vocabulary up gets no probability"
    for source, tokens in labels.items():
        stream, nats = [EOS, *tokens.tolist()], 0.0
        for begin in range(0, len(tokens), settings.seq_length):
            inputs, wanted = stream[begin : begin + settings.seq_length], stream[begin + 1 : begin + 1 + settings.seq_length]
            inputs, first = inputs[: len(wanted)], 0
            for place, token in enumerate(inputs):  # each document of the window by itself
                if token == EOS or place == len(inputs) - 1:
                    part = torch.tensor([inputs[first : place + 1]])
                    with torch.no_grad():
                        logits = model(part).logits[0]
                    labels_of_part = torch.tensor(wanted[first : place + 1])
                    nats += functional.cross_entropy(logits, labels_of_part, reduction="sum").item()
                    first = place + 1
        assert found[source].nats == pytest.approx(nats, rel=1e-5)
        assert (found[source].tokens, found[source].bytes) == (len(tokens), 3 * len(tokens))
    two = run_ranks(2, scores, with_layout(settings, data=2, micro_batch=1), pack, tmp_path / "two")
    for other, _ in two:
        assert {n: s.nats for n, s in other.items()} == pytest.approx({n: s.nats for n, s in found.items()}, rel=1e-6)
    assert evaluate.sum_scores(found).tokens == sum(map(len, labels.values()))


class _Ids:
    vocab_size, bos_id, eos_id, pad_id = VOCABULARY, 1, EOS, 3
