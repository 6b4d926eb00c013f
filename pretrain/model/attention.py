"""The layers of the decoder: with Transformer Engine its own, else megatron's local ones with attention and norms on torch.

Shapes: B samples, S positions, H query heads, G key/value heads, R = H / G, D width of a head; N = B * S.
"""

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from megatron.core.models.gpt import gpt_layer_specs
from megatron.core.packed_seq_params import PackedSeqParams
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.transformer_block import TransformerBlockSubmodules, get_num_layers_to_build
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor
from torch.nn import functional

from pretrain import runtime
from pretrain.model import onednn

# Up to this length a CPU keeps every attention weight for the backward pass; above, that takes too much memory. Against torch's
# flash kernel, forward and backward, ms: bf16, whole matrices, 2 threads, S 256 2.8 against 7.8, S 512 5.0 against 13.6, S 2048
# 94 against 81; fp32, in blocks, 1 thread, S 1024 91 against 148, S 2048 125 against 247.
DENSE_UP_TO = 1024
# Positions whose scores are made at once in fp32, so that they stay in the cache (1 thread, forward and backward of 4 samples,
# ms, torch's flash kernel, then blocks of 64, 128, 256: S 256 13.4, 11.4, 8.8, 9.3; S 512 57, 48, 39, 37).
BLOCK = 128


@dataclass(frozen=True)
class DocumentMask:
    """Where the documents of a micro-batch end, in the form that this device's kernel wants."""

    bias: Tensor | None  # [B, 1, S, S], added to the scores: 0 where a query (row) may see a key (column), else -inf
    packed: PackedSeqParams | None  # ends counted over the flattened micro-batch


def document_mask(tokens_BS: Tensor, eos: int, kind: torch.dtype) -> DocumentMask:
    """Causal attention that stays inside each document; a document ends with its `eos`.

    Rotary positions are relative, so they need no reset; learned ones come reset from the data.

    Args:
        kind: the type that attention computes in; 16 bit on CUDA gets the variable-length flash kernel.
    """
    B, S = tokens_BS.shape
    ends_BS = tokens_BS == eos
    if tokens_BS.is_cuda and kind != torch.float32:
        ends_BS = ends_BS.clone()
        ends_BS[:, -1] = True
        offsets = functional.pad(ends_BS.flatten().nonzero().flatten() + 1, (1, 0)).to(torch.int32)
        packed = PackedSeqParams(
            qkv_format="sbhd", cu_seqlens_q=offsets, cu_seqlens_kv=offsets, max_seqlen_q=S, max_seqlen_kv=S
        )
        return DocumentMask(None, packed)
    number_BS = ends_BS.cumsum(1) - ends_BS.long()
    causal_SS = torch.ones(S, S, dtype=torch.bool, device=tokens_BS.device).tril()
    sees_BSS = causal_SS & (number_BS[:, :, None] == number_BS[:, None, :])
    bias_BSS = torch.zeros(B, S, S, dtype=kind, device=tokens_BS.device).masked_fill_(~sees_BSS, float("-inf"))
    return DocumentMask(bias_BSS[:, None], None)


class SdpaCoreAttention(MegatronModule):
    """`core_attention` of a megatron-core layer on torch's own kernels, for CPU and CUDA.

    Understands no mask (causal), PackedSeqParams in layout "sbhd", and as attention_mask a bias [B, 1, S, S] added to
    the scores, as torch has it; megatron's own boolean convention is not used: `document_mask` is the only source.
    """

    def __init__(
        self, config: TransformerConfig, layer_number: int, attn_mask_type: Any, attention_type: str, **unused: Any
    ) -> None:
        super().__init__(config=config)
        assert config.context_parallel_size == 1, "SDPA core attention has no context parallelism"
        assert config.attention_dropout == 0.0, "no dropout here: nothing would make its randomness resume"

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        attn_mask_type: Any = None,
        attention_bias: Tensor | None = None,
        packed_seq_params: PackedSeqParams | None = None,
    ) -> Tensor:
        """Query [S, B, H, D], key and value [S, B, G, D] -> [S, B, H * D]."""
        S, B = query.shape[:2]
        if packed_seq_params is not None:
            return _varlen(query, key, value, packed_seq_params)
        dense = not query.is_cuda and S <= DENSE_UP_TO
        if dense and onednn.is_supported(query.dtype):
            out_BGSRD: Any = _BlockwiseAttention.apply(
                *(_by_group(t, key.size(2)) for t in (query, key, value)), attention_mask
            )
            return out_BGSRD.permute(2, 0, 1, 3, 4).reshape(S, B, -1)
        q, k, v = (t.permute(1, 2, 0, 3) for t in (query, key, value))
        if dense:
            out = _dense_attention(q, k, v, _causal_bias(S, q) if attention_mask is None else attention_mask)
        else:
            out = functional.scaled_dot_product_attention(
                q, k, v, attn_mask=attention_mask, is_causal=attention_mask is None, enable_gqa=q.size(1) != k.size(1)
            )
        return out.permute(2, 0, 1, 3).reshape(S, B, -1)

    def sharded_state_dict(self, prefix: str = "", sharded_offsets: tuple = (), metadata: dict | None = None) -> dict:
        """No weights."""
        return {}


def _dense_attention(q_BHSD: Tensor, k_BGSD: Tensor, v_BGSD: Tensor, bias_B1SS: Tensor) -> Tensor:
    """Plain softmax(q k / sqrt(D)) v; the query heads of a group are stacked, so keys are not repeated."""
    (B, H, S, D), G = q_BHSD.shape, k_BGSD.size(1)
    q = (q_BHSD * D**-0.5).reshape(B, G, H // G * S, D)
    scores = (q @ k_BGSD.transpose(-1, -2)).view(B, G, H // G, S, S)
    weights = (scores + bias_B1SS[:, :, None]).softmax(-1)
    return (weights.view(B, G, H // G * S, S) @ v_BGSD).view(B, H, S, D)


def _causal_bias(S: int, like: Tensor) -> Tensor:
    """The bias [1, 1, S, S] of one document a sample."""
    return torch.full((1, 1, S, S), float("-inf"), dtype=like.dtype, device=like.device).triu_(1)


def _by_group(x_SBHD: Tensor, G: int) -> Tensor:
    """[B, G, S, H / G, D] in a row."""
    return x_SBHD.unflatten(2, (G, -1)).permute(1, 2, 0, 3, 4).contiguous()


class _BlockwiseAttention(torch.autograd.Function):
    """`_dense_attention` in fp32 a block of positions of one group at a time: what is after a block is never computed."""

    @staticmethod
    def forward(ctx: Any, q_BGSRD: Tensor, k_BGS1D: Tensor, v_BGS1D: Tensor, bias_B1SS: Tensor | None) -> Tensor:
        B, G, S, R, D = q_BGSRD.shape
        q_BGSRD, causal_SS = q_BGSRD * D**-0.5, _causal_bias(min(S, BLOCK), q_BGSRD)[0, 0]
        out_BGSRD, weights = torch.empty_like(q_BGSRD), []
        for b, g, begin, end in _blocks(B, G, S):
            scores = onednn.matmul_nt(q_BGSRD[b, g, begin:end].view(-1, D), k_BGS1D[b, g, :end, 0])
            by_position = scores.view(end - begin, R, end)
            if bias_B1SS is None:
                by_position[..., begin:] += causal_SS[: end - begin, None, : end - begin]
            else:
                by_position += bias_B1SS[b, 0, begin:end, None, :end]
            weights.append(scores.softmax(-1))
            out_BGSRD[b, g, begin:end] = onednn.matmul_nt(weights[-1], v_BGS1D[b, g, :end, 0].t()).view(-1, R, D)
        ctx.save_for_backward(q_BGSRD, k_BGS1D, v_BGS1D, out_BGSRD, *weights)
        return out_BGSRD

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """FlashAttention's (arXiv:2205.14135 §B.2), with the weights kept."""
        q_BGSRD, k_BGS1D, v_BGS1D, out_BGSRD, *weights = ctx.saved_tensors
        B, G, S, R, D = q_BGSRD.shape
        dout_BGSRD = grad_outputs[0].contiguous()
        mean_BGSR = (dout_BGSRD * out_BGSRD).sum(-1)
        dq_BGSRD, dk_BGS1D, dv_BGS1D = torch.empty_like(q_BGSRD), torch.zeros_like(k_BGS1D), torch.zeros_like(v_BGS1D)
        for (b, g, begin, end), weight in zip(_blocks(B, G, S), weights, strict=True):
            q, dout = (t[b, g, begin:end].view(-1, D) for t in (q_BGSRD, dout_BGSRD))
            k, v = k_BGS1D[b, g, :end, 0], v_BGS1D[b, g, :end, 0]
            dv_BGS1D[b, g, :end, 0] += onednn.matmul_tn(weight, dout)
            dscores = onednn.matmul_nt(dout, v).sub_(mean_BGSR[b, g, begin:end].reshape(-1, 1)).mul_(weight)
            dq_BGSRD[b, g, begin:end] = onednn.matmul_nt(dscores, k.t()).view(-1, R, D)
            dk_BGS1D[b, g, :end, 0] += onednn.matmul_tn(dscores, q)
        return dq_BGSRD.mul_(D**-0.5), dk_BGS1D, dv_BGS1D, None


def _blocks(B: int, G: int, S: int) -> Iterator[tuple[int, int, int, int]]:
    """Sample, group, first position and the one after the last."""
    for b, g, begin in itertools.product(range(B), range(G), range(0, S, BLOCK)):
        yield b, g, begin, min(begin + BLOCK, S)


def _varlen(query: Tensor, key: Tensor, value: Tensor, packed: PackedSeqParams) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    S = query.size(0)
    q, k, v = map(_flatten_samples, (query, key, value))
    ends: Any = packed.cu_seqlens_q
    out_NHD: Any = varlen_attn(
        q, k, v, ends, ends, S, S, window_size=(-1, 0), enable_gqa=q.size(1) != k.size(1)
    )  # window (-1, 0): everything before, nothing after  # fmt: skip
    return _unflatten_samples(out_NHD, query)


def _flatten_samples(x_SBHD: Tensor) -> Tensor:
    """One sample after the other, [N, H, D]."""
    return x_SBHD.transpose(0, 1).flatten(0, 1)


def _unflatten_samples(x_N: Tensor, like_SBHD: Tensor) -> Tensor:
    """`_flatten_samples` undone, [S, B, H * D]."""
    S, B = like_SBHD.shape[:2]
    return x_N.reshape(B, S, -1).transpose(0, 1).contiguous()


def with_document_boundaries(core_attention: Any) -> Any:
    """A subclass of Transformer Engine's attention whose samples may hold several documents, and several may are side by side.

    Its kernel takes documents only in a row ("thd"), which megatron's layers take for a batch of one sample: too
    few for what pipeline stages send each other. So the samples are put in a row here, and only here.
    """

    class Attention(core_attention):
        def forward(self, query: Tensor, key: Tensor, value: Tensor, *rest: Any, **more: Any) -> Tensor:
            packed: PackedSeqParams | None = more.get("packed_seq_params")
            if packed is None:
                return super().forward(query, key, value, *rest, **more)
            more |= {"packed_seq_params": dataclasses.replace(packed, qkv_format="thd")}
            return _unflatten_samples(super().forward(*map(_flatten_samples, (query, key, value)), *rest, **more), query)

    return Attention


class TorchNorm:
    """torch's RMSNorm or LayerNorm whose weights say whether sequence parallelism splits their input.

    megatron's WrappedTorchNorm refuses sequence parallelism only because it does not mark its weights; marked,
    `finalize_model_grads` sums their gradients over the tensor-parallel ranks. A class, for megatron's
    `build_module` hands a plain function back unbuilt.
    """

    def __new__(cls, config: TransformerConfig, hidden_size: int, eps: float = 1e-5, **unused: Any) -> Any:
        """Build the norm that `config` names."""
        kind = {"RMSNorm": torch.nn.RMSNorm, "LayerNorm": torch.nn.LayerNorm}[config.normalization]
        norm = kind(hidden_size, eps=eps)
        for parameter in norm.parameters():
            parameter.sequence_parallel = config.sequence_parallel  # pyright: ignore[reportAttributeAccessIssue] - megatron's mark
        return norm


def transformer_engine(bf16: bool) -> bool:
    """Whether the layers are Transformer Engine's: where it is installed, on a GPU and in bf16, for which its kernels are."""
    return runtime.HAVE_CUDA and bf16 and gpt_layer_specs.HAVE_TE


def block_spec(config: TransformerConfig, vp_stage: int | None = None) -> TransformerBlockSubmodules:
    """Submodules of the decoder on this pipeline stage. Checkpoints name the weights alike with and without Transformer Engine.

    Args:
        vp_stage: which of the stage's pieces, where stages are interleaved.
    """
    norm: Any = TorchNorm
    if transformer_engine(config.bf16):
        norm = gpt_layer_specs.TENorm
        spec: Any = gpt_layer_specs.get_gpt_layer_with_transformer_engine_spec()
        attention = spec.submodules.self_attention.submodules
        attention.core_attention = with_document_boundaries(attention.core_attention)
    else:
        spec = gpt_layer_specs.get_gpt_layer_local_spec(normalization=config.normalization)
        spec.submodules.self_attention.submodules.core_attention = SdpaCoreAttention
        spec.submodules.input_layernorm = spec.submodules.pre_mlp_layernorm = norm
    return TransformerBlockSubmodules(layer_specs=[spec] * get_num_layers_to_build(config, vp_stage), layer_norm=norm)
