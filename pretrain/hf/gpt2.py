"""GPT-2 as transformers writes it, GPT2LMHeadModel: matrices stand as [in, out], queries, keys and values in one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pretrain.hf.format import EMBEDDING, Dtype, Format, NameRule, join_qkv, split_qkv
from pretrain.settings import PretrainSettings, Shape

if TYPE_CHECKING:
    from tokenizer.encode import Tokenizer

POSITIONS = "embedding.position_embeddings.weight"

# Shape's word -> transformers', the one to write first; gelu_pytorch_tanh and gelu_new are the same formula.
GELU = {"exact": ("gelu",), "tanh": ("gelu_new", "gelu_pytorch_tanh")}


def build_config(settings: PretrainSettings, tokenizer: "Tokenizer", dtype: Dtype) -> Any:
    """The architecture in transformers' words; without dropout, as it was trained."""
    from transformers import GPT2Config

    shape = settings.model
    return GPT2Config(
        vocab_size=tokenizer.vocab_size,
        n_positions=settings.seq_length,
        n_embd=shape.hidden,
        n_layer=shape.layers,
        n_head=shape.heads,
        n_inner=shape.ffn,
        activation_function=GELU[shape.gelu][0],
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        layer_norm_epsilon=shape.norm_eps,
        initializer_range=shape.init_std,
        tie_word_embeddings=shape.tied,
        bos_token_id=tokenizer.bos_id,
        eos_token_id=tokenizer.eos_id,
        pad_token_id=tokenizer.pad_id,
        dtype=dtype,
    )


def parse_config(config: Any) -> dict[str, Any]:
    """A GPT2Config in the words of `Shape`.

    Raises: ValueError if it has what `Shape` has no word for.
    """
    wanted = {
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "add_cross_attention": False,
    }
    for name, expected in wanted.items():
        if (found := getattr(config, name)) != expected:
            raise ValueError(f"{name} = {found!r}, only {expected!r} can be trained here")
    gelu = next((name for name, spellings in GELU.items() if config.activation_function in spellings), None)
    if gelu is None:
        raise ValueError(f"activation_function = {config.activation_function!r}, only GELU can be trained here")
    return {
        "gelu": gelu,
        "layers": config.n_layer,
        "hidden": config.n_embd,
        "heads": config.n_head,
        "kv_groups": config.n_head,
        "ffn": config.n_inner or 4 * config.n_embd,
        "norm_eps": config.layer_norm_epsilon,
        "tied": config.tie_word_embeddings,
    }


def _transpose(parts: Sequence[Tensor], shape: Shape) -> Tensor:
    (only,) = parts
    return only.t()


def _transpose_back(weight: Tensor, shape: Shape) -> tuple[Tensor, ...]:
    return (weight.t(),)


def _join_qkv(parts: Sequence[Tensor], shape: Shape) -> Tensor:
    """[in, 3 * out] or, the bias, [3 * out] -> rows by head."""
    (only,) = parts
    return join_qkv((only.t() if only.dim() == 2 else only).chunk(3), shape)


def _split_qkv(weight: Tensor, shape: Shape) -> tuple[Tensor, ...]:
    """The inverse of `_join_qkv`."""
    rows = torch.cat(split_qkv(weight, shape))
    return (rows.t() if rows.dim() == 2 else rows,)


GPT2 = Format(
    model="GPT2LMHeadModel",
    layer="transformer.h.{}.",
    rules=(
        NameRule("input_layernorm.weight", ("ln_1.weight",)),
        NameRule("input_layernorm.bias", ("ln_1.bias",)),
        NameRule("self_attention.linear_qkv.weight", ("attn.c_attn.weight",), _join_qkv, _split_qkv),
        NameRule("self_attention.linear_qkv.bias", ("attn.c_attn.bias",), _join_qkv, _split_qkv),
        NameRule("self_attention.linear_proj.weight", ("attn.c_proj.weight",), _transpose, _transpose_back),
        NameRule("self_attention.linear_proj.bias", ("attn.c_proj.bias",)),
        NameRule("pre_mlp_layernorm.weight", ("ln_2.weight",)),
        NameRule("pre_mlp_layernorm.bias", ("ln_2.bias",)),
        NameRule("mlp.linear_fc1.weight", ("mlp.c_fc.weight",), _transpose, _transpose_back),
        NameRule("mlp.linear_fc1.bias", ("mlp.c_fc.bias",)),
        NameRule("mlp.linear_fc2.weight", ("mlp.c_proj.weight",), _transpose, _transpose_back),
        NameRule("mlp.linear_fc2.bias", ("mlp.c_proj.bias",)),
    ),
    outer_names={
        EMBEDDING: "transformer.wte.weight",
        POSITIONS: "transformer.wpe.weight",
        "decoder.final_layernorm.weight": "transformer.ln_f.weight",
        "decoder.final_layernorm.bias": "transformer.ln_f.bias",
    },
    build_config=build_config,
    parse_config=parse_config,
)
