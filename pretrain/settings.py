"""`[pretrain]` of a run file: the model's shape, how it is optimized, and how the work is laid over processes."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

from pipeline.runfile import field

Precision = Literal["auto", "fp32", "bf16"]


@dataclass(frozen=True)
class Shape:
    """`[pretrain.model]`: a Llama-style decoder (RMSNorm, SwiGLU, rotary positions, grouped queries, no bias, no dropout)."""

    layers: int
    hidden: int
    heads: int
    kv_groups: int  # heads that share a key/value head = heads / kv_groups
    ffn: int
    rope_theta: float = 10000.0  # RoFormer, arXiv:2104.09864
    norm_eps: float = 1e-5  # Llama 2, arXiv:2307.09288
    init_std: float = 0.02  # GPT-2; projections back into the residual stream get std / sqrt(2 * layers)
    tied: bool = True  # one matrix for input and output embeddings
    vocab_multiple: int = 128  # rows of the embedding are filled up to a multiple (times tensor parallel); export cuts them off

    def __post_init__(self) -> None:
        sizes = (self.layers, self.hidden, self.heads, self.kv_groups, self.ffn, self.vocab_multiple)
        if min(sizes) < 1:
            raise ValueError("layers, hidden, heads, kv_groups, ffn and vocab_multiple must be at least 1")
        if self.hidden % self.heads or (self.hidden // self.heads) % 2:
            raise ValueError(f"hidden = {self.hidden} must be a multiple of 2 * heads = {2 * self.heads} (rotary pairs)")
        if self.heads % self.kv_groups:
            raise ValueError(f"heads = {self.heads} must be a multiple of kv_groups = {self.kv_groups}")

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden // self.heads

    def parameters(self, vocab_size: int) -> int:
        """Number of weights with an embedding of `vocab_size` rows."""
        attention = self.hidden * self.head_dim * 2 * (self.heads + self.kv_groups)
        layer = attention + 3 * self.hidden * self.ffn + 2 * self.hidden
        return vocab_size * self.hidden * (1 if self.tied else 2) + self.layers * layer + self.hidden


@dataclass(frozen=True)
class Adam:
    """`[pretrain.optimizer]`: AdamW with linear warmup and cosine decay; defaults are LLM-jp v3's."""

    lr: float = 3e-4
    min_lr: float = 3e-5
    warmup: int = 2000  # iterations
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.1
    clip: float = 1.0  # global gradient norm

    def __post_init__(self) -> None:
        if not 0 <= self.min_lr <= self.lr or self.lr <= 0:
            raise ValueError(f"0 <= min_lr = {self.min_lr} <= lr = {self.lr} must hold, and lr > 0")
        if self.warmup < 0 or self.eps <= 0 or self.weight_decay < 0 or self.clip < 0:
            raise ValueError("warmup, weight_decay and clip must be >= 0, eps > 0")
        if not (0 <= self.beta1 < 1 and 0 <= self.beta2 < 1):
            raise ValueError("beta1 and beta2 must lie in [0, 1)")


@dataclass(frozen=True)
class Parallel:
    """`[pretrain.parallel]`: how the same computation is laid over processes. Never part of a fingerprint."""

    tensor: int = field(1, identity=False)  # a layer's matrices split over this many ranks
    pipeline: int = field(1, identity=False)  # layers split over this many stages
    data: int = field(1, identity=False)  # copies of the model, each with its share of every batch
    sequence: bool = field(False, identity=False)  # norms split along the sequence over the tensor-parallel ranks
    distributed_optimizer: bool = field(False, identity=False)  # optimizer state split over the data-parallel ranks
    micro_batch: int = field(1, identity=False)  # samples of one forward pass on one rank
    threads: int = field(1, identity=False)  # CPU threads of each process; 0: torch decides
    gpu: bool = field(True, identity=False)  # false: compute on the CPU even where there are GPUs
    timeout_minutes: int = field(10, identity=False)  # a collective that takes longer has lost a rank
    # What starts pretrain.train instead of torchrun on this machine, e.g. ["srun", "torchrun", "--nnodes=4", …]
    launcher: tuple[str, ...] = field((), identity=False)

    def __post_init__(self) -> None:
        if min(self.tensor, self.pipeline, self.data, self.micro_batch, self.timeout_minutes) < 1 or self.threads < 0:
            raise ValueError("tensor, pipeline, data, micro_batch and timeout_minutes must be at least 1, threads at least 0")
        if self.sequence and self.tensor == 1:
            raise ValueError("sequence = true splits over tensor-parallel ranks; it needs tensor > 1")

    @property
    def processes(self) -> int:
        """Ranks in all."""
        return self.tensor * self.pipeline * self.data


@dataclass(frozen=True)
class PretrainSettings:
    """`[pretrain]`: a whole training run, fixed before it starts (the data order depends on its total)."""

    iterations: int
    seq_length: int
    global_batch: int  # samples an iteration
    model: Shape
    optimizer: Adam = dataclasses.field(default_factory=Adam)
    parallel: Parallel = dataclasses.field(default_factory=Parallel)
    seed: int = 1234
    # auto: bf16 on a GPU and on a CPU that multiplies bf16 natively (`make bench-layouts`), else fp32
    precision: Precision = "auto"
    across_documents: bool = False  # true: attention does not stop at a document's end
    weights: dict[str, float] = dataclasses.field(default_factory=dict)  # source -> share; {}: proportional to tokens
    valid_tokens: int = 0  # whole held-out documents of each source up to this many tokens; 0: all
    valid_every: int = field(0, identity=False)  # iterations between validations; 0: only at the end
    save_every: int = field(100, identity=False)  # iterations between checkpoints; 0: only at the end
    keep: int = field(2, identity=False)  # checkpoints kept, newest first
    max_skipped: int = 10  # iterations in a row with a loss or gradient that is not finite before the run stops
    data_workers: int = field(0, identity=False)  # processes that read samples ahead; 0: in the training process

    def __post_init__(self) -> None:
        if min(self.iterations, self.seq_length, self.global_batch, self.keep, self.max_skipped) < 1:
            raise ValueError("iterations, seq_length, global_batch, keep and max_skipped must be at least 1")
        if min(self.valid_tokens, self.valid_every, self.save_every, self.data_workers) < 0:
            raise ValueError("valid_tokens, valid_every, save_every and data_workers must be >= 0")
        if self.optimizer.warmup >= self.iterations:
            raise ValueError(f"optimizer.warmup = {self.optimizer.warmup} must be below iterations = {self.iterations}")
        if any(not math.isfinite(w) or w < 0 for w in self.weights.values()):
            raise ValueError(f"weights must be finite and >= 0, got {self.weights}")
        self._check_layout()

    def _check_layout(self) -> None:
        shape, layout = self.model, self.parallel
        at_once = layout.micro_batch * layout.data
        if self.global_batch % at_once:
            raise ValueError(
                f"global_batch = {self.global_batch} must be a multiple of parallel.micro_batch * parallel.data = {at_once}"
            )
        for name, size in (("heads", shape.heads), ("kv_groups", shape.kv_groups), ("ffn", shape.ffn)):
            if size % layout.tensor:
                raise ValueError(f"model.{name} = {size} must be a multiple of parallel.tensor = {layout.tensor}")
        if shape.layers % layout.pipeline:
            raise ValueError(f"model.layers = {shape.layers} must be a multiple of parallel.pipeline = {layout.pipeline}")
        if layout.sequence and self.seq_length % layout.tensor:
            raise ValueError(f"seq_length = {self.seq_length} must be a multiple of parallel.tensor = {layout.tensor}")

    @property
    def samples(self) -> int:
        """Samples of the whole run."""
        return self.iterations * self.global_batch
