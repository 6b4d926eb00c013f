"""Exported models are the trained ones: logits and greedy generation equal, the vocabulary's padding gone."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from pipeline.errors import PipelineError
from pretrain import export
from pretrain.settings import PretrainSettings
from tests.pretrain.packs import random_documents, write_pack
from tests.pretrain.ranks import run_ranks
from tests.pretrain.training import numbers_of, tiny, with_layout
from tokenizer.encode import Tokenizer


def trained(tmp_path: Path, tokenizer: Path, settings: PretrainSettings) -> tuple[Path, np.ndarray]:
    """Checkpoints of a short training with the vocabulary of a real tokenizer, and held-out ids."""
    size = Tokenizer.load(tokenizer).vocab_size
    sources = {"a": random_documents(3, 30, 30, size)}
    pack = write_pack(tmp_path / "pack", sources, vocab_size=size, valid=6)
    run_ranks(settings.parallel.processes, with_vocabulary, size, settings, pack, tmp_path / "run")
    return tmp_path / "run" / "checkpoints", np.concatenate([np.array(d) for d in sources["a"][-6:]])


def with_vocabulary(size: int, settings: PretrainSettings, pack: Path, root: Path) -> None:
    from tests.pretrain import training

    training.VOCABULARY = size  # in this forked rank only
    numbers_of(settings, pack, root)


def exported(settings: PretrainSettings, checkpoints: Path, tokenizer: Path, ids: np.ndarray, folder: Path) -> Any:
    """Export in this forked rank; the difference, and Megatron's own greedy continuation of four tokens."""
    difference = export.export(settings, checkpoints, tokenizer, torch.from_numpy(ids), folder)
    model, row = export.load_whole(settings, checkpoints, (size := Tokenizer.load(tokenizer).vocab_size)), ids[:4].tolist()
    for _ in range(12):
        tokens = torch.tensor([row])
        with torch.no_grad():
            logits = model(tokens, torch.arange(len(row))[None], None)
        assert logits.size(-1) % 8 == 0 and logits.size(-1) >= size
        row.append(int(logits[0, -1, :size].argmax()))
    return difference, row


@pytest.mark.parametrize(
    ("layout", "tied", "precision"),
    [({}, True, "fp32"), ({"tensor": 2}, False, "fp32"), ({"pipeline": 2}, True, "fp32"), ({"data": 2}, False, "bf16")],
    ids=["single", "tensor-untied", "pipeline-tied", "data-bf16"],
)
def test_same_logits_and_words(
    tmp_path: Path, tiny_tokenizer: Path, layout: dict[str, Any], tied: bool, precision: str
) -> None:
    shape = dataclasses.replace(tiny().model, tied=tied, vocab_multiple=24)  # 1,280 tokens in 1,296 rows
    settings = with_layout(tiny(model=shape, precision=precision, save_every=0), **layout)
    checkpoints, ids = trained(tmp_path, tiny_tokenizer, settings)
    ((difference, row),) = run_ranks(1, exported, settings, checkpoints, tiny_tokenizer, ids, tmp_path / "hf")
    assert 0 <= difference < 1e-5
    model: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "hf")
    assert model.dtype == torch.float32 and model.get_input_embeddings().weight.shape == (1280, 32)
    assert (model.get_input_embeddings().weight is model.get_output_embeddings().weight) == tied
    said = model.generate(torch.from_numpy(ids[None, :4]), max_new_tokens=12, do_sample=False, eos_token_id=-1, pad_token_id=3)
    assert said[0].tolist() == row
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
    for name in names:
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "twice" / name).read_bytes(), name


def spoilt(settings: PretrainSettings, checkpoints: Path, tokenizer: Path, ids: np.ndarray, folder: Path) -> str:
    """An export that swaps two rows of one matrix."""
    good = export.llama_weights

    def swapped(*arguments: Any) -> dict[str, torch.Tensor]:
        weights = good(*arguments)
        name = "model.layers.1.self_attn.k_proj.weight"
        return weights | {name: weights[name].roll(1, 0)}

    export.llama_weights = swapped
    with pytest.raises(PipelineError) as caught:
        export.export(settings, checkpoints, tokenizer, torch.from_numpy(ids), folder)
    return str(caught.value)


def test_a_wrong_export_is_not_kept(tmp_path: Path, tiny_tokenizer: Path) -> None:
    checkpoints, ids = trained(tmp_path, tiny_tokenizer, tiny(save_every=0))
    (message,) = run_ranks(1, spoilt, tiny(), checkpoints, tiny_tokenizer, ids, tmp_path / "hf")
    assert "logits of the exported model differ" in message and not (tmp_path / "hf").exists()


def test_rows_of_little_text() -> None:
    ids = torch.arange(10)
    assert export.rows(ids, 4).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert export.rows(ids, 2).shape == (4, 2)
    assert export.rows(ids, 11).tolist() == [list(range(10))]
