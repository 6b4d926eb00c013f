"""Start a training from a local Llama or GPT-2 folder of Hugging Face: `[pretrain] start`, for continued pretraining.

Each rank reads its own parts of the tensors, a layer at a time, on any layout; weights are rounded to the run's
precision. Top-level imports stay light.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import BadInput, ConfigError, MissingInput
from pipeline.files import digest_file, digest_files
from pretrain.settings import PretrainSettings
from tokenizer.encode import Tokenizer

if TYPE_CHECKING:
    from torch import Tensor

    from pretrain.hf.format import Format

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
TOKENIZER_FILES = ("tokenizer.model", "tokenizer.json")
# What old versions of transformers kept beside the weights; it follows from the config.
_DERIVED = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")


def start_inputs(settings: PretrainSettings, tokenizer_data: Path, memory: Path) -> dict[str, str]:
    """{"start": digest of the folder's config and weights} for the fingerprint; {} where a training starts from nothing.

    Args:
        memory: file that remembers digests; see `digest_files`.
    Raises: see `check_folder`.
    """
    if settings.start is None:
        return {}
    check_folder(settings.start, settings, tokenizer_data)
    files = [settings.start / CONFIG, *settings.start.glob("*.safetensors"), *settings.start.glob(INDEX)]
    return {"start": digest_files(files, base=settings.start, cache=memory)}


def start_licences(settings: PretrainSettings) -> list[dict[str, str]]:
    """Rows of source, licence, attribution of the start folder: of the artifact it is in, or as the settings state.

    Raises: ConfigError if neither knows.
    """
    if settings.start is None:
        return []
    manifest = settings.start.resolve().parent.parent / "manifest.json"  # of artifacts/pretrain/<run>/data/hf
    if manifest.is_file():
        return json.loads(manifest.read_text("utf-8"))["licences"]
    if not settings.start_licence:
        raise ConfigError(f"[pretrain]: start = {str(settings.start)!r} needs start_licence, the licence of those weights")
    name = settings.start.resolve().name
    return [{"source": f"start/{name}", "licence": settings.start_licence, "attribution": name}]


def check_folder(folder: Path, settings: PretrainSettings, tokenizer_data: Path) -> None:
    """Compare the folder with the settings and the tokenizer, every tensor's name and shape with its config.

    Raises: MissingInput if a file is not there; ConfigError if the settings, the positions or the vocabulary are others;
        BadInput if it is no Llama or GPT-2 that can be trained here, or its tensors are not those of its config.
    """
    import torch
    import transformers

    from pretrain.hf.weights import format_of

    config = _read_config(folder)
    _check_shape(folder, config, settings, Tokenizer.load(tokenizer_data).vocab_size)
    for name in TOKENIZER_FILES:
        theirs, ours = folder / name, tokenizer_data / name
        if theirs.is_file() and ours.is_file() and digest_file(theirs) != digest_file(ours):
            raise ConfigError(f"{theirs}: not the tokenizer of this run, {ours}; the same ids would mean other words")
    with torch.device("meta"):
        made = getattr(transformers, format_of(settings.model).model)(config)
    expected = {name: tuple(weight.shape) for name, weight in made.state_dict().items()}
    with _open_tensors(folder, format_of(settings.model)) as files:
        _check_tensors(folder, files, expected, tied=settings.model.tied)


def load_hf(settings: PretrainSettings, chunks: list[Any], vocab_size: int) -> None:
    """Put the weights of `settings.start` into this rank's pieces of the model; before the optimizer copies them.

    Raises: MissingInput, BadInput if the folder lacks a tensor or has one of another shape.
    """
    import torch
    from megatron.core.utils import unwrap_model

    from pretrain.hf.weights import format_of, normalize_names

    folder, form = settings.start, format_of(settings.model)
    assert folder is not None
    with _open_tensors(folder, form) as files, torch.no_grad():
        for piece in map(unwrap_model, chunks):
            bare: Any = piece
            numbers = [layer.layer_number - 1 for layer in bare.decoder.layers]  # of this piece's layers in the whole model
            for name, parameter in normalize_names(dict(bare.named_parameters())).items():
                whole = _read_megatron_tensor(name, numbers, settings, vocab_size, partial(_read_tensor, folder, files))
                pairs = name.endswith("linear_fc1.weight") and settings.model.architecture == "llama"
                part = _tensor_parallel_part(whole, parameter, pairs=pairs)
                if part.shape != parameter.shape:
                    raise BadInput(f"{folder}: {name} would be {tuple(part.shape)} numbers, {tuple(parameter.shape)} fit here")
                parameter.copy_(part)


def _read_megatron_tensor(
    name: str, numbers: list[int], settings: PretrainSettings, vocab_size: int, read: Callable[[str], "Tensor"]
) -> "Tensor":
    """One of megatron's tensors, whole, from those of the folder."""
    from pretrain.hf.format import VOCABULARY_ROWS
    from pretrain.hf.weights import format_of

    shape, form = settings.model, format_of(settings.model)
    if name.startswith("decoder.layers."):
        _, _, place, inside = name.split(".", 3)
        (rule,) = (rule for rule in form.rules if rule.megatron_name == inside)
        return rule.join([read(form.layer.format(numbers[int(place)]) + theirs) for theirs in rule.hf_names], shape)
    whole = read(form.outer_names_of(shape)[name])
    if name in VOCABULARY_ROWS:
        return _pad_vocabulary(whole, settings, vocab_size)
    return whole[: settings.seq_length] if whole.dim() == 2 else whole  # learned positions: the first of them


def _tensor_parallel_part(whole: "Tensor", parameter: "Tensor", *, pairs: bool) -> "Tensor":
    """This tensor-parallel rank's part: of each dimension in which its parameter is shorter.

    Args:
        pairs: the rows are two matrices, gate and up, and a rank holds its part of both.
    """
    import torch
    from megatron.core import parallel_state as ps

    rank, ranks = ps.get_tensor_model_parallel_rank(), ps.get_tensor_model_parallel_world_size()
    if pairs:
        return torch.cat([half.chunk(ranks)[rank] for half in whole.chunk(2)])
    for dimension in range(whole.dim()):
        if whole.size(dimension) == parameter.size(dimension) * ranks:
            whole = whole.chunk(ranks, dimension)[rank]
    return whole


def _pad_vocabulary(rows_VH: "Tensor", settings: PretrainSettings, vocab_size: int) -> "Tensor":
    """Embedding rows with rows of zeros up to the number that megatron has; the loss gives those no probability."""
    from torch.nn.functional import pad

    if len(rows_VH) != vocab_size:
        raise ConfigError(f"{settings.start}: a vocabulary of {len(rows_VH)}, the tokenizer of this run has {vocab_size}")
    return pad(rows_VH, (0, 0, 0, settings.model.embedding_rows(vocab_size, settings.parallel.tensor) - vocab_size))


def _read_config(folder: Path) -> Any:
    from transformers import AutoConfig

    path = folder / CONFIG
    if not path.is_file():
        raise MissingInput(f"{path}: no such file; pretrain.start must name a local folder of a Hugging Face model")
    try:
        kind = json.loads(path.read_text("utf-8")).get("model_type")
        if kind not in ("llama", "gpt2"):
            raise BadInput(f"{path}: model_type = {kind!r}; only llama and gpt2 can be trained here")
        return AutoConfig.from_pretrained(folder, local_files_only=True)
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise BadInput(f"{path}: not a model's config ({str(error).splitlines()[0] if str(error) else error!r})") from error


def _check_shape(folder: Path, config: Any, settings: PretrainSettings, vocab_size: int) -> None:
    from pretrain.hf.gpt2 import GPT2
    from pretrain.hf.llama import LLAMA

    try:
        found = {"architecture": config.model_type} | (GPT2 if config.model_type == "gpt2" else LLAMA).parse_config(config)
    except ValueError as error:
        raise BadInput(f"{folder / CONFIG}: {error}") from error
    odd = {name: value for name, value in found.items() if getattr(settings.model, name) != value}
    if odd:
        ours = ", ".join(f"{name} = {getattr(settings.model, name)!r}" for name in odd)
        theirs = ", ".join(f"{name} = {value!r}" for name, value in odd.items())
        raise ConfigError(f"{folder / CONFIG}: {theirs}, but [pretrain.model] says {ours}; set them as the folder has them")
    if config.vocab_size != vocab_size:
        raise ConfigError(
            f"{folder / CONFIG}: a vocabulary of {config.vocab_size}, the tokenizer of this run has {vocab_size}; "
            f"start from a model that was trained with it"
        )
    if config.model_type == "gpt2" and config.n_positions < settings.seq_length:
        raise ConfigError(
            f"{folder / CONFIG}: {config.n_positions} learned positions, pretrain.seq_length = {settings.seq_length} "
            f"needs more; at most {config.n_positions} can be trained"
        )


def _check_tensors(folder: Path, files: Mapping[str, Any], expected: dict[str, tuple[int, ...]], *, tied: bool) -> None:
    for name, shape in expected.items():
        if tied and name == "lm_head.weight":
            continue
        if name not in files:
            raise BadInput(f"{folder}: no tensor {name}, which its {CONFIG} asks for; copy the folder again")
        found = tuple(files[name].get_shape())
        if found != shape:
            raise BadInput(f"{folder}: {name} has the shape {found}, its {CONFIG} asks for {shape}; copy the folder again")
    if extra := sorted(files.keys() - expected.keys()):
        raise BadInput(f"{folder}: {extra[0]} is no tensor that its {CONFIG} asks for; copy the folder again")


@contextmanager
def _open_tensors(folder: Path, form: "Format") -> "Iterator[dict[str, Any]]":
    """Every tensor of the folder by name, as a slice that is read when it is indexed."""
    from safetensors import SafetensorError, safe_open

    index = folder / INDEX
    try:
        names = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values())) if index.is_file() else [WEIGHTS]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{index}: not an index of safetensors ({error!r}); copy the folder again") from error
    with ExitStack() as stack:
        found: dict[str, Any] = {}
        for path in (folder / name for name in names):
            if not path.is_file():
                raise MissingInput(f"{path}: no such file; weights are read from safetensors only")
            try:
                opened: Any = stack.enter_context(safe_open(path, "pt"))
            except SafetensorError as error:
                raise BadInput(f"{path}: not a safetensors file ({error}); copy the folder again") from error
            found |= {name: opened.get_slice(name) for name in opened.keys() if not name.endswith(_DERIVED)}  # noqa: SIM118 - no dict
        yield _add_prefix(found, form)


def _add_prefix(found: dict[str, Any], form: "Format") -> dict[str, Any]:
    """Names as GPT2LMHeadModel has them: OpenAI's folders hold the model without its head, whose names begin one word later."""
    base = form.layer.split(".")[0] + "."
    if any(name.startswith(base) for name in found):
        return found
    return {name if name == "lm_head.weight" else base + name: part for name, part in found.items()}


def _read_tensor(folder: Path, files: Mapping[str, Any], name: str) -> "Tensor":
    if name not in files:
        raise BadInput(f"{folder}: no tensor {name}; copy the folder again")
    return files[name][:]
