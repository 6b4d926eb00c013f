"""`[finetune]` and `[lora]` of a run file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.runfile import field

# Where `kind = "instructions"` reads: the pairs written for this project (CC0).
INSTRUCTIONS = Path(__file__).parent / "data" / "instructions-ja.jsonl"
# Every linear layer of a Llama block; LoRA on all of them matches full tuning best (QLoRA, arXiv:2305.14314 §4).
LLAMA_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class DataSource:
    """One `[[finetune.data]]`: where chats come from, and how often one epoch reads them."""

    kind: Literal["instructions", "tatoeba", "jsonl", "dialogues"]
    path: Path | None = None  # required for jsonl and dialogues; instructions and tatoeba know their place
    name: str = ""  # in statistics and licences; default: the kind, or the file's stem
    count: int = 0  # this many records, chosen by hash; 0: all
    repeat: int = 1  # times an epoch reads them: a small precious source weighs more
    instruction: str = "instruction"  # jsonl: the key of the task,
    input: str = "input"  # of the text it works on (may be absent or empty),
    output: str = "output"  # and of the answer
    licence: str = ""  # required for jsonl and dialogues: goes into the manifest and the model card
    attribution: str = ""

    def __post_init__(self) -> None:
        if self.kind in ("jsonl", "dialogues") and (self.path is None or not self.licence):
            raise ValueError(f"kind {self.kind!r} needs path and licence")
        if self.kind in ("instructions", "tatoeba") and self.path is not None:
            raise ValueError(f"kind {self.kind!r} takes no path; use kind = 'jsonl' for a file of your own")
        if self.count < 0 or self.repeat < 1:
            raise ValueError("count must be >= 0 and repeat >= 1")

    @property
    def label(self) -> str:
        """Name of the source in statistics, licences and messages."""
        return self.name or (self.path.stem if self.path else self.kind)


@dataclass(frozen=True)
class Generation:
    """`[finetune.generation]`: what goes into generation_config.json, and so is every server's default."""

    do_sample: bool = False
    temperature: float = 0.7  # used only with do_sample
    top_p: float = 0.9  # used only with do_sample
    repetition_penalty: float = 1.0  # above 1 also punishes words of the question and line ends; vLLM and transformers default
    max_new_tokens: int = 160

    def __post_init__(self) -> None:
        if self.temperature <= 0 or not 0 < self.top_p <= 1 or self.repetition_penalty < 1 or self.max_new_tokens < 1:
            raise ValueError("need temperature > 0, 0 < top_p <= 1, repetition_penalty >= 1, max_new_tokens >= 1")


@dataclass(frozen=True)
class Tuning:
    """What full and LoRA tuning have in common."""

    data: tuple[DataSource, ...]
    epochs: int = 2  # LLM-jp's instruction tuning: 2
    batch_size: int = 64  # examples an optimizer step
    micro_batch: int = 0  # examples a forward pass, gradients accumulated to batch_size; 0: batch_size
    learning_rate: float = 1e-5  # LLM-jp: 1e-5 for 13B; small models need far more
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    warmup: float = 0.1  # share of the steps
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    max_tokens: int = 0  # longer examples are dropped and counted; 0: the model's context
    heldout_share: float = 0.05  # of each source, chosen by hash of the question, never trained on
    seed: int = 1
    precision: Literal["float32", "bfloat16"] = "float32"  # of the computation; weights and optimizer are float32
    generation: Generation = Generation()
    device: Literal["auto", "cpu", "cuda"] = field("auto", identity=False)
    threads: int = field(2, identity=False)  # CPU threads of torch; the same number gives the same bytes

    def __post_init__(self) -> None:
        if not self.data:
            raise ValueError("data is empty: name at least one source")
        if len({source.label for source in self.data}) < len(self.data):
            raise ValueError("two data sources have the same name; give each its own `name`")
        if self.epochs < 1 or self.batch_size < 1 or self.micro_batch < 0 or self.threads < 1 or self.max_tokens < 0:
            raise ValueError("need epochs, batch_size, threads >= 1 and micro_batch, max_tokens >= 0")
        if self.micro_batch and self.batch_size % self.micro_batch:
            raise ValueError(f"batch_size {self.batch_size} is not a multiple of micro_batch {self.micro_batch}")
        if self.learning_rate <= 0 or not 0 <= self.warmup < 1 or not 0 < self.heldout_share < 1:
            raise ValueError("need learning_rate > 0, 0 <= warmup < 1, 0 < heldout_share < 1")


@dataclass(frozen=True)
class FinetuneSettings(Tuning):
    """`[finetune]`: all weights are tuned."""


@dataclass(frozen=True)
class LoraSettings(Tuning):
    """`[lora]`: low-rank updates of the linear layers (LoRA, arXiv:2106.09685), the base stays as it is."""

    rank: int = 8  # LLM-jp: r 8, alpha 32, dropout .05, learning rate 1e-4, 5 epochs
    alpha: int = 32
    dropout: float = 0.05
    targets: tuple[str, ...] = LLAMA_LINEAR

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rank < 1 or self.alpha < 1 or not 0 <= self.dropout < 1 or not self.targets:
            raise ValueError("need rank, alpha >= 1, 0 <= dropout < 1 and at least one target")
