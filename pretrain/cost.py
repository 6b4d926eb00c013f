"""What a run costs before it starts: operations, memory of the fullest GPU, disk, days. `make arithmetic` prints the table.

Symbols: L layers, H hidden, F ffn, K width of all key heads, V rows of the embedding, S seq_length, B micro_batch,
T tensor, P pipeline, D data; e bytes of a number (bf16 2, fp32 4). One rank holds of everything what its stage needs.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline import cli
from pipeline.progress import echo
from pipeline.runfile import RunFile, load_run
from pretrain.settings import Precision, PretrainSettings, Shape

GiB = 2**30
# Dense bf16 TFLOP/s of one GPU, by what its name contains; the first that fits counts (NVIDIA's data sheets, without sparsity).
PEAK_TFLOPS = {
    "B200": 2250.0,
    "GH200": 989.0,
    "H200": 989.0,
    "H100 PCIe": 756.0,
    "H100 NVL": 835.0,
    "H100": 989.0,
    "H800": 989.0,
    "L40S": 362.0,
    "A100": 312.0,
    "A800": 312.0,
    "A40": 149.7,
    "RTX A6000": 154.8,
}
# Share of the peak that the days assume: LLM-jp v3 13B reached 34 % on H100 (derived from what was published of it),
# Megatron 42 to 56 % on A100 (arXiv:2205.05198, table 5).
ASSUMED_MFU = 0.4
ADAM_TEMPORARY = 4  # bytes a weight: torch's foreach AdamW makes the square roots of all second moments at once


@dataclass(frozen=True)
class Memory:
    """Bytes that the fullest rank holds."""

    weights: int
    gradients: int  # fp32 sums
    optimizer: int  # fp32 main weights (bf16 runs) and both moments
    activations: int  # of the micro-batches under way
    logits: int
    step: int  # temporaries of the optimizer's step, when no activation is held

    @property
    def total(self) -> int:
        """At the fullest moment."""
        return self.weights + self.gradients + self.optimizer + max(self.activations + self.logits, self.step)


def flops_per_token(shape: Shape, seq_length: int, vocab_size: int) -> int:
    """Operations of forward and backward: 6 a weight of every matrix, and 12 L H S for attention (PaLM, arXiv:2204.02311 B).

    The output projection counts, the embedding's lookup does not; nothing is saved for the causal mask, as in PaLM and
    Megatron, so that MFU compares with theirs.
    """
    return (
        6 * (shape.layers * _matrix_weights(shape) + vocab_size * shape.hidden) + 12 * shape.layers * shape.hidden * seq_length
    )


def weights_per_rank(settings: PretrainSettings, vocab_size: int, stage: int) -> int:
    """Weights that a rank of pipeline stage `stage` holds."""
    shape, layout = settings.model, settings.parallel
    H, T, P = shape.hidden, layout.tensor, layout.pipeline
    first, last = stage == 0, stage == P - 1
    split, whole = _matrix_weights(shape), 2 * H  # by tensor parallelism, and not: norms
    if shape.architecture == "gpt2":
        split += 3 * H + shape.ffn  # biases of the projections whose output is split
        whole += 4 * H  # second vectors of the norms, and biases of the projections whose input is split
    count = shape.layers // P * (split // T + whole)
    embedding = shape.embedding_rows(vocab_size, T) // T * H
    if first:
        count += embedding + (settings.seq_length * H if shape.architecture == "gpt2" else 0)
    if last:
        count += (2 * H if shape.architecture == "gpt2" else H) + (0 if shape.tied and first else embedding)
    return count


def activation_bytes_per_layer(settings: PretrainSettings, precision: Precision, *, gpu: bool = True) -> int:
    """Bytes that one layer keeps of one micro-batch for its backward pass; flash attention, nothing computed again."""
    shape, layout = settings.model, settings.parallel
    H, F, K, e = shape.hidden, shape.ffn, shape.kv_groups * shape.head_dim, _bytes_per_number(precision)
    outer = 4 * H * e  # input and output of both norms
    inner = (H + 2 * K) * e + H * e + 4 * shape.heads  # projected q, k, v; attention's output; its log-sum in fp32
    if shape.architecture == "gpt2":
        inner += 2 * F * e  # input and output of the GELU
    else:
        inner += (H + K) * e + 3 * F * e  # turned q and k; gate, up and their product
    if not gpu and shape.architecture == "llama":  # torch's CPU norm keeps two fp32 copies, its SwiGLU two halves more
        outer, inner = 4 * H * 4 + 2 * H * e, inner + 2 * F * e
    weights = 0
    if not gpu:
        more, weights = _dense_attention(settings, e)
        inner += more
    outer = outer // layout.tensor if layout.sequence else outer
    # Unfused, every layer makes its own cosines and sines, for q and for k, of a sample.
    turns = 4 * shape.head_dim * e if shape.architecture == "llama" else 0
    samples = ((outer + inner // layout.tensor) * layout.micro_batch + turns) * settings.seq_length
    return samples + weights // layout.tensor * layout.micro_batch


def _dense_attention(settings: PretrainSettings, e: int) -> tuple[int, int]:
    """What attention on a CPU keeps more than flash attention does: bytes a token, and the weights of a sample."""
    from pretrain.model.attention import BLOCK, DENSE_UP_TO

    shape, S = settings.model, settings.seq_length
    if S > DENSE_UP_TO:
        return 0, 0
    in_blocks = e == 4  # fp32, where torch has oneDNN
    seen = sum(min(BLOCK, S - begin) * min(begin + BLOCK, S) for begin in range(0, S, BLOCK)) if in_blocks else S * S
    if shape.architecture == "gpt2":  # q is scaled, and k and v or the output are copied
        more = shape.hidden * e
    elif in_blocks:  # k and v are copied, the projection they were part of is not kept
        more = -shape.kv_groups * shape.head_dim * e
    else:  # q is kept when it is scaled instead of before
        more = 0
    return more - 4 * shape.heads, shape.heads * seen * e  # no log-sum is kept


def estimate_memory(settings: PretrainSettings, vocab_size: int, precision: Precision = "bf16", *, gpu: bool = True) -> Memory:
    """What the fullest rank holds; without CUDA's context, NCCL's buffers and what the allocator wastes."""
    stages = [_stage_memory(settings, vocab_size, precision, stage, gpu) for stage in range(settings.parallel.pipeline)]
    return max(stages, key=lambda stage: stage.total)


def _stage_memory(settings: PretrainSettings, vocab_size: int, precision: Precision, stage: int, gpu: bool) -> Memory:
    layout, shape = settings.parallel, settings.model
    count = weights_per_rank(settings, vocab_size, stage)
    owned = -(-count // layout.data) if layout.distributed_optimizer else count
    micro_batches = settings.global_batch // (layout.micro_batch * layout.data)
    # 1F1B: stage s has P - s micro-batches under way; interleaved, the first stage (P - 1) / (P V) more (arXiv:2205.05198 A)
    under_way = float(min(layout.pipeline - stage, micro_batches))
    if layout.virtual > 1:
        under_way = min(layout.pipeline - stage + (layout.pipeline - 1) / layout.virtual, micro_batches)
    layers = shape.layers // layout.pipeline
    tokens, e = settings.seq_length * layout.micro_batch, _bytes_per_number(precision)
    logits = 0
    if stage == layout.pipeline - 1:
        rows = shape.embedding_rows(vocab_size, layout.tensor) // layout.tensor
        final_norm = 2 * shape.hidden * e // (layout.tensor if layout.sequence else 1)
        logits = tokens * (rows * 2 * e + final_norm)  # `loss.cross_entropy` holds them and their gradient
    return Memory(
        weights=count * e,
        gradients=count * 4,
        optimizer=owned * (12 if precision == "bf16" else 8),
        activations=int(under_way * layers * activation_bytes_per_layer(settings, precision, gpu=gpu)),
        logits=logits,
        step=owned * ADAM_TEMPORARY,
    )


def checkpoint_bytes(settings: PretrainSettings, vocab_size: int, precision: Precision = "bf16") -> int:
    """One checkpoint: every weight, its fp32 main copy where it is bf16, both moments."""
    rows = settings.model.embedding_rows(vocab_size, settings.parallel.tensor)
    return settings.model.parameters(rows, settings.seq_length) * (14 if precision == "bf16" else 12)


def total_tokens(settings: PretrainSettings) -> int:
    """Tokens of the whole run."""
    return settings.samples * settings.seq_length


def estimate_days(settings: PretrainSettings, vocab_size: int, peak_tflops: float, mfu: float = ASSUMED_MFU) -> float:
    """Days of computing at that share of every GPU's peak; no validation, checkpoint or broken node."""
    work = total_tokens(settings) * flops_per_token(settings.model, settings.seq_length, vocab_size)
    return work / (settings.parallel.processes * peak_tflops * 1e12 * mfu) / 86400


def peak_tflops(gpu_name: str) -> float:
    """Dense bf16 TFLOP/s of a GPU by its name; 0 if it is not known."""
    return next((peak for part, peak in PEAK_TFLOPS.items() if part.lower() in gpu_name.lower()), 0.0)


def vocabulary_size(run: RunFile) -> int:
    """Entries of the run's vocabulary: of the packed data if it is there, else as `[tokenizer]` asks."""
    from pipeline.artifact import open_sealed
    from tokenizer.settings import TokenizerSettings

    if (run.root("pack") / "manifest.json").exists():
        return open_sealed(run.root("pack")).stats["vocab_size"]
    return run.settings("tokenizer", TokenizerSettings).vocab_size


def _matrix_weights(shape: Shape) -> int:
    """Weights of the matrices of one layer."""
    attention = shape.hidden * shape.head_dim * 2 * (shape.heads + shape.kv_groups)
    return attention + (2 if shape.architecture == "gpt2" else 3) * shape.hidden * shape.ffn


def _bytes_per_number(precision: Precision) -> int:
    return 2 if precision == "bf16" else 4


def format_layout(settings: PretrainSettings) -> str:
    """The layout as people write it, "TP4 SP DP24"."""
    layout = settings.parallel
    sizes = {"TP": layout.tensor, "PP": layout.pipeline, "V": layout.virtual, "DP": layout.data}
    words = [f"{name}{size}" for name, size in sizes.items() if size > 1]
    words += ["SP"] * layout.sequence + ["distributed optimizer"] * layout.distributed_optimizer
    return " ".join(words) or "one process"


def render_tables(runs: Sequence[RunFile]) -> str:
    """Two Markdown tables: what the whole run takes, and what the fullest GPU holds."""
    cost = [
        f"| run | weights | tokens | FLOP a token | FLOP in all | days, A100 | days, H100 | a checkpoint |\n{'|---' * 8}|",
    ]
    held = [
        f"| run | layout, GPUs | micro-batch | weights | gradients | optimizer | activations | logits | total |\n{'|---' * 9}|",
    ]
    for run in runs:
        settings, vocab_size = run.settings("pretrain", PretrainSettings), vocabulary_size(run)
        part = estimate_memory(settings, vocab_size)
        each = flops_per_token(settings.model, settings.seq_length, vocab_size)
        weights = settings.model.parameters(vocab_size, settings.seq_length)
        times = " | ".join(f"{estimate_days(settings, vocab_size, PEAK_TFLOPS[gpu]):.0f}" for gpu in ("A100", "H100"))
        cost.append(
            f"| `{run.name}` | {weights / 1e9:.2f} B | {total_tokens(settings) / 1e9:,.0f} B | {each / 1e9:.1f} G"
            f" | {each * total_tokens(settings):.1e} | {times} | {checkpoint_bytes(settings, vocab_size) / GiB:.0f} GiB |"
        )
        sizes = (part.weights, part.gradients, part.optimizer, part.activations, part.logits, part.total)
        held.append(
            f"| `{run.name}` | {format_layout(settings)}, {settings.parallel.processes} | {settings.parallel.micro_batch}"
            f" | {' | '.join(f'{size / GiB:.1f}' for size in sizes)} |"
        )
    return "\n".join([*cost, "", *held])


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables of the given runs, or of every committed run that wants GPUs."""
    parser = argparse.ArgumentParser(prog="python -m pretrain.cost", description=__doc__)
    parser.add_argument("--run", action="append", help="a name below runs/, or a path that ends in .toml; repeat for several")
    parser.add_argument("--artifacts", default="artifacts", help="root folder of all artifacts")
    arguments = parser.parse_args(argv)
    names = arguments.run or sorted(path.stem for path in Path("runs").glob("*.toml"))
    runs = [load_run(name, artifacts=arguments.artifacts) for name in names]
    if not arguments.run:
        runs = [run for run in runs if run.has("pretrain") and run.settings("pretrain", PretrainSettings).parallel.gpu]
    echo(render_tables(runs))


if __name__ == "__main__":
    cli.stage_main(main)
