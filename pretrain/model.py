"""The model, its optimizer and its schedule, from settings to megatron-core objects."""

from typing import Any

from megatron.core import parallel_state as ps
from megatron.core.distributed import DistributedDataParallel, DistributedDataParallelConfig, finalize_model_grads
from megatron.core.optimizer import OptimizerConfig, get_megatron_optimizer
from megatron.core.optimizer_param_scheduler import OptimizerParamScheduler
from megatron.core.transformer.module import Float16Module
from megatron.core.transformer.transformer_config import TransformerConfig
from torch.nn import functional

from pretrain import runtime
from pretrain.attention import block_spec
from pretrain.loss import LlamaModel
from pretrain.settings import Precision, PretrainSettings, Shape


def padded_vocab(vocab_size: int, shape: Shape, tensor: int) -> int:
    """Rows of the embedding: `vocab_size` filled up so that every tensor-parallel rank holds equally many."""
    multiple = shape.vocab_multiple * tensor
    return -(-vocab_size // multiple) * multiple


def transformer_config(settings: PretrainSettings, precision: Precision) -> TransformerConfig:
    """megatron's description of the decoder: Llama (arXiv:2307.09288) with the exact mean over tokens as loss."""
    shape, layout = settings.model, settings.parallel
    return TransformerConfig(
        num_layers=shape.layers,
        hidden_size=shape.hidden,
        num_attention_heads=shape.heads,
        num_query_groups=shape.kv_groups,
        ffn_hidden_size=shape.ffn,
        normalization="RMSNorm",
        layernorm_epsilon=shape.norm_eps,
        gated_linear_unit=True,
        activation_func=functional.silu,
        add_bias_linear=False,
        attention_dropout=0.0,
        hidden_dropout=0.0,
        init_method_std=shape.init_std,
        tensor_model_parallel_size=layout.tensor,
        pipeline_model_parallel_size=layout.pipeline,
        sequence_parallel=layout.sequence,
        calculate_per_token_loss=True,
        **runtime.device_settings(precision),
    )


def bare_model(settings: PretrainSettings, precision: Precision, vocab_size: int) -> LlamaModel:
    """This rank's part of the model, without data parallelism."""
    shape = settings.model
    config = transformer_config(settings, precision)
    return LlamaModel(
        config,
        block_spec(config),  # pyright: ignore[reportArgumentType] - megatron takes submodules as well as a spec
        vocab_size=padded_vocab(vocab_size, shape, settings.parallel.tensor),
        max_sequence_length=settings.seq_length,
        pre_process=ps.is_pipeline_first_stage(),
        post_process=ps.is_pipeline_last_stage(),
        position_embedding_type="rope",
        rotary_base=shape.rope_theta,  # pyright: ignore[reportArgumentType] - annotated int, used as a float
        share_embeddings_and_output_weights=shape.tied,
    ).to(runtime.DEVICE)


def build_chunks(settings: PretrainSettings, precision: Precision, vocab_size: int) -> list[Any]:
    """This rank's pieces of the model, one unless stages are interleaved; with the same weights on every copy."""
    return [_build_chunk(settings, precision, vocab_size)]


def _build_chunk(settings: PretrainSettings, precision: Precision, vocab_size: int) -> DistributedDataParallel:
    bare: Any = bare_model(settings, precision, vocab_size)
    config = bare.config
    if config.bf16:
        bare = Float16Module(config, bare)
    plan = DistributedDataParallelConfig(
        grad_reduce_in_fp32=True,
        overlap_grad_reduce=runtime.HAVE_CUDA,
        use_distributed_optimizer=settings.parallel.distributed_optimizer,
    )
    model = DistributedDataParallel(config, plan, bare)
    model.broadcast_params()
    config.finalize_model_grads_func = finalize_model_grads
    if plan.overlap_grad_reduce:
        config.no_sync_func = model.no_sync
    return model


def build_optimizer(settings: PretrainSettings, chunks: list[Any]) -> tuple[Any, OptimizerParamScheduler]:
    """AdamW with fp32 state, and a schedule counted in samples (so that a batch of another size would not bend it)."""
    adam, config, batch = settings.optimizer, chunks[0].config, settings.global_batch
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
        ),
        chunks,
    )
    config.grad_scale_func = optimizer.scale_loss
    scheduler = OptimizerParamScheduler(
        optimizer,
        init_lr=0.0,
        max_lr=adam.lr,
        min_lr=adam.min_lr,
        lr_warmup_steps=adam.warmup * batch,
        lr_decay_steps=settings.samples,
        lr_decay_style="cosine",
        start_wd=adam.weight_decay,
        end_wd=adam.weight_decay,
        wd_incr_steps=1,
        wd_incr_style="constant",
    )
    return optimizer, scheduler
