"""A checkpoint as a Hugging Face model, LlamaForCausalLM or GPT2LMHeadModel, compared with Megatron before anyone may use it.

As a program it exports any checkpoint that is still kept, while the training goes on or after it. Top-level imports stay
light: torch, megatron and transformers come where they are used.
"""

import dataclasses
import json
import os
import re
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import cli
from pipeline.artifact import open_sealed
from pipeline.errors import ConfigError, MissingInput, PipelineError, RecipeDrift
from pipeline.files import atomic_path
from pipeline.progress import echo
from pipeline.runfile import RunFile, identity
from pretrain.checkpoint import files
from pretrain.checkpoint.files import SavedCheckpoint
from pretrain.settings import Parallel, PretrainSettings
from tokenizer.encode import Tokenizer

if TYPE_CHECKING:
    from torch import Tensor


# Both sides compute in fp32, in another order; 5.7e-6 was the most seen in trained models of this kind.
MAX_LOGIT_DIFFERENCE = 1e-4
COMPARED_ROWS = 4  # of seq_length held-out tokens each
SHARD_SIZE = "5GB"  # of one safetensors file; what the Hub advises and transformers 4 wrote


def main(argv: Sequence[str] | None = None) -> None:
    """Export one checkpoint of a run beside its checkpoints, or where --out says."""
    arguments = _parser().parse_args(argv)
    run = cli.open_run(arguments)
    settings = run.settings("pretrain", PretrainSettings)
    tokenizer, pack = open_sealed(run.root("tokenizer")), open_sealed(run.root("pack"))
    check_recipe(run, settings)
    if arguments.out and arguments.out.exists():
        raise ConfigError(f"{arguments.out}: is there already; remove it or name another folder")
    if not settings.parallel.gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    checkpoints = run.root("pretrain") / "checkpoints"
    with warnings.catch_warnings(action="ignore"):  # megatron: what it does without NVIDIA's extensions
        saved = select_checkpoint(checkpoints, arguments.iteration)
        folder = arguments.out or run.root("pretrain") / "exports" / saved.path.name
        held_out = load_held_out_ids(settings, tokenizer.data, pack.data)
        difference = export(settings, saved, tokenizer.data, held_out, folder, shard_size=arguments.shard_size)
    echo(f"{folder}: {saved.position.iteration:,} 回目のモデルを書き出しました (logit の最大の差 {difference:.1e})")


def _parser() -> Any:
    made = cli.run_parser("pretrain.export", __doc__ or "")
    made.add_argument("--iteration", type=int, help="of the checkpoint; the newest without it")
    made.add_argument("--out", type=Path, help="folder to make; exports/iter_… of the artifact without it")
    made.add_argument(
        "--shard-size", type=parse_shard_size, default=SHARD_SIZE, help="largest safetensors file, such as 5GB or 500MB"
    )
    return made


def parse_shard_size(text: str) -> str:
    """A size as transformers reads it.

    Raises: ValueError if it is none.
    """
    if not re.fullmatch(r"[1-9]\d*(KB|MB|GB)", text):
        raise ValueError(text)
    return text


def check_recipe(run: RunFile, settings: PretrainSettings) -> None:
    """Raises: MissingInput if the run was never begun; RecipeDrift if the run file now describes another model."""
    path = run.root("pretrain") / "recipe.json"
    if not path.is_file():
        raise MissingInput(f"{path}: no such file; train first with `make pretrain RUN={run.name}`")
    begun, now = json.loads(path.read_text("utf-8"))["settings"], identity(settings)
    for name in ("seq_length", "model"):
        if begun[name] != now[name]:
            raise RecipeDrift(
                f"{path}: begun with {name} = {begun[name]}, the run file now says {now[name]}; export with what was trained"
            )


def select_checkpoint(checkpoints: Path, iteration: int | None = None) -> SavedCheckpoint:
    """The checkpoint of an iteration, or the newest.

    Raises: MissingInput if it is not there, saying which are.
    """
    if iteration is None:
        if saved := files.find_newest(checkpoints):
            return saved
        raise MissingInput(f"{checkpoints}: no checkpoint to export; train first")
    if saved := files.find_iteration(checkpoints, iteration):
        return saved
    kept = [int(path.name.removeprefix("iter_")) for path in files.list_finished(checkpoints)]
    raise MissingInput(f"{checkpoints}: no checkpoint of iteration {iteration}; kept are {kept} (pretrain.keep says how many)")


def export_newest(settings: PretrainSettings, checkpoints: Path, tokenizer_data: Path, pack_data: Path, folder: Path) -> float:
    """`export` of the newest checkpoint, compared on the held-out text of the first source."""
    held_out = load_held_out_ids(settings, tokenizer_data, pack_data)
    return export(settings, select_checkpoint(checkpoints), tokenizer_data, held_out, folder)


def load_held_out_ids(settings: PretrainSettings, tokenizer_data: Path, pack_data: Path) -> "Tensor":
    """(N,) ids of held-out text of the first source."""
    import torch

    from pretrain.train.data import ValidRows, data_settings

    first = min(pack_data.glob("*/valid.idx")).parent
    return torch.from_numpy(ValidRows(first, data_settings(settings), Tokenizer.load(tokenizer_data).eos_id).labels)


def export(
    settings: PretrainSettings,
    saved: SavedCheckpoint,
    tokenizer_data: Path,
    held_out_N: "Tensor",
    folder: Path,
    *,
    shard_size: str = SHARD_SIZE,
) -> float:
    """Write `folder`, whole or not at all: weights in the type they were trained in, configs, tokenizer files.

    The checkpoint is loaded whole into this process, whatever layout wrote it; Megatron's model is let go before
    the exported one is read back, so that memory holds one fp32 model at a time.

    Args:
        tokenizer_data: data folder of the tokenizer artifact; its files are copied.
        held_out_N: ids on which the logits of both models are compared, in fp32.
    Returns: the largest difference between logits.
    Raises: PipelineError if it is above MAX_LOGIT_DIFFERENCE; CorruptArtifact if the checkpoint is damaged.
    """
    import torch
    from transformers.utils import logging

    from pretrain.hf.weights import normalize_names, to_transformers

    logging.disable_progress_bar()
    tokenizer, ids_BS = Tokenizer.load(tokenizer_data), comparison_rows(held_out_N, settings.seq_length)
    dtype = "bfloat16" if saved.precision == "bf16" else "float32"
    model = load_model(settings, saved, tokenizer.vocab_size)
    ours_BSV = megatron_logits(model, ids_BS, tokenizer.vocab_size)
    state = to_transformers(normalize_names(model.state_dict()), settings.model, tokenizer.vocab_size, getattr(torch, dtype))
    del model
    with atomic_path(folder) as fresh:
        _write(settings=settings, tokenizer=tokenizer, state=state, dtype=dtype, folder=fresh, shard_size=shard_size)
        del state
        for file in sorted(tokenizer_data.iterdir()):
            shutil.copyfile(file, fresh / file.name)
        difference = float((transformers_logits(fresh, ids_BS) - ours_BSV).abs().max())
        if not difference <= MAX_LOGIT_DIFFERENCE:
            raise PipelineError(
                f"{folder}: logits of the exported model differ from Megatron's by {difference:.2e}, "
                f"{MAX_LOGIT_DIFFERENCE:.0e} is allowed; nothing was exported"
            )
    return difference


def load_newest_model(settings: PretrainSettings, checkpoints: Path, vocab_size: int) -> Any:
    """`load_model` of the newest checkpoint.

    Raises: MissingInput if there is none.
    """
    return load_model(settings, select_checkpoint(checkpoints), vocab_size)


def load_model(settings: PretrainSettings, saved: SavedCheckpoint, vocab_size: int) -> Any:
    """The model of a checkpoint in this one process, in fp32.

    Raises: CorruptArtifact if the checkpoint is damaged.
    """
    from pretrain.checkpoint.load import load_checkpoint
    from pretrain.model.build import build_bare_model

    init_single_process()
    model = build_bare_model(dataclasses.replace(settings, parallel=Parallel()), "fp32", vocab_size)
    load_checkpoint(saved, [model])
    return model.eval()


def init_single_process() -> None:
    """Be the only rank, without environment variables or ports; where this process is one already, nothing changes."""
    import torch.distributed as dist
    from megatron.core import parallel_state as ps

    from pretrain import runtime

    if not dist.is_initialized():
        backend = "nccl" if runtime.HAVE_CUDA else "gloo"
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)  # pyright: ignore[reportPrivateImportUsage] - public, its stub forgets it
    if not ps.model_parallel_is_initialized():
        runtime.start(Parallel(threads=0), seed=0)


def comparison_rows(ids_N: "Tensor", length: int) -> "Tensor":
    """The first COMPARED_ROWS rows of `length` ids, or one shorter row where there is less."""
    count = min(len(ids_N) // length, COMPARED_ROWS)
    return ids_N[: count * length].view(count, length) if count else ids_N[None]


def megatron_logits(model: Any, ids_BS: "Tensor", vocab_size: int) -> "Tensor":
    """[B, S, V] on the CPU, row by row, without the vocabulary's padding."""
    import torch

    from pretrain import runtime

    ids_BS = ids_BS.to(runtime.DEVICE)
    places_1S = torch.arange(ids_BS.size(1), device=ids_BS.device)[None]
    with torch.no_grad():
        return torch.cat([model(ids_S[None], places_1S, None)[..., :vocab_size].cpu() for ids_S in ids_BS])


def transformers_logits(folder: Path, ids_BS: "Tensor") -> "Tensor":
    """[B, S, V] on the CPU, row by row, of a folder read as others will, but in fp32.

    Raises: PipelineError if the folder lacks a tensor or has one too many.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from pretrain import runtime

    model: Any
    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    if odd := sorted(map(str, [*info["missing_keys"], *info["unexpected_keys"], *info["mismatched_keys"]])):
        raise PipelineError(f"{folder}: tensors missing, unknown or of another shape: {odd}; nothing was exported")
    model = model.to(runtime.DEVICE).eval()
    with torch.no_grad():
        return torch.cat([model(ids_S[None]).logits.cpu() for ids_S in ids_BS.to(runtime.DEVICE)])


def _write(
    settings: PretrainSettings, tokenizer: Tokenizer, state: dict[str, "Tensor"], dtype: Any, folder: Path, shard_size: str
) -> None:
    """Weights, config and generation config; names and shapes are held against transformers' own."""
    import torch
    import transformers

    from pretrain.hf.weights import format_of

    form = format_of(settings.model)
    with torch.device("meta"):  # no memory: every weight comes from `state`
        made: Any = getattr(transformers, form.model)(form.build_config(settings, tokenizer, dtype))
    made.load_state_dict(state, assign=True)
    if settings.model.tied:
        made.tie_weights()
    made.generation_config = generation_config(settings, tokenizer)
    made.save_pretrained(folder, max_shard_size=shard_size)
    for path in folder.glob("*.safetensors"):  # safetensors leaves them to their owner alone, the umask notwithstanding
        path.chmod((folder / "config.json").stat().st_mode & 0o777)


def generation_config(settings: PretrainSettings, tokenizer: Tokenizer) -> Any:
    """Where generation ends: at `</s>`, or where the positions that were trained end."""
    from transformers import GenerationConfig

    return GenerationConfig(
        bos_token_id=tokenizer.bos_id,
        eos_token_id=tokenizer.eos_id,
        pad_token_id=tokenizer.pad_id,
        max_length=settings.seq_length,
    )


if __name__ == "__main__":
    cli.stage_main(main)
