"""The model, its optimizer and its schedule, from settings to megatron-core objects."""

from functools import partial
from typing import Any

from megatron.core import parallel_state as ps
from megatron.core.distributed import DistributedDataParallel, DistributedDataParallelConfig, finalize_model_grads
from megatron.core.optimizer import OptimizerConfig, get_megatron_optimizer
from megatron.core.optimizer_param_scheduler import OptimizerParamScheduler
from megatron.core.transformer.module import Float16Module
from megatron.core.transformer.transformer_config import TransformerConfig
from torch.nn import functional

from pretrain import megatron_patches, runtime
from pretrain.model import onednn
from pretrain.model.attention import block_spec, transformer_engine
from pretrain.model.loss import Decoder
from pretrain.model.schedule import build_scheduler
from pretrain.settings import Precision, PretrainSettings, Shape


def transformer_config(settings: PretrainSettings, precision: Precision) -> TransformerConfig:
    """megatron's description of the decoder, with the exact mean over tokens as loss."""
    shape, layout = settings.model, settings.parallel
    return TransformerConfig(
        num_layers=shape.layers,
        hidden_size=shape.hidden,
        num_attention_heads=shape.heads,
        num_query_groups=shape.kv_groups,
        ffn_hidden_size=shape.ffn,
        layernorm_epsilon=shape.norm_eps,
        attention_dropout=0.0,
        hidden_dropout=0.0,
        init_method_std=shape.init_std,  # megatron divides it by sqrt(2 * layers) where a projection leads back into the stream
        tensor_model_parallel_size=layout.tensor,
        pipeline_model_parallel_size=layout.pipeline,
        virtual_pipeline_model_parallel_size=layout.virtual if layout.virtual > 1 else None,
        # Pieces send while others compute; gloo has no batched sends, and megatron takes one of the two at most.
        overlap_p2p_comm=layout.virtual > 1,
        batch_p2p_comm=runtime.HAVE_CUDA and layout.virtual == 1,
        sequence_parallel=layout.sequence,
        calculate_per_token_loss=True,
        apply_rope_fusion=shape.architecture == "llama" and transformer_engine(precision == "bf16"),
        **_architecture(shape),
        **runtime.device_settings(precision),
    )


def _architecture(shape: Shape) -> dict[str, Any]:
    """What tells Llama (arXiv:2307.09288) from GPT-2 in megatron's words."""
    if shape.architecture == "gpt2":  # megatron's fused GELU is the tanh approximation, not the exact one
        gelu = functional.gelu if shape.gelu == "exact" else partial(functional.gelu, approximate="tanh")
        return {"normalization": "LayerNorm", "activation_func": gelu, "add_bias_linear": True}
    return {
        "normalization": "RMSNorm",
        "gated_linear_unit": True,
        "activation_func": functional.silu,
        "bias_activation_fusion": runtime.HAVE_CUDA,
        "add_bias_linear": False,
    }


def build_bare_model(settings: PretrainSettings, precision: Precision, vocab_size: int, vp_stage: int | None = None) -> Decoder:
    """This rank's part of the model, without data parallelism; where stages are interleaved, one piece of it."""
    shape = settings.model
    config = transformer_config(settings, precision)
    model = Decoder(
        config,
        block_spec(config, vp_stage),  # pyright: ignore[reportArgumentType] - megatron takes submodules as well as a spec
        vocab_size=shape.embedding_rows(vocab_size, settings.parallel.tensor),
        max_sequence_length=settings.seq_length,
        pre_process=ps.is_pipeline_first_stage(ignore_virtual=False, vp_stage=vp_stage),
        post_process=ps.is_pipeline_last_stage(ignore_virtual=False, vp_stage=vp_stage),
        position_embedding_type="rope" if shape.architecture == "llama" else "learned_absolute",
        rotary_base=shape.rope_theta,  # pyright: ignore[reportArgumentType] - annotated int, used as a float
        rope_scaling=shape.rope_scaling > 0,
        rope_scaling_factor=shape.rope_scaling,
        share_embeddings_and_output_weights=shape.tied,
        vp_stage=vp_stage,
    )
    model.z_loss, model.real_vocab_size = settings.z_loss, vocab_size
    if onednn.is_supported(config.params_dtype):
        onednn.install(model)
    return model.to(runtime.DEVICE)


def build_chunks(settings: PretrainSettings, precision: Precision, vocab_size: int) -> list[Any]:
    """This rank's pieces of the model, one unless stages are interleaved; with the same weights on every copy."""
    virtual = settings.parallel.virtual
    vp_stages = list(range(virtual)) if virtual > 1 else [None]
    chunks = [
        _wrap_ddp(build_bare_model(settings, precision, vocab_size, vp_stage), settings, vp_stage) for vp_stage in vp_stages
    ]
    first: Any = chunks[0].config  # the schedule reads it
    first.finalize_model_grads_func = finalize_model_grads
    if runtime.OVERLAP:
        skips = [chunk.no_sync for chunk in chunks]
        first.no_sync_func = skips if len(skips) > 1 else skips[0]
    return chunks


def _wrap_ddp(bare: Any, settings: PretrainSettings, vp_stage: int | None) -> DistributedDataParallel:
    """With data parallelism around it."""
    config = bare.config
    if config.bf16:
        bare = Float16Module(config, bare)
    plan = DistributedDataParallelConfig(
        grad_reduce_in_fp32=True,
        overlap_grad_reduce=runtime.OVERLAP,
        overlap_param_gather=_overlaps_param_gather(settings),
        use_distributed_optimizer=settings.parallel.distributed_optimizer,
    )
    model = DistributedDataParallel(config, plan, bare, disable_bucketing=bool(vp_stage))
    model.broadcast_params()
    return model


def _overlaps_param_gather(settings: PretrainSettings) -> bool:
    """Whether updated weights reach the other data-parallel ranks only during the next forward pass."""
    return runtime.OVERLAP and settings.parallel.distributed_optimizer


def gather_weights(chunks: list[Any]) -> None:
    """Let every rank have every updated weight now; for whoever reads weights without a forward pass. All ranks together."""
    for chunk in chunks:
        if chunk.ddp_config.overlap_param_gather:
            chunk.start_param_sync(force_sync=True)


def build_optimizer(settings: PretrainSettings, chunks: list[Any]) -> tuple[Any, OptimizerParamScheduler]:
    """AdamW with fp32 state, and a schedule counted in samples (so that a batch of another size would not bend it)."""
    adam, config = settings.optimizer, chunks[0].config
    optimizer = get_megatron_optimizer(
        OptimizerConfig(
            optimizer="adam",
            lr=adam.lr,
            min_lr=adam.min_lr,
            weight_decay=adam.weight_decay,
            adam_beta1=adam.beta1,
            adam_beta2=adam.beta2,
            adam_eps=adam.eps,
            clip_grad=adam.clip,
            bf16=config.bf16,
            params_dtype=config.params_dtype,
            use_distributed_optimizer=settings.parallel.distributed_optimizer,
            overlap_param_gather=_overlaps_param_gather(settings),
        ),
        chunks,
    )
    megatron_patches.keep_padding(optimizer)
    config.grad_scale_func = optimizer.scale_loss
    return optimizer, build_scheduler(settings, optimizer)
