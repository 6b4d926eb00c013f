"""The one training loop of full and LoRA tuning: TRL's SFTTrainer on examples whose labels we made and checked.

Loads torch, transformers, trl and peft: import it only where training really happens.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from datasets import Dataset
from peft import PeftConfig
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.utils.logging import disable_progress_bar
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from finetune.examples import IGNORED, Example, TuningData
from finetune.settings import Tuning
from pipeline.errors import BadInput, ConfigError
from pipeline.progress import Progress

# Only the directory of its log files would be written there; nothing is saved by the trainer itself.
TRAINER_FOLDER = "trainer"


@dataclass(frozen=True)
class Tuned:
    """A trained model (a PeftModel where an adapter was trained), and what happened."""

    model: Any
    steps: int
    losses: list[float]  # mean answer-token loss of each step
    heldout: dict[str, dict[str, float]]  # source -> loss on held-out answers before and after, nats a token
    parameters: dict[str, int]  # all and trained


class ShowProgress(TrainerCallback):
    """One unit of progress an optimizer step; loss and learning rate go to the terminal and events.jsonl."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.losses: list[float] = []

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """The trainer knows the number of steps only now."""
        self.progress.total = state.max_steps

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Called after each step (logging_steps = 1), and once more at the end with a summary that has no `loss`."""
        logs: dict[str, float] = kwargs["logs"]
        if "loss" not in logs:
            return
        if not math.isfinite(logs["loss"]):
            raise BadInput(f"step {state.global_step}: the loss is {logs['loss']}; lower learning_rate")
        self.losses.append(logs["loss"])
        self.progress.update(loss=logs["loss"], lr=logs["learning_rate"])


class AnswerTrainer(SFTTrainer):
    """SFTTrainer that computes logits only where an answer is in some row of the batch.

    The same loss as TRL's own, which on a CPU scores every position, entropy included, and twice where gradients are
    needed: that was 55 % of a step's time for the demo's model (6.5 million weights, vocabulary 8,192).
    """

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Summed answer-token loss over `num_items_in_batch`, the answer tokens of the whole optimizer step."""
        assert not return_outputs and num_items_in_batch is not None, "we only train with it"
        labels_BT = inputs["labels"][:, 1:]
        columns = (labels_BT != IGNORED).any(0).nonzero().flatten()
        output = model(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False, logits_to_keep=columns
        )
        loss = torch.nn.functional.cross_entropy(
            output.logits.float().flatten(0, 1), labels_BT[:, columns].flatten(), ignore_index=IGNORED, reduction="sum"
        )
        return loss / num_items_in_batch


def prepare(settings: Tuning) -> torch.device:
    """Threads and device of this process.

    Raises: ConfigError if the settings ask for a GPU that is not there, or several are visible.
    """
    torch.set_num_threads(settings.threads)
    disable_progress_bar()  # the bars of loading and saving; ours says what there is to say
    gpus = torch.cuda.device_count()
    if settings.device == "cuda" and not gpus:
        raise ConfigError("device = 'cuda', but torch sees no GPU; use device = 'auto' or 'cpu'")
    if settings.device != "cpu" and gpus > 1:
        raise ConfigError(f"{gpus} GPUs are visible, this stage uses one; set CUDA_VISIBLE_DEVICES=0")
    return torch.device("cuda" if gpus and settings.device != "cpu" else "cpu")


def load_base(folder: Path, device: torch.device) -> PreTrainedModel:
    """The exported model in float32, in which weights and optimizer stay whatever `precision` computes in."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    return model.to(device)


def answer_loss(model: Any, examples: Sequence[Example], *, batch: int, pad_id: int) -> float:
    """Mean negative log-likelihood, in nats, of the answer tokens of all examples, each token weighing the same."""
    model.eval()
    device, total, count = next(model.parameters()).device, 0.0, 0
    with torch.no_grad():
        for rows in _batches(sorted(examples, key=lambda e: len(e.input_ids)), batch):
            ids_BT, labels_BT, mask_BT = (t.to(device) for t in _pad(rows, pad_id))
            logits_BTV = model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).logits.float()
            flat = torch.nn.functional.cross_entropy(
                logits_BTV[:, :-1].flatten(0, 1), labels_BT[:, 1:].flatten(), ignore_index=IGNORED, reduction="sum"
            )
            total += flat.item()
            count += int((labels_BT[:, 1:] != IGNORED).sum())
    return total / count


def tune(
    model: PreTrainedModel,
    base: Path,
    data: TuningData,
    settings: Tuning,
    *,
    work: Path,
    progress: Progress,
    adapter: PeftConfig | None = None,
) -> Tuned:
    """Train `model` on `data.training`: all its weights, or the `adapter`'s.

    Args:
        base: folder of the model, for its tokenizer (padding).
        work: scratch folder.
    Raises: BadInput if the loss is no longer a number.
    """
    shower = ShowProgress(progress)
    rows = {
        "input_ids": [e.input_ids for e in data.training],
        "labels": [e.labels for e in data.training],
        "length": [len(e.input_ids) for e in data.training],
    }
    trainer = AnswerTrainer(
        model=model,
        args=arguments(settings, work / TRAINER_FOLDER),
        train_dataset=Dataset.from_dict(rows),
        processing_class=AutoTokenizer.from_pretrained(base, local_files_only=True),
        peft_config=adapter,
        callbacks=[shower],
    )
    trainer.remove_callback(PrinterCallback)
    tuned = cast(Any, trainer.model)
    before = heldout_losses(tuned, data, settings)
    trainer.train()
    # bf16 training wraps forward in an autocast, which would stay: what is measured and compared from here on is float32
    tuned = cast(Any, trainer.accelerator.unwrap_model(tuned, keep_fp32_wrapper=False))
    after = heldout_losses(tuned, data, settings)
    return Tuned(
        model=tuned,
        steps=trainer.state.global_step,
        losses=shower.losses,
        heldout={name: {"before": before[name], "after": after[name]} for name in before},
        parameters={
            "all": sum(p.numel() for p in tuned.parameters()),
            "trained": sum(p.numel() for p in tuned.parameters() if p.requires_grad),
        },
    )


def heldout_losses(model: Any, data: TuningData, settings: Tuning) -> dict[str, float]:
    """`answer_loss` of each source's held-out examples, rounded as reports are."""
    batch = settings.micro_batch or settings.batch_size
    sources = sorted({example.source for example in data.heldout})
    parts = {name: [example for example in data.heldout if example.source == name] for name in sources}
    return {name: round(answer_loss(model, part, batch=batch, pad_id=data.pad_id), 4) for name, part in parts.items()}


def arguments(settings: Tuning, folder: Path) -> SFTConfig:
    """The trainer's arguments: nothing saved, nothing reported, nothing prepared without being asked."""
    micro = settings.micro_batch or settings.batch_size
    return SFTConfig(
        output_dir=str(folder),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=settings.batch_size // micro,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=settings.warmup,  # below 1: a share of the steps
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        seed=settings.seed,
        data_seed=settings.seed,
        bf16=settings.precision == "bfloat16",
        fp16=False,
        use_cpu=settings.device == "cpu" or not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
        activation_checkpointing=False,
        train_sampling_strategy="group_by_length",  # rows of a batch are nearly equally long: little padding
        length_column_name="length",
        max_length=None,  # what does not fit was dropped and counted before
        dataset_kwargs={"skip_prepare_dataset": True},
        logging_strategy="steps",
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        eval_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )


def _batches(examples: Sequence[Example], size: int) -> Iterator[Sequence[Example]]:
    for begin in range(0, len(examples), size):
        yield examples[begin : begin + size]


def _pad(examples: Sequence[Example], pad_id: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """ids, labels and attention mask, each (B, T) with T the longest example, padded on the right."""
    width = max(len(e.input_ids) for e in examples)
    ids = [e.input_ids + [pad_id] * (width - len(e.input_ids)) for e in examples]
    labels = [e.labels + [IGNORED] * (width - len(e.labels)) for e in examples]
    mask = [[1] * len(e.input_ids) + [0] * (width - len(e.input_ids)) for e in examples]
    return torch.tensor(ids), torch.tensor(labels), torch.tensor(mask)
