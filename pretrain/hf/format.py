"""How transformers writes one architecture: the types of the conversion tables, and what both architectures share.

Shapes: H hidden, D width of a head, G key/value heads, R rows of one group = (query heads of the group + 2) * D.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from pretrain.settings import PretrainSettings, Shape

if TYPE_CHECKING:
    from tokenizer.encode import Tokenizer

EMBEDDING, OUTPUT = "embedding.word_embeddings.weight", "output_layer.weight"
VOCABULARY_ROWS = (EMBEDDING, OUTPUT)  # filled up to a multiple in megatron, cut off in transformers
Dtype = Literal["float32", "bfloat16"]


def _take_single(parts: Sequence[Tensor], shape: Shape) -> Tensor:
    (only,) = parts
    return only


def _as_single(weight: Tensor, shape: Shape) -> tuple[Tensor, ...]:
    return (weight,)


@dataclass(frozen=True)
class NameRule:
    """One tensor of a layer in megatron, and those that hold the same numbers in transformers."""

    megatron_name: str
    hf_names: tuple[str, ...]
    join: Callable[[Sequence[Tensor], Shape], Tensor] = _take_single  # theirs -> ours
    split: Callable[[Tensor, Shape], tuple[Tensor, ...]] = _as_single  # ours -> theirs


@dataclass(frozen=True)
class Format:
    """How transformers writes one architecture."""

    model: str  # class in transformers
    layer: str  # what the names of a layer begin with, its number from 0 in braces
    rules: tuple[NameRule, ...]
    outer_names: Mapping[str, str]  # megatron's name -> transformers', of what belongs to no layer
    build_config: "Callable[[PretrainSettings, Tokenizer, Dtype], Any]"
    parse_config: Callable[[Any], dict[str, Any]]  # a config in the words of Shape; raises ValueError if Shape has none

    def outer_names_of(self, shape: Shape) -> dict[str, str]:
        """`outer_names`, with the output embedding where it is."""
        return {**self.outer_names, OUTPUT: self.outer_names[EMBEDDING] if shape.tied else "lm_head.weight"}

    def tensor_names(self, shape: Shape) -> set[str]:
        """Every tensor that a folder of this shape has."""
        layers = {self.layer.format(n) + name for n in range(shape.layers) for rule in self.rules for name in rule.hf_names}
        return layers | set(self.outer_names_of(shape).values())


def split_qkv(weight: Tensor, shape: Shape) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of linear_qkv, [G * R, ...], by key/value group its queries, key, value -> all queries, keys, values."""
    groups, width, rest = shape.kv_groups, shape.head_dim, weight.shape[1:]
    rows = weight.reshape(groups, shape.heads // groups + 2, width, *rest)
    return rows[:, :-2].reshape(-1, *rest), rows[:, -2].reshape(-1, *rest), rows[:, -1].reshape(-1, *rest)


def join_qkv(parts: Sequence[Tensor], shape: Shape) -> Tensor:
    """The inverse of `split_qkv`."""
    groups, width, rest = shape.kv_groups, shape.head_dim, parts[0].shape[1:]
    return torch.cat([part.reshape(groups, -1, width, *rest) for part in parts], 1).reshape(-1, *rest)
