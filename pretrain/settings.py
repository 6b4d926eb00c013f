"""`[pretrain]` of a run file: the model's shape, how it is optimized, and how the work is laid over processes."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.runfile import field
from pretrain.batches import BatchSchedule

Precision = Literal["auto", "fp32", "bf16"]
Architecture = Literal["llama", "gpt2"]
Gelu = Literal["exact", "tanh"]
Decay = Literal["cosine", "wsd"]


@dataclass(frozen=True)
class Shape:
    """`[pretrain.model]`: a decoder without dropout, in one of two styles.

    llama: RMSNorm, SwiGLU, rotary positions, grouped queries, no bias (arXiv:2307.09288).
    gpt2: LayerNorm, exact GELU, learned positions, biases (LLM-jp v1); kv_groups = heads.
    """

    layers: int
    hidden: int
    heads: int
    kv_groups: int  # heads that share a key/value head = heads / kv_groups
    ffn: int
    rope_theta: float = 10000.0  # RoFormer, arXiv:2104.09864
    rope_scaling: float = 0.0  # factor of Llama 3.1 (8) and 3.2 (32), for more than 8,192 positions; 0: none
    norm_eps: float = 1e-5  # Llama 2, arXiv:2307.09288
    init_std: float = 0.02  # GPT-2; projections back into the residual stream get std / sqrt(2 * layers)
    architecture: Architecture = "llama"
    gelu: Gelu = "exact"  # of gpt2; tanh: the approximation that OpenAI's GPT-2 was trained with
    tied: bool = True  # one matrix for input and output embeddings
    vocab_multiple: int = 128  # rows of the embedding are filled up to a multiple (times tensor parallel); export cuts them off

    def __post_init__(self) -> None:
        sizes = (self.layers, self.hidden, self.heads, self.kv_groups, self.ffn, self.vocab_multiple)
        if min(sizes) < 1:
            raise ValueError("layers, hidden, heads, kv_groups, ffn and vocab_multiple must be at least 1")
        if self.hidden % self.heads or (self.hidden // self.heads) % 2:
            raise ValueError(f"hidden = {self.hidden} must be a multiple of 2 * heads = {2 * self.heads} (rotary pairs)")
        if self.architecture == "gpt2" and self.kv_groups != self.heads:
            raise ValueError(
                f"architecture gpt2 has no grouped queries: kv_groups = {self.kv_groups} must be heads = {self.heads}"
            )
        if not (self.rope_scaling == 0 or self.rope_scaling >= 1):
            raise ValueError(f"rope_scaling = {self.rope_scaling} must be 0 or at least 1")
        if self.heads % self.kv_groups:
            raise ValueError(f"heads = {self.heads} must be a multiple of kv_groups = {self.kv_groups}")

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden // self.heads

    def embedding_rows(self, vocab_size: int, tensor: int = 1) -> int:
        """Rows of the embedding: `vocab_size` filled up so that every tensor-parallel rank holds equally many."""
        multiple = self.vocab_multiple * tensor
        return -(-vocab_size // multiple) * multiple

    def parameters(self, vocab_size: int, seq_length: int = 0) -> int:
        """Number of weights with an embedding of `vocab_size` rows, and of `seq_length` learned positions (gpt2)."""
        H, F = self.hidden, self.ffn
        embeddings = vocab_size * H * (1 if self.tied else 2)
        attention = H * self.head_dim * 2 * (self.heads + self.kv_groups)
        if self.architecture == "gpt2":  # every matrix has a bias, every norm two vectors
            return embeddings + seq_length * H + self.layers * (attention + 2 * H * F + F + 9 * H) + 2 * H
        return embeddings + self.layers * (attention + 3 * H * F + 2 * H) + H


@dataclass(frozen=True)
class Adam:
    """`[pretrain.optimizer]`: AdamW with linear warmup, then cosine decay or WSD; defaults are LLM-jp v3's."""

    lr: float = 3e-4
    min_lr: float = 3e-5
    warmup: int = 2000  # iterations of the full batch; counted in samples, so that a batch that ramps up does not bend it
    decay: Decay = "cosine"  # wsd: constant, then down in a straight line over the last decay_share (arXiv:2404.06395)
    decay_share: float = 0.1  # of all samples
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.1
    clip: float = 1.0  # global gradient norm

    def __post_init__(self) -> None:
        if not 0 <= self.min_lr <= self.lr or self.lr <= 0:
            raise ValueError(f"0 <= min_lr = {self.min_lr} <= lr = {self.lr} must hold, and lr > 0")
        if not 0 < self.decay_share <= 1:
            raise ValueError(f"decay_share = {self.decay_share} must lie above 0 and at most at 1")
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
    virtual: int = field(1, identity=False)  # pieces of each pipeline stage, interleaved (arXiv:2104.04473); 1: no interleaving
    sequence: bool = field(False, identity=False)  # norms split along the sequence over the tensor-parallel ranks
    distributed_optimizer: bool = field(False, identity=False)  # optimizer state split over the data-parallel ranks
    micro_batch: int = field(1, identity=False)  # samples of one forward pass on one rank
    threads: int = field(1, identity=False)  # CPU threads of each process; 0: torch decides
    gpu: bool = field(True, identity=False)  # false: compute on the CPU even where there are GPUs
    timeout_minutes: int = field(10, identity=False)  # a collective that takes longer has lost a rank
    # What starts pretrain.train instead of torchrun on this machine, e.g. ["srun", "torchrun", "--nnodes=4", …]
    launcher: tuple[str, ...] = field((), identity=False)

    def __post_init__(self) -> None:
        if (
            min(self.tensor, self.pipeline, self.virtual, self.data, self.micro_batch, self.timeout_minutes) < 1
            or self.threads < 0
        ):
            raise ValueError(
                "tensor, pipeline, virtual, data, micro_batch and timeout_minutes must be at least 1, threads at least 0"
            )
        if self.virtual > 1 and self.pipeline == 1:
            raise ValueError(f"virtual = {self.virtual} interleaves pipeline stages; it needs pipeline > 1")
        if self.sequence and self.tensor == 1:
            raise ValueError("sequence = true splits over tensor-parallel ranks; it needs tensor > 1")

    @property
    def processes(self) -> int:
        """Ranks in all."""
        return self.tensor * self.pipeline * self.data

    @property
    def group(self) -> int:
        """Micro-batches come in multiples of this: the pieces of interleaved stages take turns every `pipeline` of them."""
        return self.pipeline if self.virtual > 1 else 1


@dataclass(frozen=True)
class RampUp:
    """`[pretrain.ramp_up]`: batches that grow from `start` by `step` to global_batch while `samples` are read; 0: none.

    As Megatron-LM's --rampup-batch-size; see `pretrain.batches`.
    """

    start: int = 0
    step: int = 0
    samples: int = 0


@dataclass(frozen=True)
class Guard:
    """`[pretrain.guard]`: what happens to an iteration whose loss or gradient is not finite, or whose loss leaps.

    Such an iteration changes no weight and no moment; its samples count as read.
    """

    max_skipped: int = 10  # in a row, before the run stops or rewinds
    spike: float = 0.0  # skip an iteration whose loss is this many times the median of the last `window`; 0: never
    window: int = 100
    rewind: int = 0  # so often the run goes back to its last checkpoint's weights and on with the next data, before it stops

    def __post_init__(self) -> None:
        if min(self.max_skipped, self.window) < 1 or self.rewind < 0 or not (self.spike == 0 or self.spike > 1):
            raise ValueError("max_skipped and window must be at least 1, rewind at least 0, spike 0 or above 1")


@dataclass(frozen=True)
class Logging:
    """`[pretrain.logging]`: where the numbers go beside events.jsonl. Never part of a fingerprint."""

    tensorboard: bool = field(False, identity=False)  # event files below tensorboard/ of the artifact
    wandb: str = field("", identity=False)  # project name; "": none
    peak_tflops: float = field(0.0, identity=False)  # of one device, for MFU; 0: what is known of the GPU, else no MFU


@dataclass(frozen=True)
class PretrainSettings:
    """`[pretrain]`: a whole training run, fixed before it starts (the data order depends on its total)."""

    iterations: int
    seq_length: int
    global_batch: int  # samples an iteration
    model: Shape
    optimizer: Adam = dataclasses.field(default_factory=Adam)
    parallel: Parallel = dataclasses.field(default_factory=Parallel)
    start: Path | None = None  # folder of a LlamaForCausalLM or GPT2LMHeadModel to go on from; its digest is an input
    start_licence: str = ""  # goes into the manifest; needed unless the folder is in an artifact, which knows its own
    seed: int = 1234
    # auto: bf16 on a GPU and on a CPU that multiplies bf16 natively (`make bench-layouts`), else fp32
    precision: Precision = "auto"
    across_documents: bool = False  # true: attention does not stop at a document's end
    weights: dict[str, float] = dataclasses.field(default_factory=dict)  # source -> share; {}: proportional to tokens
    valid_tokens: int = 0  # whole held-out documents of each source up to this many tokens; 0: all
    valid_every: int = field(0, identity=False)  # iterations between validations; 0: only at the end
    save_every: int = field(100, identity=False)  # iterations between checkpoints; 0: only at the end
    keep: int = field(2, identity=False)  # checkpoints kept, newest first
    async_save: bool = field(False, identity=False)  # checkpoints are written by a process of their own while training goes on
    z_loss: float = 0.0  # times the mean square of log Z, the log of the softmax's sum (PaLM, arXiv:2204.02311: 1e-4)
    ramp_up: RampUp = dataclasses.field(default_factory=RampUp)
    guard: Guard = dataclasses.field(default_factory=Guard)
    logging: Logging = dataclasses.field(default_factory=Logging)
    data_workers: int = field(0, identity=False)  # processes that read samples ahead; 0: in the training process

    def __post_init__(self) -> None:
        if min(self.iterations, self.seq_length, self.global_batch, self.keep) < 1:
            raise ValueError("iterations, seq_length, global_batch and keep must be at least 1")
        if self.z_loss < 0:
            raise ValueError(f"z_loss = {self.z_loss} must be >= 0")
        if min(self.valid_tokens, self.valid_every, self.save_every, self.data_workers) < 0:
            raise ValueError("valid_tokens, valid_every, save_every and data_workers must be >= 0")
        if self.optimizer.warmup >= self.iterations:
            raise ValueError(f"optimizer.warmup = {self.optimizer.warmup} must be below iterations = {self.iterations}")
        if any(not math.isfinite(w) or w < 0 for w in self.weights.values()):
            raise ValueError(f"weights must be finite and >= 0, got {self.weights}")
        self._check_schedule()
        self._check_layout()

    def _check_schedule(self) -> None:
        adam = self.optimizer
        flat = max(round(adam.decay_share * self.samples), 1) if adam.decay == "wsd" else 1
        if (warming := adam.warmup * self.global_batch) > (most := self.samples - flat):
            raise ValueError(
                f"optimizer.warmup = {adam.warmup} takes {warming} samples, only {most} of {self.samples} come before the decay"
            )

    def _check_layout(self) -> None:
        shape, layout = self.model, self.parallel
        _ = self.batch_schedule  # checks itself
        at_once = layout.micro_batch * layout.data * layout.group
        factors = "parallel.micro_batch * parallel.data" + " * parallel.pipeline (interleaved)" * (layout.virtual > 1)
        for name, size in (
            ("global_batch", self.global_batch),
            ("ramp_up.start", self.ramp_up.start),
            ("ramp_up.step", self.ramp_up.step),
        ):
            if size % at_once:
                raise ValueError(f"{name} = {size} must be a multiple of {factors} = {at_once}")
        for name, size in (("heads", shape.heads), ("kv_groups", shape.kv_groups), ("ffn", shape.ffn)):
            if size % layout.tensor:
                raise ValueError(f"model.{name} = {size} must be a multiple of parallel.tensor = {layout.tensor}")
        if shape.layers % (pieces := layout.pipeline * layout.virtual):
            raise ValueError(
                f"model.layers = {shape.layers} must be a multiple of parallel.pipeline * parallel.virtual = {pieces}"
            )
        if layout.sequence and self.seq_length % layout.tensor:
            raise ValueError(f"seq_length = {self.seq_length} must be a multiple of parallel.tensor = {layout.tensor}")

    @property
    def samples(self) -> int:
        """Samples of the whole run."""
        return int(self.batch_schedule.consumed(self.iterations)[-1])

    @property
    def batch_schedule(self) -> BatchSchedule:
        """Samples of each iteration."""
        return BatchSchedule(self.global_batch, self.ramp_up.start, self.ramp_up.step, self.ramp_up.samples)
