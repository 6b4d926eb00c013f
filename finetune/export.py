"""The model folder that later stages load: weights, tokenizer files as they came, generation settings."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel

from finetune.settings import Generation
from pipeline.errors import MissingInput
from pipeline.files import atomic_path, write_json
from tokenizer.encode import Tokenizer
from tokenizer.export import EXPORTED_FILES


def export_model(model: PreTrainedModel, base: Path, folder: Path, generation: Generation) -> None:
    """Write `folder` whole: weights in the base's data type, its tokenizer's files byte for byte, generation settings.

    Raises: MissingInput if the base lacks a file of its tokenizer.
    """
    for name in EXPORTED_FILES:
        if not (base / name).is_file():
            raise MissingInput(f"{base / name}: the base model came without its tokenizer; make it again with `make pretrain`")
    tokenizer = Tokenizer.load(base)
    dtype = getattr(torch, json.loads((base / "config.json").read_text("utf-8")).get("dtype") or "float32")
    with atomic_path(folder) as temporary:
        model.generation_config = generation_config(tokenizer, generation)
        model.config.pad_token_id = tokenizer.pad_id
        model.to(dtype).save_pretrained(temporary)
        for name in EXPORTED_FILES:
            shutil.copyfile(base / name, temporary / name)


def generation_config(tokenizer: Tokenizer, generation: Generation) -> GenerationConfig:
    """What transformers and vLLM take as defaults; sampling settings only where sampling is on."""
    sampling = {"temperature": generation.temperature, "top_p": generation.top_p} if generation.do_sample else {}
    return GenerationConfig(
        bos_token_id=tokenizer.bos_id,
        eos_token_id=tokenizer.eos_id,
        pad_token_id=tokenizer.pad_id,
        do_sample=generation.do_sample,
        repetition_penalty=generation.repetition_penalty,
        max_new_tokens=generation.max_new_tokens,
        **sampling,
    )


def export_adapter(model: Any, folder: Path, base_name: str) -> None:
    """Write the PEFT adapter: its weights and a configuration without this machine's paths or hash order."""
    with atomic_path(folder) as temporary:
        model.save_pretrained(temporary)
        (temporary / "README.md").unlink(missing_ok=True)  # PEFT's empty card; `make publish` writes a real one
        path = temporary / "adapter_config.json"
        config = json.loads(path.read_text("utf-8"))
        config["base_model_name_or_path"] = base_name
        config["target_modules"] = sorted(config["target_modules"])
        write_json(path, config)
