"""The models that settings describe: GPT-2 against transformers, first weights, pieces of interleaved stages."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

from pretrain import runtime
from pretrain.model.build import build_bare_model, build_chunks
from pretrain.settings import Parallel, PretrainSettings, Shape
from tests.pretrain.helpers.ranks import run_ranks
from tests.pretrain.helpers.training import SHAPE, VOCABULARY, tiny

GPT2 = dataclasses.replace(SHAPE, architecture="gpt2", kv_groups=4)


def gpt2_weights(state: dict[str, Tensor], shape: Shape) -> dict[str, Tensor]:
    """Megatron's weights under the names and in the layouts of transformers, whose matrices stand transposed."""
    found = {
        "transformer.wte.weight": state["embedding.word_embeddings.weight"][:VOCABULARY],
        "transformer.wpe.weight": state["embedding.position_embeddings.weight"],
        "transformer.ln_f.weight": state["decoder.final_layernorm.weight"],
        "transformer.ln_f.bias": state["decoder.final_layernorm.bias"],
    }
    found["lm_head.weight"] = state["output_layer.weight"][:VOCABULARY] if not shape.tied else found["transformer.wte.weight"]
    for layer in range(shape.layers):
        ours, theirs = f"decoder.layers.{layer}.", f"transformer.h.{layer}."
        for kind in ("weight", "bias"):
            qkv = state[f"{ours}self_attention.linear_qkv.{kind}"]  # of each head its query, key and value
            by_head = qkv.view(shape.heads, 3, shape.head_dim, -1)
            parts = {
                "attn.c_attn": torch.cat([by_head[:, part].flatten(0, 1) for part in range(3)]).view_as(qkv),
                "attn.c_proj": state[f"{ours}self_attention.linear_proj.{kind}"],
                "mlp.c_fc": state[f"{ours}mlp.linear_fc1.{kind}"],
                "mlp.c_proj": state[f"{ours}mlp.linear_fc2.{kind}"],
            }
            found |= {f"{theirs}{name}.{kind}": part.T if kind == "weight" else part for name, part in parts.items()}
            found[f"{theirs}ln_1.{kind}"] = state[f"{ours}input_layernorm.{kind}"]
            found[f"{theirs}ln_2.{kind}"] = state[f"{ours}pre_mlp_layernorm.{kind}"]
    return {name: part.clone() for name, part in found.items()}


def gpt2_and_its_logits(settings: PretrainSettings, ids: Tensor, places: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Weights for transformers, every bias and norm away from where it starts, and Megatron's logits."""
    runtime.start(settings.parallel, settings.seed)
    model: Any = build_bare_model(settings, "fp32", VOCABULARY).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
        logits = model(ids, places, None)[..., :VOCABULARY]
    return gpt2_weights(model.state_dict(), settings.model), logits


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("gelu", ["exact", "tanh"])
def test_gpt2_is_that_of_transformers(tied: bool, gelu: str) -> None:
    settings: Any = tiny(model=dataclasses.replace(GPT2, tied=tied, gelu=gelu))
    ids = torch.randint(0, VOCABULARY, (2, 24), generator=torch.Generator().manual_seed(1))
    places = torch.cat([torch.arange(9), torch.arange(15)]).expand(2, 24)  # as if a document began at the tenth token
    ((weights, logits),) = run_ranks(1, gpt2_and_its_logits, settings, ids, places)
    shape = settings.model
    theirs: Any = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY,
            n_positions=24,
            n_embd=shape.hidden,
            n_layer=shape.layers,
            n_head=shape.heads,
            n_inner=shape.ffn,
            activation_function={"exact": "gelu", "tanh": "gelu_new"}[gelu],
            layer_norm_epsilon=shape.norm_eps,
            tie_word_embeddings=tied,
        )
    ).eval()
    theirs.load_state_dict(weights)
    with torch.no_grad():
        expected = theirs(ids, position_ids=places).logits
    torch.testing.assert_close(logits, expected, atol=2e-5, rtol=1e-4)


def spreads(shape: Shape) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of every parameter as training begins."""
    settings = tiny(model=shape)
    runtime.start(settings.parallel, settings.seed)
    model: Any = build_bare_model(settings, "fp32", VOCABULARY)
    found = {name: parameter.detach() for name, parameter in model.named_parameters()}
    return {name: (float(part.mean()), float(part.std(correction=0))) for name, part in found.items()}


@pytest.mark.parametrize("base", [SHAPE, GPT2], ids=["llama", "gpt2"])
def test_first_weights(base: Shape) -> None:
    """Normal with init_std; what leads back into the residual stream by sqrt(2 * layers) smaller; norms 1, biases 0."""
    shape = dataclasses.replace(base, hidden=96, ffn=160, layers=8, init_std=0.05, tied=False)
    (found,) = run_ranks(1, spreads, shape)
    back = 0
    for name, (mean, spread) in found.items():
        if "layernorm" in name or name.endswith("bias"):
            assert (mean, spread) == (0.0 if name.endswith("bias") else 1.0, 0.0), name
            continue
        into_stream = name.endswith(("linear_proj.weight", "linear_fc2.weight"))
        back += into_stream
        expected = 0.05 / math.sqrt(2 * 8) if into_stream else 0.05
        assert spread == pytest.approx(expected, rel=0.06) and abs(mean) < 0.06 * expected, name
    assert back == 2 * 8


def pieces(settings: PretrainSettings) -> list[tuple[list[int], list[str]]]:
    """Of each piece of this rank: the layers that it holds, counted from 1, and what else."""
    runtime.start(settings.parallel, settings.seed)
    held = []
    for chunk in build_chunks(settings, "fp32", VOCABULARY):
        bare = chunk.module
        names = {name.split(".")[0] for name, _ in bare.named_parameters()} - {"decoder"}
        final = {"final_layernorm"} & {name.split(".")[1] for name, _ in bare.named_parameters()}
        held.append(([layer.layer_number for layer in bare.decoder.layers], sorted(names | final)))
    return held


def test_pieces_of_interleaved_stages_take_turns() -> None:
    shape = dataclasses.replace(SHAPE, layers=8, tied=False)
    settings = tiny(Parallel(pipeline=2, virtual=2, micro_batch=2), model=shape)
    assert run_ranks(2, pieces, settings) == [
        [([1, 2], ["embedding"]), ([5, 6], [])],
        [([3, 4], []), ([7, 8], ["final_layernorm", "output_layer"])],
    ]


class Fp8(nn.Module):
    """A layer with Transformer Engine's statistics in its state."""

    def get_extra_state(self) -> Tensor:
        return torch.zeros(3)

    def set_extra_state(self, state: Tensor) -> None:
        raise AssertionError("nothing of the kind is saved")


def with_statistics(settings: PretrainSettings) -> tuple[set[str], set[str]]:
    """Names of what is saved with and without such a layer; both load what the other saves."""
    runtime.start(settings.parallel, settings.seed)
    plain: Any
    other: Any
    plain, other = (build_bare_model(settings, "fp32", VOCABULARY) for _ in range(2))
    other.decoder.layers[0].self_attention.linear_qkv.add_module("fp8", Fp8())
    names = [
        {part.key for part in model.sharded_state_dict(metadata={"dp_cp_group": None}).values() if part is not None}
        for model in (plain, other)
    ]
    weights = {name: part for name, part in plain.state_dict().items() if part is not None}
    other.load_state_dict(weights)
    with pytest.raises(RuntimeError, match=r"Missing key.*final_layernorm"):
        other.load_state_dict({name: part for name, part in weights.items() if "final" not in name})
    return names[0], names[1]


def test_transformer_engines_statistics_are_not_part_of_a_checkpoint() -> None:
    ((plain, other),) = run_ranks(1, with_statistics, tiny())
    assert plain == other and "decoder.layers.self_attention.linear_qkv.weight" in plain
