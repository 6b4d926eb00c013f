"""A tiny random model, sealed as a finetune artifact, and our server around it."""

import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from bots.serve.__main__ import Server
from bots.serve.engine import Engine
from bots.serve.prompt import Prompter
from pipeline.artifact import begin_artifact
from pipeline.runfile import RunFile
from tests.helpers import run_file

CONTEXT = 128


@pytest.fixture(scope="session")
def tiny_model(tiny_tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face folder: random weights, real tokenizer with chat template."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("model")
    tokenizer = AutoTokenizer.from_pretrained(tiny_tokenizer)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        initializer_range=0.4,  # wide: otherwise a random model repeats one token
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(7)
    LlamaForCausalLM(config).save_pretrained(folder)
    for file in tiny_tokenizer.iterdir():
        shutil.copy(file, folder)
    return folder


@pytest.fixture(scope="session")
def tiny_run(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFile:
    """A run whose finetune artifact is the tiny model."""
    run = run_file(tmp_path_factory.mktemp("run"), "[bots]\nmax_tokens = 8\n[bots.serve]\nthreads = 1\n")
    with begin_artifact(run, "finetune", {}, {}, recipe=1) as artifact:
        shutil.copytree(tiny_model, artifact.data / "model")
        artifact.seal({})
    return run


@pytest.fixture(scope="session")
def engine(tiny_model: Path) -> Iterator[Engine]:
    """The tiny model behind its queue."""
    engine = Engine.load(tiny_model, threads=1, waiting=3)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def base_url(engine: Engine) -> Iterator[str]:
    """Our server's handlers over a real socket, in this process."""
    server = uvicorn.Server(
        uvicorn.Config(Server("tiny", engine, Prompter(engine.tokenizer, chat=True)).app(), log_level="warning", lifespan="off")
    )
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    server.should_exit = True
    thread.join(10)
