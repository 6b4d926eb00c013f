"""Trainings that start from a Hugging Face folder: nothing is lost on the way in and out, and what does not fit is refused."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from pipeline.artifact import begin_artifact
from pipeline.errors import BadInput, ConfigError, MissingInput, PipelineError
from pretrain import __main__ as stage
from pretrain import export
from pretrain.hf import load
from pretrain.hf.gpt2 import GELU
from pretrain.hf.llama import LLAMA_3
from pretrain.settings import PretrainSettings, Shape
from pretrain.train import evaluate
from tests.helpers import run_file
from tests.pretrain.helpers import training
from tests.pretrain.helpers.packs import random_documents, write_pack
from tests.pretrain.helpers.ranks import run_ranks
from tests.pretrain.helpers.training import VOCABULARY, numbers_of, prepared, tiny, tiny_pack, with_layout
from tokenizer.encode import Tokenizer

SHAPES = {
    "llama": Shape(layers=4, hidden=32, heads=4, kv_groups=2, ffn=48, vocab_multiple=24, rope_theta=5e5, norm_eps=1e-6),
    "gpt2": Shape(layers=4, hidden=32, heads=4, kv_groups=4, ffn=48, vocab_multiple=24, architecture="gpt2"),
}
SHAPES["llama-3"] = dataclasses.replace(SHAPES["llama"], rope_scaling=8.0)
SHAPES["gpt2-tanh"] = dataclasses.replace(SHAPES["gpt2"], gelu="tanh")


def settings_of(architecture: str, **changes: Any) -> PretrainSettings:
    return tiny(model=dataclasses.replace(SHAPES[architecture], **changes))


def write_model(folder: Path, shape: Shape, vocab_size: int, dtype: str = "float32", **other: Any) -> Path:
    """A model as transformers makes it, every weight random (its own initialisation leaves biases at 0, norms at 1)."""
    common = {"vocab_size": vocab_size, "tie_word_embeddings": shape.tied, "bos_token_id": 1, "eos_token_id": 2, "dtype": dtype}
    if shape.architecture == "gpt2":
        sizes = {"n_embd": shape.hidden, "n_layer": shape.layers, "n_head": shape.heads, "n_inner": shape.ffn}
        own = {**sizes, "n_positions": 24, "activation_function": GELU[shape.gelu][0]}
        model: Any = GPT2LMHeadModel(GPT2Config(**common | own | other))
    else:
        sizes = {"hidden_size": shape.hidden, "num_hidden_layers": shape.layers, "intermediate_size": shape.ffn}
        heads = {"num_attention_heads": shape.heads, "num_key_value_heads": shape.kv_groups}
        rope = {"rope_theta": shape.rope_theta, "rope_type": "default"}
        rope |= LLAMA_3 | {"factor": shape.rope_scaling} if shape.rope_scaling else {}
        own = {**sizes, **heads, "rope_parameters": rope, "rms_norm_eps": shape.norm_eps, "max_position_embeddings": 24}
        model = LlamaForCausalLM(LlamaConfig(**common | own | other))
    random = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random) * 0.1)
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    return folder


def imported(settings: PretrainSettings, pack: Path, root: Path, vocab_size: int) -> None:
    training.VOCABULARY = vocab_size  # in this forked rank only
    run = prepared(settings, pack, root)
    assert run.position.iteration == 0
    run.save()


def exported(settings: PretrainSettings, root: Path, tokenizer: Path, folder: Path) -> float:
    ids = torch.arange(16, 64)
    return export.export(settings, export.select_checkpoint(root / "checkpoints"), tokenizer, ids, folder, shard_size="20KB")


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return {name: part for file in sorted(folder.glob("*.safetensors")) for name, part in load_file(file).items()}


@pytest.mark.parametrize(
    ("architecture", "tied", "dtype", "layout"),
    [
        ("llama", False, "float32", {}),
        ("llama", True, "bfloat16", {"tensor": 2}),
        ("llama", True, "float32", {"pipeline": 2, "virtual": 2, "micro_batch": 1}),
        ("llama", False, "bfloat16", {"data": 2}),
        ("llama-3", True, "float32", {}),
        ("gpt2", True, "float32", {"tensor": 2}),
        ("gpt2-tanh", True, "float32", {}),
        ("gpt2", False, "bfloat16", {"pipeline": 2}),
        ("gpt2", True, "bfloat16", {}),
    ],
)
def test_in_and_out_again_bit_for_bit(
    tmp_path: Path, tiny_tokenizer: Path, architecture: str, tied: bool, dtype: str, layout: dict[str, Any]
) -> None:
    settings, size = settings_of(architecture, tied=tied), Tokenizer.load(tiny_tokenizer).vocab_size
    start = write_model(tmp_path / "start", settings.model, size, dtype)
    load.check_folder(start, settings, tiny_tokenizer)
    pack = write_pack(tmp_path / "pack", {"a": random_documents(3, 30, 30, size)}, vocab_size=size)
    precision = "bf16" if dtype == "bfloat16" else "fp32"
    settings = with_layout(dataclasses.replace(settings, start=start, precision=precision), **layout)
    run_ranks(settings.parallel.processes, imported, settings, pack, tmp_path / "run", size)
    (difference,) = run_ranks(1, exported, settings, tmp_path / "run", tiny_tokenizer, tmp_path / "back")
    assert 0 <= difference < 1e-4
    before, after = tensors(start), tensors(tmp_path / "back")
    assert before.keys() == after.keys()
    for name, weight in before.items():
        assert weight.dtype == after[name].dtype == getattr(torch, dtype)
        assert torch.equal(weight, after[name]), name
    assert len(list((tmp_path / "back").glob("model-*.safetensors"))) > 1
    theirs, ours = (json.loads((folder / "config.json").read_text("utf-8")) for folder in (start, tmp_path / "back"))
    dropouts, ids = {"resid_pdrop", "embd_pdrop", "attn_pdrop"}, {"pad_token_id"}
    assert {name for name in theirs.keys() | ours.keys() if theirs.get(name) != ours.get(name)} <= dropouts | ids


def validated(settings: PretrainSettings, pack: Path, root: Path) -> tuple[int, float]:
    run = prepared(settings, pack, root)
    return run.position.iteration, evaluate.sum_scores(run.validate()).loss


def written(settings: PretrainSettings, root: Path, folder: Path) -> None:
    """The weights and config of an export, for a vocabulary that no tokenizer has."""
    tokenizer: Any = type("Ids", (), {"vocab_size": VOCABULARY, "bos_id": 1, "eos_id": 2, "pad_id": 3})
    from pretrain.hf.weights import normalize_names, to_transformers

    model = export.load_newest_model(settings, root / "checkpoints", VOCABULARY)
    state = to_transformers(normalize_names(model.state_dict()), settings.model, VOCABULARY, torch.float32)
    export._write(settings, tokenizer, state, "float32", folder, "5GB")


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_goes_on_where_the_other_run_ended(tmp_path: Path, architecture: str) -> None:
    """The losses are the same, also where the vocabulary is filled up with other rows."""
    pack, settings = tiny_pack(tmp_path / "pack"), settings_of(architecture, vocab_multiple=1)
    (first,) = run_ranks(1, numbers_of, settings, pack, tmp_path / "one")
    ((_, ended),) = run_ranks(1, validated, settings, pack, tmp_path / "one")
    run_ranks(1, written, settings, tmp_path / "one", tmp_path / "hf")
    settings = dataclasses.replace(settings, start=tmp_path / "hf")
    ((iteration, begun),) = run_ranks(1, validated, settings, pack, tmp_path / "two")
    padded = dataclasses.replace(settings, model=dataclasses.replace(settings.model, vocab_multiple=24))
    ((_, begun_padded),) = run_ranks(1, validated, padded, pack, tmp_path / "three")
    assert iteration == 0 and (begun, begun_padded) == pytest.approx((ended, ended), rel=1e-6)
    (second,) = run_ranks(1, numbers_of, settings, pack, tmp_path / "two")
    assert second[1]["loss"] < first[1]["loss"] - 0.05, "the same batch, read by a model that has learned"
    shutil.rmtree(tmp_path / "hf")  # what goes on from a checkpoint does not need the folder
    assert run_ranks(1, validated, settings, pack, tmp_path / "two")[0][0] == 6


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # megatron's zero_grad
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_every_layout_starts_from_the_same_weights(tmp_path: Path, architecture: str) -> None:
    """Losses, and so the fp32 weights that the optimizer keeps for itself: without them the second loss were another."""
    pack, settings = tiny_pack(tmp_path / "pack"), settings_of(architecture)
    start = write_model(tmp_path / "start", settings.model, VOCABULARY)
    settings = dataclasses.replace(settings, start=start, save_every=0)
    (expected,) = run_ranks(1, numbers_of, settings, pack, tmp_path / "single")
    for number, layout in enumerate(
        (
            {"tensor": 2, "sequence": True},
            {"pipeline": 2, "virtual": 2, "micro_batch": 1},
            {"data": 2, "distributed_optimizer": True},
        )
    ):
        laid = with_layout(settings, **layout)
        for numbers in run_ranks(laid.parallel.processes, numbers_of, laid, pack, tmp_path / str(number)):
            for iteration, row in expected.items():
                assert numbers[iteration] == pytest.approx(row, rel=1e-4), (layout, iteration)


def config_says(**values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | values), "utf-8")

    return change


def weights_say(**values: torch.Tensor | None) -> Callable[[Path], None]:
    """Tensors by name, __ for a dot; None removes one."""

    def change(folder: Path) -> None:
        named = {name.replace("__", "."): value for name, value in values.items()}
        kept = {name: value for name, value in (tensors(folder) | named).items() if value is not None}
        save_file(kept, folder / "model.safetensors", {"format": "pt"})

    return change


def file_is(name: str, text: str | None) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        if text is not None:
            (folder / name).write_text(text, "utf-8")

    return change


NORM = "model__norm__weight"
FAULTS: list[tuple[str, Callable[[Path], None], type[PipelineError], str]] = [
    ("llama", file_is("config.json", None), MissingInput, r"config\.json: no such file; pretrain\.start must name"),
    ("llama", file_is("config.json", "{"), BadInput, r"config\.json: not a model's config"),
    ("llama", file_is("config.json", "[]"), BadInput, r"config\.json: not a model's config"),
    ("llama", config_says(model_type="mistral"), BadInput, r"model_type = 'mistral'; only llama and gpt2"),
    ("llama", config_says(hidden_act="gelu"), BadInput, r"hidden_act = 'gelu', only 'silu'"),
    ("llama", config_says(attention_bias=True), BadInput, r"attention_bias = True, only False"),
    ("llama", config_says(head_dim=16), BadInput, r"head_dim = 16, only 8"),
    (
        "llama",
        config_says(rope_parameters=LLAMA_3 | {"rope_theta": 5e5, "factor": 8.0, "original_max_position_embeddings": 24}),
        BadInput,
        r"original_max_position_embeddings = 24, only 8192",
    ),
    (
        "llama",
        config_says(rope_parameters={"rope_type": "linear", "rope_theta": 5e5, "factor": 2.0}),
        BadInput,
        r"rope_type = 'linear', only 'default'",
    ),
    (
        "llama",
        config_says(num_hidden_layers=2, rms_norm_eps=1e-5),
        ConfigError,
        r"layers = 2, norm_eps = 1e-05, but \[pretrain\.model\] says layers = 4, norm_eps = 1e-06; set them",
    ),
    ("llama", config_says(tie_word_embeddings=False), ConfigError, r"tied = False, but \[pretrain\.model\] says tied = True"),
    ("gpt2", config_says(model_type="llama"), ConfigError, r"architecture = 'llama'"),
    ("llama", config_says(vocab_size=1279), ConfigError, r"a vocabulary of 1279, the tokenizer of this run has 1280"),
    ("gpt2", config_says(n_positions=23), ConfigError, r"23 learned positions, pretrain\.seq_length = 24 needs more"),
    ("gpt2", config_says(activation_function="relu"), BadInput, r"activation_function = 'relu', only GELU"),
    (
        "gpt2",
        config_says(activation_function="gelu_new"),
        ConfigError,
        r"gelu = 'tanh', but \[pretrain\.model\] says gelu = 'exact'",
    ),
    (
        "gpt2",
        config_says(scale_attn_by_inverse_layer_idx=True),
        BadInput,
        r"scale_attn_by_inverse_layer_idx = True, only False",
    ),
    ("llama", file_is("model.safetensors", None), MissingInput, r"model\.safetensors: no such file; .*safetensors only"),
    ("llama", file_is("model.safetensors", "{}"), BadInput, r"model\.safetensors: not a safetensors file"),
    ("llama", file_is("model.safetensors.index.json", "[]"), BadInput, r"not an index of safetensors"),
    ("llama", weights_say(**{NORM: None}), BadInput, r"no tensor model\.norm\.weight"),
    ("llama", weights_say(**{NORM: torch.ones(31)}), BadInput, r"model\.norm\.weight has the shape \(31,\), .* \(32,\)"),
    ("llama", weights_say(model__extra=torch.ones(1)), BadInput, r"model\.extra is no tensor that its config\.json"),
    ("llama", file_is("tokenizer.model", "other"), ConfigError, r"tokenizer\.model: not the tokenizer of this run"),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for name, shape in SHAPES.items():
        write_model(folder / name, shape, 1280)
    return folder


@pytest.mark.parametrize(("architecture", "spoil", "kind", "message"), FAULTS, ids=[fault[3][:40] for fault in FAULTS])
def test_what_does_not_fit_is_refused_in_one_line(
    models: Path,
    tmp_path: Path,
    tiny_tokenizer: Path,
    architecture: str,
    spoil: Callable[[Path], None],
    kind: type[PipelineError],
    message: str,
) -> None:
    folder, settings = tmp_path / "start", settings_of(architecture)
    shutil.copytree(models / architecture, folder)
    load.check_folder(folder, settings, tiny_tokenizer)
    spoil(folder)
    with pytest.raises(kind, match=message) as caught:
        load.check_folder(folder, settings, tiny_tokenizer)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(str(folder))


def test_the_fingerprint_knows_the_weights(models: Path, tmp_path: Path, tiny_tokenizer: Path) -> None:
    folder = tmp_path / "start"
    shutil.copytree(models / "llama", folder)
    settings, memory = dataclasses.replace(settings_of("llama"), start=folder), tmp_path / "memory.json"
    first = load.start_inputs(settings, tiny_tokenizer, memory)
    assert first.keys() == {"start"} and first == load.start_inputs(settings, tiny_tokenizer, memory)
    weights_say(**{NORM: torch.ones(32)})(folder)
    assert load.start_inputs(settings, tiny_tokenizer, memory) != first
    assert load.start_inputs(settings_of("llama"), tiny_tokenizer, memory) == {}


def test_the_licence_of_the_weights_is_known(models: Path, tmp_path: Path) -> None:
    settings = dataclasses.replace(settings_of("llama"), start=models / "llama")
    with pytest.raises(ConfigError, match=r"start = '.*llama' needs start_licence"):
        load.start_licences(settings)
    rows = load.start_licences(dataclasses.replace(settings, start_licence="Apache-2.0"))
    assert rows == [{"source": "start/llama", "licence": "Apache-2.0", "attribution": "llama"}]
    run = run_file(tmp_path, "[pretrain]")
    with begin_artifact(run, "pretrain", {}, {}, recipe=1) as artifact:
        shutil.copytree(models / "llama", artifact.data / "hf")
        artifact.seal({}, licences=(licences := [{"source": "a", "licence": "CC0-1.0", "attribution": "b"}]))
    assert load.start_licences(dataclasses.replace(settings, start=artifact.data / "hf")) == licences
    assert load.start_licences(settings_of("llama")) == []


TABLE = """
[pretrain]
iterations = 2
seq_length = 24
global_batch = 2
[pretrain.model]
layers = 4
hidden = 32
heads = 4
kv_groups = 2
ffn = 64
[pretrain.optimizer]
warmup = 1
"""


def test_the_stage_refuses_before_anything_begins(models: Path, tmp_path: Path, tiny_tokenizer: Path) -> None:
    run = run_file(tmp_path, TABLE)
    with begin_artifact(run, "tokenizer", {}, {}, recipe=1) as artifact:
        shutil.copytree(tiny_tokenizer, artifact.data, dirs_exist_ok=True)
        digest = artifact.seal({"vocab_size": 1280}).digest
    with begin_artifact(run, "pack", {}, {"tokenizer": digest}, recipe=1) as artifact:
        artifact.seal({"vocab_size": 1280, "sources": {}})
    command = ["--run", str(run.path), "--artifacts", str(run.artifacts), "--set", f'pretrain.start="{models / "llama"}"']
    with pytest.raises(ConfigError, match=r"ffn = 48, .* but \[pretrain\.model\] says ffn = 64"):
        stage.main(command)
    assert not run.root("pretrain").exists()


def test_names_of_a_model_without_its_head(models: Path, tmp_path: Path, tiny_tokenizer: Path) -> None:
    """OpenAI's GPT-2 on the Hub: `h.0.…` for `transformer.h.0.…`, and masks beside the weights."""
    shutil.copytree(models / "gpt2", tmp_path / "start")
    named = {name.removeprefix("transformer."): part for name, part in tensors(tmp_path / "start").items()}
    save_file(named | {"h.0.attn.bias": torch.ones(1, 1, 24, 24)}, tmp_path / "start" / "model.safetensors")
    load.check_folder(tmp_path / "start", settings_of("gpt2"), tiny_tokenizer)


def logits_of_start(settings: PretrainSettings, pack: Path, root: Path, ids: torch.Tensor) -> torch.Tensor:
    from megatron.core.utils import unwrap_model

    run = prepared(settings, pack, root)
    model: Any = unwrap_model(run.chunks[0])
    model.eval()
    with torch.no_grad():
        return model(ids, torch.arange(ids.size(1))[None], None)[..., :VOCABULARY]


def test_a_shorter_sequence_takes_the_first_positions(tmp_path: Path) -> None:
    settings = settings_of("gpt2")
    folder = write_model(tmp_path / "start", settings.model, VOCABULARY, n_positions=40)
    settings, ids = dataclasses.replace(settings, start=folder), torch.arange(8, 32)[None]
    (ours,) = run_ranks(1, logits_of_start, settings, tiny_pack(tmp_path / "pack"), tmp_path / "run", ids)
    theirs: Any = AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        torch.testing.assert_close(ours, theirs(ids).logits, atol=1e-4, rtol=0)


def frequencies(settings: PretrainSettings) -> torch.Tensor:
    from pretrain import runtime
    from pretrain.model.build import build_bare_model

    runtime.start(settings.parallel, 0)
    embedding: Any = build_bare_model(settings, "fp32", VOCABULARY).rotary_pos_emb
    return embedding.inv_freq


def test_rotations_of_llama_3(tmp_path: Path) -> None:
    """Too few positions to see it in logits: wavelengths from 6 to 118,000, two of four below the 2,048 that are left alone."""
    settings = settings_of("llama-3")
    (scaled,) = run_ranks(1, frequencies, settings)
    model: Any = AutoModelForCausalLM.from_pretrained(write_model(tmp_path / "start", settings.model, VOCABULARY))
    torch.testing.assert_close(scaled, model.model.rotary_emb.inv_freq, rtol=1e-6, atol=0)
    (plain,) = run_ranks(1, frequencies, settings_of("llama"))
    assert (scaled != plain).tolist() == [False, False, True, True]
