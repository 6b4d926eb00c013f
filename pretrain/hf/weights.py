"""Weights under megatron's names and under transformers', both directions from one table of rules."""

from collections.abc import Mapping

import torch
from torch import Tensor

from pretrain.hf.format import EMBEDDING, OUTPUT, VOCABULARY_ROWS, Format
from pretrain.hf.gpt2 import GPT2
from pretrain.hf.llama import LLAMA
from pretrain.settings import Shape


def format_of(shape: Shape) -> Format:
    """The format of an architecture."""
    return GPT2 if shape.architecture == "gpt2" else LLAMA


def to_transformers(state: Mapping[str, Tensor], shape: Shape, vocab_size: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """Megatron's whole model -> every tensor of transformers' state_dict, the vocabulary's padding cut off.

    Args:
        state: under megatron's names, as `normalize_names` leaves them.
        dtype: what the numbers were trained in, so that none is rounded.
    """
    made, form = {}, format_of(shape)
    for ours, theirs in form.outer_names_of(shape).items():
        weight = state[EMBEDDING if ours == OUTPUT and shape.tied else ours]
        made[theirs] = weight[:vocab_size] if ours in VOCABULARY_ROWS else weight
    for layer in range(shape.layers):
        for rule in form.rules:
            parts = rule.split(state[f"decoder.layers.{layer}.{rule.megatron_name}"], shape)
            made |= {form.layer.format(layer) + name: part for name, part in zip(rule.hf_names, parts, strict=True)}
    copies = {name: weight.detach().to("cpu", dtype, copy=True).contiguous() for name, weight in made.items()}
    return copies | ({"lm_head.weight": copies[form.outer_names[EMBEDDING]]} if shape.tied else {})


def normalize_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names as megatron's local layers have them: Transformer Engine keeps a norm in the matrix that follows it."""
    renamed = {
        name.replace("self_attention.linear_qkv.layer_norm_", "input_layernorm.").replace(
            "mlp.linear_fc1.layer_norm_", "pre_mlp_layernorm."
        ): weight
        for name, weight in state.items()
        if not name.endswith("_extra_state")
    }
    assert len(renamed) == sum(not name.endswith("_extra_state") for name in state)
    return renamed
