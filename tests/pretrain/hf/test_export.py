"""Exported models are the trained ones: logits and greedy generation equal, the type kept, the vocabulary's padding gone."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from pipeline.artifact import begin_artifact
from pipeline.errors import ConfigError, MissingInput, PipelineError, RecipeDrift
from pipeline.runfile import RunFile
from pretrain import export
from pretrain.hf import weights
from pretrain.settings import PretrainSettings
from tests.helpers import run_file
from tests.pretrain.helpers.packs import random_documents, write_pack
from tests.pretrain.helpers.ranks import run_ranks
from tests.pretrain.helpers.training import numbers_of, tiny, with_layout
from tokenizer.encode import Tokenizer


def trained(tmp_path: Path, tokenizer: Path, settings: PretrainSettings) -> tuple[Path, np.ndarray]:
    """Checkpoints of a short training with the vocabulary of a real tokenizer, and held-out ids."""
    size = Tokenizer.load(tokenizer).vocab_size
    sources = {"a": random_documents(3, 30, 30, size)}
    pack = write_pack(tmp_path / "pack", sources, vocab_size=size, valid=6)
    run_ranks(settings.parallel.processes, with_vocabulary, size, settings, pack, tmp_path / "run")
    return tmp_path / "run" / "checkpoints", np.concatenate([np.array(d) for d in sources["a"][-6:]])


def with_vocabulary(size: int, settings: PretrainSettings, pack: Path, root: Path) -> None:
    from tests.pretrain.helpers import training

    training.VOCABULARY = size  # in this forked rank only
    numbers_of(settings, pack, root)


def exported(settings: PretrainSettings, checkpoints: Path, tokenizer: Path, ids: np.ndarray, folder: Path) -> Any:
    """Export in this forked rank; the difference, and Megatron's own greedy continuation of four tokens."""
    difference = export.export(settings, export.select_checkpoint(checkpoints), tokenizer, torch.from_numpy(ids), folder)
    model, row = (
        export.load_newest_model(settings, checkpoints, (size := Tokenizer.load(tokenizer).vocab_size)),
        ids[:4].tolist(),
    )
    for _ in range(12):
        tokens = torch.tensor([row])
        with torch.no_grad():
            logits = model(tokens, torch.arange(len(row))[None], None)
        assert logits.size(-1) % 8 == 0 and logits.size(-1) >= size
        row.append(int(logits[0, -1, :size].argmax()))
    return difference, row


@pytest.mark.parametrize(
    ("architecture", "layout", "tied", "precision"),
    [
        ("llama", {}, True, "fp32"),
        ("llama", {"tensor": 2}, False, "fp32"),
        ("llama", {"pipeline": 2}, True, "fp32"),
        ("llama", {"data": 2}, False, "bf16"),
        ("gpt2", {"data": 2, "distributed_optimizer": True}, True, "bf16"),
        ("gpt2", {"tensor": 2, "sequence": True}, False, "fp32"),
    ],
)
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # megatron's zero_grad
def test_same_logits_and_words(
    tmp_path: Path, tiny_tokenizer: Path, architecture: Any, layout: dict[str, Any], tied: bool, precision: str
) -> None:
    groups = 4 if architecture == "gpt2" else 2  # of 4 heads; 1,280 tokens in 1,296 rows
    shape = dataclasses.replace(tiny().model, architecture=architecture, kv_groups=groups, tied=tied, vocab_multiple=24)
    settings = with_layout(tiny(model=shape, precision=precision, save_every=0), **layout)
    checkpoints, ids = trained(tmp_path, tiny_tokenizer, settings)
    ((difference, row),) = run_ranks(1, exported, settings, checkpoints, tiny_tokenizer, ids, tmp_path / "hf")
    assert 0 <= difference < 1e-5
    model: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "hf")
    kept = torch.bfloat16 if precision == "bf16" else torch.float32
    assert {weight.dtype for weight in load_file(tmp_path / "hf" / "model.safetensors").values()} == {kept}
    assert model.dtype == kept and model.get_input_embeddings().weight.shape == (1280, 32)
    assert type(model).__name__ == {"llama": "LlamaForCausalLM", "gpt2": "GPT2LMHeadModel"}[architecture]
    assert (model.get_input_embeddings().weight is model.get_output_embeddings().weight) == tied
    words = {"max_new_tokens": 12, "do_sample": False, "eos_token_id": -1, "pad_token_id": 3}
    assert model.float().generate(torch.from_numpy(ids[None, :4]), **words)[0].tolist() == row
    tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path / "hf")
    for config in (model.config, model.generation_config):
        assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (1, tokenizer.eos_token_id, 3)
    assert (model.config.max_position_embeddings, len(tokenizer)) == (24, 1280)


def test_the_same_bytes_again(tmp_path: Path, tiny_tokenizer: Path) -> None:
    checkpoints, ids = trained(tmp_path, tiny_tokenizer, tiny(save_every=0))
    for name in ("once", "twice"):
        run_ranks(1, exported, tiny(), checkpoints, tiny_tokenizer, ids, tmp_path / name)
    names = sorted(p.name for p in (tmp_path / "once").iterdir())
    assert {"model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "tokenizer.model"} < set(names)
    assert names == sorted(p.name for p in (tmp_path / "twice").iterdir())
    modes = {(tmp_path / "once" / name).stat().st_mode for name in names if not name.startswith("tokenizer")}
    assert len(modes) == 1, "whoever may read the config may read the weights"
    for name in names:
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "twice" / name).read_bytes(), name


def spoilt(settings: PretrainSettings, checkpoints: Path, tokenizer: Path, ids: np.ndarray, folder: Path, how: str) -> str:
    """An export that swaps two rows of one matrix, or loses or invents a tensor."""
    good, name = weights.to_transformers, "model.layers.1.self_attn.k_proj.weight"

    def spoil(*arguments: Any) -> dict[str, torch.Tensor]:
        weights = good(*arguments)
        if how == "swapped":
            return weights | {name: weights[name].roll(1, 0)}
        if how == "lost":
            return {other: weight for other, weight in weights.items() if other != name}
        return weights | {"model.layers.2.self_attn.k_proj.weight": weights[name]}

    weights.to_transformers = spoil
    with pytest.raises(PipelineError if how == "swapped" else RuntimeError) as caught:
        export.export(settings, export.select_checkpoint(checkpoints), tokenizer, torch.from_numpy(ids), folder)
    return str(caught.value)


def test_a_wrong_export_is_not_kept(tmp_path: Path, tiny_tokenizer: Path) -> None:
    checkpoints, ids = trained(tmp_path, tiny_tokenizer, tiny(save_every=0))
    for how, said in (("swapped", "logits of the exported model differ"), ("lost", "Missing key"), ("new", "Unexpected key")):
        (message,) = run_ranks(1, spoilt, tiny(), checkpoints, tiny_tokenizer, ids, tmp_path / "hf", how)
        assert said in message
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith("hf")] == []


def test_rows_of_little_text() -> None:
    ids = torch.arange(10)
    assert export.comparison_rows(ids, 4).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert export.comparison_rows(ids, 2).shape == (4, 2)
    assert export.comparison_rows(ids, 11).tolist() == [list(range(10))]


def test_names_with_transformer_engine() -> None:
    """Its layers keep a norm's weights in the matrix after it, and state that is no weight."""
    layer = "decoder.layers.3."
    ours = {
        "self_attention.linear_qkv.layer_norm_weight": "input_layernorm.weight",
        "self_attention.linear_qkv.layer_norm_bias": "input_layernorm.bias",
        "mlp.linear_fc1.layer_norm_weight": "pre_mlp_layernorm.weight",
        "mlp.linear_fc1.weight": "mlp.linear_fc1.weight",
    }
    state = {layer + name: torch.tensor(float(place)) for place, name in enumerate(ours)}
    plain = weights.normalize_names(state | {layer + "self_attention.linear_qkv._extra_state": torch.empty(0)})
    assert plain == {layer + plain: state[layer + name] for name, plain in ours.items()}


TABLE = """
[pretrain]
iterations = 6
seq_length = 24
global_batch = 4
save_every = 2
keep = 9
precision = "fp32"
[pretrain.optimizer]
lr = 1e-2
min_lr = 1e-3
warmup = 2
[pretrain.model]
layers = 2
hidden = 32
heads = 4
kv_groups = 2
ffn = 48
[pretrain.parallel]
micro_batch = 2
"""


def run_with_checkpoints(tmp_path: Path, tokenizer: Path) -> RunFile:
    """Sealed tokenizer and packed data, and a training that was begun and left the checkpoints 2, 4 and 6."""
    run = run_file(tmp_path, TABLE)
    settings = run.settings("pretrain", PretrainSettings)
    checkpoints, _ = trained(tmp_path, tokenizer, settings)
    for stage, folder in (("tokenizer", tokenizer), ("pack", tmp_path / "pack")):
        with begin_artifact(run, stage, {}, {}, recipe=1) as artifact:
            shutil.copytree(folder, artifact.data, dirs_exist_ok=True)
            artifact.seal({})
    with begin_artifact(run, "pretrain", settings, {}, recipe=1) as artifact:
        shutil.move(checkpoints, artifact.root / "checkpoints")
    return run


def command(run: RunFile, *more: str) -> list[str]:
    return ["--run", str(run.path), "--artifacts", str(run.artifacts), *more]


def test_any_checkpoint_from_the_command_line(tmp_path: Path, tiny_tokenizer: Path) -> None:
    run = run_with_checkpoints(tmp_path, tiny_tokenizer)
    run_ranks(1, export.main, command(run, "--iteration", "4"))
    run_ranks(1, export.main, command(run, "--out", str(tmp_path / "newest"), "--shard-size", "40KB"))
    fourth = run.root("pretrain") / "exports" / "iter_0000004"
    ours, newest = load_file(fourth / "model.safetensors"), AutoModelForCausalLM.from_pretrained(tmp_path / "newest")
    state = newest.state_dict()
    assert ours.keys() == state.keys() - {"lm_head.weight"}
    assert not torch.equal(ours["model.norm.weight"], state["model.norm.weight"])
    run_ranks(1, export.main, command(run, "--iteration", "6"))
    sixth = load_file(fourth.with_name("iter_0000006") / "model.safetensors")
    assert all(torch.equal(weight, state[name]) for name, weight in sixth.items())
    shards = sorted((tmp_path / "newest").glob("model-*.safetensors"))
    sizes = {path: sum(weight.nbytes for weight in load_file(path).values()) for path in shards}
    assert len(shards) > 1 and all(size <= 40_000 or len(load_file(path)) == 1 for path, size in sizes.items())
    refused(run, tmp_path)


def refused(run: RunFile, tmp_path: Path) -> None:
    """One line each, before anything is loaded."""
    with pytest.raises(MissingInput, match=r"no checkpoint of iteration 5; kept are \[2, 4, 6\]"):
        export.main(command(run, "--iteration", "5"))
    with pytest.raises(ConfigError, match=r"newest: is there already; remove it or name another folder"):
        export.main(command(run, "--out", str(tmp_path / "newest")))
    with pytest.raises(SystemExit):
        export.main(command(run, "--shard-size", "0GB"))
    recipe = run.root("pretrain") / "recipe.json"
    begun = json.loads(recipe.read_text("utf-8"))
    begun["settings"]["model"]["ffn"] = 64
    recipe.write_text(json.dumps(begun), "utf-8")
    with pytest.raises(RecipeDrift, match=r"recipe\.json: begun with model = .*'ffn': 64.* now says .*'ffn': 48"):
        export.main(command(run))
    recipe.unlink()
    with pytest.raises(MissingInput, match=r"recipe\.json: no such file; train first"):
        export.main(command(run))
