"""LoRA's own parts: the adapter's shape, and proof that the merged model says what base and adapter said together.

Loads torch, transformers and peft.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, TaskType
from transformers import AutoModelForCausalLM, PreTrainedModel

from finetune.examples import Example
from finetune.settings import LoraSettings
from pipeline.errors import ConfigError

# Held-out examples whose logits are compared.
CHECKED_EXAMPLES = 8
# Largest difference allowed, as a share of the largest logit: float32 sums in another order differ by about 1e-6;
# weights rounded to bfloat16 (8 bits of mantissa) move logits by a few per cent.
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.02}


def lora_config(settings: LoraSettings, model: PreTrainedModel) -> LoraConfig:
    """The adapter that `[lora]` describes.

    Raises: ConfigError if the model has no layer of a target's name.
    """
    names = {name.rpartition(".")[2] for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    if unknown := sorted(set(settings.targets) - names):
        raise ConfigError(f"[lora] targets: the model has no linear layer {unknown}; it has {sorted(names)}")
    return LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(settings.targets),
        bias="none",
    )


def reference_logits(model: Any, examples: Sequence[Example]) -> list[torch.Tensor]:
    """Logits (tokens, vocabulary) of the first examples, each alone, so that padding plays no part."""
    model.eval()
    device = next(model.parameters()).device
    with torch.no_grad():
        return [
            model(input_ids=torch.tensor([e.input_ids], device=device)).logits[0].float().cpu()
            for e in examples[:CHECKED_EXAMPLES]
        ]


def check_merged(folder: Path, examples: Sequence[Example], expected: Sequence[torch.Tensor]) -> None:
    """Load the merged model as any user would, and compare its logits with the adapter's.

    Raises: AssertionError if they differ by more than rounding: a merge that changes the model must not be sealed.
    """
    stored = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", local_files_only=True)
    tolerance = TOLERANCE[stored.dtype]
    for matches, wanted in zip(reference_logits(stored.float(), examples), expected, strict=True):
        difference = ((matches - wanted).abs().max() / wanted.abs().max()).item()
        assert difference <= tolerance, f"merged and adapter logits differ by {difference:.2e} of the largest logit"
