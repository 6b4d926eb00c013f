"""The committed run files: each is understood, and has the shape, weights and length that were published."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from pipeline.runfile import RunFile, load_run
from pretrain import cost
from pretrain.__main__ import plan
from pretrain.settings import PretrainSettings

ROOT = Path(__file__).parents[2]
# As the models' config.json on the Hugging Face Hub say (llm-jp-1.3b-v1.0, llm-jp-13b-v1.0, llm-jp-3-13b), and for v4 1.3B
# what LLM-jp tells of it. The last number is all of the weights, in billions.
V1 = {"vocab_size": 50_688, "n_positions": 2048}
V3 = {"vocab_size": 99_584, "rms_norm_eps": 1e-5, "tie_word_embeddings": False, "initializer_range": 0.02}
LLAMA = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "intermediate_size")
GPT2 = ("n_embd", "n_layer", "n_head", "n_inner")
PUBLISHED: dict[str, tuple[str, dict[str, Any], float]] = {
    "llmjp-v1-1.3b": ("GPT2Config", V1 | dict(zip(GPT2, (2048, 24, 16, 8192), strict=True)), 1.3),
    "llmjp-v1-13b": ("GPT2Config", V1 | dict(zip(GPT2, (5120, 40, 40, 20480), strict=True)), 12.9),
    "ja-1.3b": ("LlamaConfig", V3 | dict(zip(LLAMA, (2048, 16, 16, 8, 7168), strict=True)), 1.3),
    "ja-13b": ("LlamaConfig", V3 | dict(zip(LLAMA, (5120, 40, 40, 40, 13824), strict=True)), 13.7),
}
# Tokens of a sample, samples of a batch, iterations, as trained (ja-1.3b: v3's tokens in v4's batches).
LENGTHS = {
    "llmjp-v1-1.3b": (2048, 1536, 96_084),
    "llmjp-v1-13b": (2048, 1536, 96_656),
    "ja-1.3b": (8192, 1024, 250_000),
    "ja-13b": (4096, 1024, 494_120),
}
MEMORY = {"llmjp-v1-1.3b": 40, "llmjp-v1-13b": 40, "ja-1.3b": 80, "ja-13b": 80}  # GB of the GPUs that it names


def opened(name: str) -> tuple[RunFile, PretrainSettings, int]:
    run = load_run(str(ROOT / "runs" / f"{name}.toml"))
    return run, run.settings("pretrain", PretrainSettings), cost.vocabulary_size(run)


@pytest.mark.parametrize("path", sorted((ROOT / "runs").glob("*.toml")), ids=lambda path: path.stem)
def test_pretraining_of_every_run_file_is_understood(path: Path) -> None:
    assert "層" in plan(load_run(str(path)).settings("pretrain", PretrainSettings))


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_table_passes_the_plan(name: str, tmp_path: Path) -> None:
    """What `make plan DATA=…` asks of each stage."""
    from corpus.settings import CorpusSettings
    from pretrain.pack.__main__ import PackSettings
    from tokenizer.settings import TokenizerSettings

    run = dataclasses.replace(opened(name)[0], data=tmp_path)
    kinds: dict[str, type] = {"corpus": CorpusSettings, "tokenizer": TokenizerSettings, "pack": PackSettings}
    assert set(run.tables) == {"ray", "pretrain", *kinds}
    for table, kind in kinds.items():
        run.settings(table, kind)


@pytest.mark.parametrize("name", PUBLISHED)
def test_weights_are_those_of_the_published_model(name: str) -> None:
    """Counted by transformers from the published configuration."""
    import torch
    import transformers

    kind, config, billions = PUBLISHED[name]
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(getattr(transformers, kind)(**config))
    real = sum(parameter.numel() for parameter in model.parameters())
    _, settings, vocab_size = opened(name)
    rows = settings.model.embedding_rows(vocab_size)
    assert rows == config["vocab_size"]
    assert settings.model.parameters(rows, settings.seq_length) == real
    assert round(real / 1e9, 1) == billions


@pytest.mark.parametrize("name", PUBLISHED)
def test_length_layout_and_memory(name: str) -> None:
    _, settings, vocab_size = opened(name)
    assert (settings.seq_length, settings.global_batch, settings.iterations) == LENGTHS[name]
    assert settings.parallel.processes % 8 == 0 and 8 % settings.parallel.tensor == 0, "whole nodes; tensor inside one"
    assert cost.estimate_memory(settings, vocab_size).total < 0.92 * MEMORY[name] * 1e9


def test_the_document_shows_what_the_command_prints() -> None:
    """docs/pretrain.md has the tables of `make arithmetic`."""
    runs = [opened(name)[0] for name in sorted(PUBLISHED)]
    assert cost.render_tables(runs) in (ROOT / "docs" / "pretrain.md").read_text("utf-8")
