"""Llama (arXiv:2307.09288) as transformers writes it: LlamaForCausalLM."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pretrain.hf.format import EMBEDDING, Dtype, Format, NameRule, join_qkv, split_qkv
from pretrain.settings import PretrainSettings, Shape

if TYPE_CHECKING:
    from tokenizer.encode import Tokenizer

# The scaling of Llama 3.1, whose constants megatron-core has built in (rotary_pos_embedding.py).
LLAMA_3 = {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


def build_config(settings: PretrainSettings, tokenizer: "Tokenizer", dtype: Dtype) -> Any:
    """The architecture in transformers' words."""
    from transformers import LlamaConfig

    shape = settings.model
    return LlamaConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=shape.hidden,
        intermediate_size=shape.ffn,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_groups,
        head_dim=shape.head_dim,
        max_position_embeddings=settings.seq_length,
        initializer_range=shape.init_std,
        rms_norm_eps=shape.norm_eps,
        rope_parameters=_rope_parameters(shape),  # pyright: ignore[reportArgumentType] - a dict is taken
        tie_word_embeddings=shape.tied,
        bos_token_id=tokenizer.bos_id,
        eos_token_id=tokenizer.eos_id,
        pad_token_id=tokenizer.pad_id,
        dtype=dtype,
    )


def _rope_parameters(shape: Shape) -> dict[str, Any]:
    base: dict[str, Any] = {"rope_type": "default", "rope_theta": shape.rope_theta}
    return base | LLAMA_3 | {"factor": shape.rope_scaling} if shape.rope_scaling else base


def parse_config(config: Any) -> dict[str, Any]:
    """A LlamaConfig in the words of `Shape`.

    Raises: ValueError if it has what `Shape` has no word for.
    """
    rope = config.rope_parameters
    scaled = rope.get("rope_type") == LLAMA_3["rope_type"]
    wanted = {
        "hidden_act": (config.hidden_act, "silu"),
        "attention_bias": (config.attention_bias, False),
        "mlp_bias": (config.mlp_bias, False),
        **{name: (rope.get(name), value) for name, value in (LLAMA_3 if scaled else {"rope_type": "default"}).items()},
        "head_dim": (config.head_dim, config.hidden_size // config.num_attention_heads),
    }
    for name, (found, expected) in wanted.items():
        if found != expected:
            raise ValueError(f"{name} = {found!r}, only {expected!r} can be trained here")
    return {
        "layers": config.num_hidden_layers,
        "hidden": config.hidden_size,
        "heads": config.num_attention_heads,
        "kv_groups": config.num_key_value_heads,
        "ffn": config.intermediate_size,
        "rope_theta": rope.get("rope_theta"),
        "rope_scaling": rope.get("factor") if scaled else 0.0,
        "norm_eps": config.rms_norm_eps,
        "tied": config.tie_word_embeddings,
    }


def _split_gate_up(weight: Tensor, shape: Shape) -> tuple[Tensor, ...]:
    return weight.chunk(2)


def _join_gate_up(parts: Sequence[Tensor], shape: Shape) -> Tensor:
    return torch.cat(list(parts))


LLAMA = Format(
    model="LlamaForCausalLM",
    layer="model.layers.{}.",
    rules=(
        NameRule("input_layernorm.weight", ("input_layernorm.weight",)),
        NameRule(
            "self_attention.linear_qkv.weight",
            ("self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"),
            join_qkv,
            split_qkv,
        ),
        NameRule("self_attention.linear_proj.weight", ("self_attn.o_proj.weight",)),
        NameRule("pre_mlp_layernorm.weight", ("post_attention_layernorm.weight",)),
        NameRule("mlp.linear_fc1.weight", ("mlp.gate_proj.weight", "mlp.up_proj.weight"), _join_gate_up, _split_gate_up),
        NameRule("mlp.linear_fc2.weight", ("mlp.down_proj.weight",)),
    ),
    outer_names={EMBEDDING: "model.embed_tokens.weight", "decoder.final_layernorm.weight": "model.norm.weight"},
    build_config=build_config,
    parse_config=parse_config,
)
