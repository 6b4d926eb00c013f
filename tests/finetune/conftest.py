"""A tiny base model with a real tokenizer, sealed as the pretraining stage would."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.artifact import begin_artifact
from pipeline.runfile import RunFile
from tests.helpers import run_file

CONTEXT = 96


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: Path) -> Path:
    """Folder of a random Llama of 110 thousand parameters with the tiny tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from tokenizer.encode import Tokenizer

    tokenizer = Tokenizer.load(tiny_tokenizer)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_id,
        eos_token_id=tokenizer.eos_id,
    )
    folder = tmp_path_factory.mktemp("base")
    LlamaForCausalLM(config).save_pretrained(folder)
    shutil.copytree(tiny_tokenizer, folder, dirs_exist_ok=True)
    return folder


@pytest.fixture
def make_run(base: Path) -> Callable[[Path, str], RunFile]:
    """Build a run below a folder, with `base` as its sealed pretraining artifact."""

    def make(folder: Path, tables: str) -> RunFile:
        folder.mkdir(parents=True, exist_ok=True)
        run = run_file(folder, tables)
        with begin_artifact(run, "pretrain", {}, {}, recipe=1) as artifact:
            shutil.copytree(base, artifact.data / "hf")
            licence = {"source": "ja_web", "licence": "MPL-2.0", "attribution": "somebody"}
            artifact.seal({"iterations": 3}, licences=[licence])
        return run

    return make


@pytest.fixture(autouse=True)
def offline() -> None:
    """No test of tuning talks to the Hub."""
    os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")
