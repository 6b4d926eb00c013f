"""A Megatron checkpoint as a Hugging Face LlamaForCausalLM, compared with the original before anyone may use it."""

import shutil
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from megatron.core import parallel_state as ps
from torch import Tensor

from pipeline.errors import MissingInput, PipelineError
from pipeline.files import whole_path
from pretrain import checkpoint, runtime
from pretrain.data import ValidRows
from pretrain.loop import data_settings
from pretrain.model import bare_model
from pretrain.settings import Parallel, PretrainSettings, Shape
from tokenizer.encode import Tokenizer

# Both sides compute in fp32, in another order; 5.7e-6 was the most seen in trained models of this kind.
LARGEST_DIFFERENCE = 1e-4
COMPARED_ROWS = 4  # of seq_length held-out tokens each


def export(settings: PretrainSettings, checkpoints: Path, tokenizer_data: Path, held_out_N: Tensor, folder: Path) -> float:
    """Write `folder` (weights in fp32, config, generation config, tokenizer files), whole or not at all.

    The newest checkpoint is loaded whole into this process, whatever layout wrote it.

    Args:
        tokenizer_data: data folder of the tokenizer artifact; its files are copied.
        held_out_N: ids on which the logits of both models are compared.
    Returns: the largest difference between logits.
    Raises: PipelineError if it is above LARGEST_DIFFERENCE.
    """
    from transformers import LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    tokenizer = Tokenizer.load(tokenizer_data)
    model = load_whole(settings, checkpoints, tokenizer.vocab_size)
    with whole_path(folder) as fresh:
        made = LlamaForCausalLM(llama_config(settings, tokenizer))
        made.load_state_dict(llama_weights(model.state_dict(), settings.model, tokenizer.vocab_size))
        made.generation_config = generation_config(settings, tokenizer)
        made.save_pretrained(fresh)
        for file in sorted(tokenizer_data.iterdir()):
            shutil.copyfile(file, fresh / file.name)
        read: Any = LlamaForCausalLM.from_pretrained(fresh, dtype=torch.float32)
        difference = largest_difference(model, read.to(runtime.DEVICE), rows(held_out_N, settings.seq_length))
        if not difference <= LARGEST_DIFFERENCE:
            raise PipelineError(
                f"{folder}: logits of the exported model differ from Megatron's by {difference:.2e}, "
                f"{LARGEST_DIFFERENCE:.0e} is allowed; nothing was exported"
            )
    return difference


def export_newest(settings: PretrainSettings, checkpoints: Path, tokenizer_data: Path, pack_data: Path, folder: Path) -> float:
    """`export`, compared on the held-out text of the first source."""
    first = min(pack_data.glob("*/valid.idx")).parent
    held_out = ValidRows(first, data_settings(settings), Tokenizer.load(tokenizer_data).eos_id)
    return export(settings, checkpoints, tokenizer_data, torch.from_numpy(held_out.labels), folder)


def load_whole(settings: PretrainSettings, checkpoints: Path, vocab_size: int) -> Any:
    """The model of the newest checkpoint in this one process, in fp32.

    Raises: CorruptArtifact if the checkpoint is damaged; MissingInput if there is none.
    """
    saved = checkpoint.newest(checkpoints)
    if saved is None:
        raise MissingInput(f"{checkpoints}: no checkpoint to export; train first")
    alone()
    single = PretrainSettings(
        iterations=settings.iterations,
        seq_length=settings.seq_length,
        global_batch=settings.global_batch,
        model=settings.model,
        optimizer=settings.optimizer,
    )
    model = bare_model(single, "fp32", vocab_size)
    checkpoint.load(saved, [model])
    return model.eval()


def alone() -> None:
    """Be the only rank, without environment variables or ports; where this process is one already, nothing changes."""
    if not dist.is_initialized():
        backend = "nccl" if runtime.HAVE_CUDA else "gloo"
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)  # pyright: ignore[reportPrivateImportUsage] - public, its stub forgets it
    if not ps.model_parallel_is_initialized():
        runtime.start(Parallel(threads=0), seed=0)


def rows(ids_N: Tensor, length: int) -> Tensor:
    """The first COMPARED_ROWS rows of `length` ids, or one shorter row where there is less."""
    count = min(len(ids_N) // length, COMPARED_ROWS)
    return ids_N[: count * length].view(count, length) if count else ids_N[None]


@torch.no_grad()
def largest_difference(model: Any, exported: Any, ids_BS: Tensor) -> float:
    """Largest absolute difference between the logits of Megatron's model and the exported one."""
    ids_BS = ids_BS.to(runtime.DEVICE)
    places_BS = torch.arange(ids_BS.size(1), device=ids_BS.device).expand_as(ids_BS)
    theirs_BSV = exported(ids_BS).logits
    ours_BSV = model(ids_BS, places_BS, None)[..., : theirs_BSV.size(-1)]
    return float((ours_BSV - theirs_BSV).abs().max())


def llama_config(settings: PretrainSettings, tokenizer: Tokenizer) -> Any:
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
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},  # pyright: ignore[reportArgumentType] - a dict is taken
        tie_word_embeddings=shape.tied,
        bos_token_id=tokenizer.bos_id,
        eos_token_id=tokenizer.eos_id,
        pad_token_id=tokenizer.pad_id,
        dtype="float32",
    )


def generation_config(settings: PretrainSettings, tokenizer: Tokenizer) -> Any:
    """Where generation ends: at `</s>`, or where the positions that were trained end."""
    from transformers import GenerationConfig

    return GenerationConfig(
        bos_token_id=tokenizer.bos_id,
        eos_token_id=tokenizer.eos_id,
        pad_token_id=tokenizer.pad_id,
        max_length=settings.seq_length,
    )


def llama_weights(state: dict[str, Tensor], shape: Shape, vocab_size: int) -> dict[str, Tensor]:
    """Megatron's names and layouts -> transformers', the vocabulary's padding cut off."""
    embedding = state["embedding.word_embeddings.weight"][:vocab_size]
    out = {
        "model.embed_tokens.weight": embedding,
        "model.norm.weight": state["decoder.final_layernorm.weight"],
        "lm_head.weight": embedding if shape.tied else state["output_layer.weight"][:vocab_size],
    }
    for layer in range(shape.layers):
        m, h = f"decoder.layers.{layer}.", f"model.layers.{layer}."
        q, k, v = split_qkv(state[m + "self_attention.linear_qkv.weight"], shape)
        gate, up = state[m + "mlp.linear_fc1.weight"].chunk(2)
        out |= {
            h + "input_layernorm.weight": state[m + "input_layernorm.weight"],
            h + "self_attn.q_proj.weight": q,
            h + "self_attn.k_proj.weight": k,
            h + "self_attn.v_proj.weight": v,
            h + "self_attn.o_proj.weight": state[m + "self_attention.linear_proj.weight"],
            h + "post_attention_layernorm.weight": state[m + "pre_mlp_layernorm.weight"],
            h + "mlp.gate_proj.weight": gate,
            h + "mlp.up_proj.weight": up,
            h + "mlp.down_proj.weight": state[m + "mlp.linear_fc2.weight"],
        }
    return {name: weight.detach().float().cpu().clone() for name, weight in out.items()}


def split_qkv(weight: Tensor, shape: Shape) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of linear_qkv, which stand by key/value group as [its queries, key, value] -> all queries, keys, values."""
    groups, width = shape.kv_groups, shape.head_dim
    rows_GRDH = weight.view(groups, shape.heads // groups + 2, width, shape.hidden)
    q, k, v = rows_GRDH[:, :-2], rows_GRDH[:, -2], rows_GRDH[:, -1]
    return q.reshape(-1, shape.hidden), k.reshape(-1, shape.hidden), v.reshape(-1, shape.hidden)
