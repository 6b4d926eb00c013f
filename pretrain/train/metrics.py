"""The numbers of a training: a live line, events.jsonl, and where configured TensorBoard and Weights & Biases.

One row of events.jsonl an iteration: done, total, loss (nats a token), lr, grad (norm before clipping), tokens/s and
tokens/s/gpu (validation and checkpoints apart), tflops and mfu (of one device; operations as `pretrain.cost` counts
them), memory_gib (of the fullest rank so far), samples and tokens read. Other rows: validation by source, epochs by source
at every checkpoint, iterations skipped, rewinds. Rank 0 writes; torch is loaded where it is used.
"""

import resource
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pipeline.errors import ConfigError
from pipeline.progress import Progress, echo
from pretrain import cost
from pretrain.position import Position
from pretrain.settings import Logging, PretrainSettings

if TYPE_CHECKING:
    from pretrain.train.data import Datasets

EVENTS = "events.jsonl"
GIB = 2**30
CHUNK = 1 << 24  # samples counted at a time: 128 MiB inside np.bincount


class Sink(Protocol):
    """A place beside events.jsonl that numbers go to."""

    def add(self, iteration: int, numbers: Mapping[str, float]) -> None:
        """Numbers of one iteration by name."""

    def close(self) -> None:
        """Write out what is left."""


def check_packages(logging: Logging) -> None:
    """Raises: ConfigError if a package that the settings ask for is not installed."""
    for name, asked in (("tensorboard", logging.tensorboard), ("wandb", bool(logging.wandb))):
        if asked and find_spec(name) is None:
            raise ConfigError(
                f"[pretrain.logging] {name}: the package {name} is not installed; `.venv/bin/pip install {name}`, or leave "
                f"the setting out"
            )


class EpochCounter:
    """How often each source has been read; counts only what was read since it was last asked."""

    def __init__(self, datasets: "Datasets") -> None:
        blend: Any = datasets.train  # of one source: its dataset itself
        parts = [blend] if len(datasets.sources) == 1 else blend.datasets
        self._tokens = {
            name: int(part.dataset.sequence_lengths.sum(dtype=np.int64))
            for name, part in zip(datasets.sources, parts, strict=True)
        }
        self._source_of = None if len(parts) == 1 else blend.dataset_index
        self._length = datasets.settings.seq_length
        self._counts, self._upto = np.zeros(len(parts), np.int64), 0

    def epochs_at(self, samples: int) -> dict[str, float]:
        """Tokens read of each source in the run's first `samples`, over the tokens that it has; `samples` never falls."""
        while self._upto < samples:
            end = min(samples, self._upto + CHUNK)
            if self._source_of is None:
                self._counts += end - self._upto
            else:
                self._counts += np.bincount(self._source_of[self._upto : end], minlength=len(self._counts))
            self._upto = end
        read = (self._counts * self._length).tolist()
        return {name: round(n / tokens, 4) for (name, tokens), n in zip(self._tokens.items(), read, strict=True)}


class Log:
    """What rank 0 writes down; see the module."""

    def __init__(
        self, progress: Progress, sinks: list[Sink], epochs: EpochCounter, settings: PretrainSettings, vocab_size: int
    ) -> None:
        self._progress, self._sinks, self._epochs, self._settings = progress, sinks, epochs, settings
        layout, self._processes = settings.parallel, settings.parallel.processes
        self._flops = cost.flops_per_token(settings.model, settings.seq_length, vocab_size)
        self._peak = settings.logging.peak_tflops or (cost.peak_tflops(device_name()) if layout.gpu else 0.0)

    def iteration(
        self, position: Position, numbers: Mapping[str, float], *, samples: int, seconds: float, memory: float
    ) -> None:
        """One iteration of so many samples is done.

        Args:
            numbers: loss, lr, grad, as far as they are finite, and what else the live line shows.
            memory: bytes that the fullest rank held so far.
        """
        rate = samples * self._settings.seq_length / seconds
        tflops = rate / self._processes * self._flops / 1e12
        shown = {**numbers, "tokens/s": rate} | ({"mfu": tflops / self._peak} if self._peak else {})
        kept = {
            "tokens/s/gpu": rate / self._processes,
            "tflops": tflops,
            "memory_gib": memory / GIB,
            "samples": position.samples,
            "tokens": position.samples * self._settings.seq_length,
        } | ({"skipped_iterations": position.skipped} if position.skipped else {})
        kept = {name: value if isinstance(value, int) else float(f"{value:.6g}") for name, value in kept.items()}
        self._progress.update(1, kept, **shown)
        self._add(position.iteration, {f"train/{name}": value for name, value in (shown | kept).items()})

    def validation(self, iteration: int, scores: Mapping[str, Mapping[str, Any]]) -> None:
        """Scores of the held-out text by source, "total" too."""
        self._progress.event(iteration=iteration, valid=scores)
        rows = {f"valid/{name}/{key}": row[key] for name, row in scores.items() for key in ("loss", "bits_per_byte")}
        self._add(iteration, rows)

    def saved(self, position: Position) -> None:
        """A checkpoint was made; says how often each source had been read."""
        epochs = self._epochs.epochs_at(position.samples)
        self._progress.event(saved=position.iteration, samples=position.samples, epochs=epochs)
        self._add(position.iteration, {f"epochs/{name}": value for name, value in epochs.items()})

    def skipped(self, position: Position, why: str) -> None:
        """The iteration changed no weight."""
        self._progress.event(skipped=position.iteration, why=why, in_row=position.skipped_in_row)
        said = "損失または勾配が有限でないため" if why == "not finite" else "損失が跳ね上がったため"
        echo(f"{position.iteration:,} 回目: {said}、重みを更新しません (連続 {position.skipped_in_row} 回)")

    def rewound(self, position: Position, to: int) -> None:
        """The weights are those of iteration `to` again."""
        self._progress.event(rewound=position.iteration, to=to, rewinds=position.rewinds)
        echo(f"{position.iteration:,} 回目: {to:,} 回目の重みに戻し、次のデータから続けます ({position.rewinds} 度目)")

    def _add(self, iteration: int, numbers: Mapping[str, float]) -> None:
        for sink in self._sinks:
            sink.add(iteration, numbers)


@contextmanager
def open_log(
    settings: PretrainSettings, root: Path, datasets: "Datasets", position: Position, vocab_size: int, **facts: Any
) -> Iterator[Log]:
    """The log of the run in `root`, going on after `position`.

    Args:
        facts: for the row that says where this process began.
    """
    with ExitStack() as stack:
        progress = Progress("事前学習", settings.iterations, "回", events=root / EVENTS, out=sys.stdout)
        stack.enter_context(progress)
        progress.resume_at(position.iteration)
        progress.event(resumed_at=position.iteration, processes=settings.parallel.processes, **facts)
        sinks: list[Sink] = []
        if settings.logging.tensorboard:
            sinks.append(TensorBoard(root / "tensorboard", position.iteration))
        if settings.logging.wandb:
            sinks.append(Wandb(settings.logging.wandb, root))
        for sink in sinks:
            stack.callback(sink.close)
        yield Log(progress, sinks, EpochCounter(datasets), settings, vocab_size)


class TensorBoard:
    """Event files; rows after the point where the run goes on are hidden, for they come again."""

    def __init__(self, folder: Path, iteration: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=iteration + 1)

    def add(self, iteration: int, numbers: Mapping[str, float]) -> None:
        """One scalar a number."""
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, iteration)

    def close(self) -> None:
        """Flush."""
        self._writer.close()


class Wandb:
    """A run of Weights & Biases that goes on when the training does: its id is kept beside the events."""

    def __init__(self, project: str, root: Path) -> None:
        import wandb  # pyright: ignore[reportMissingImports] - installed by who wants it, see `check_packages`

        path = root / "wandb.id"
        if not path.exists():
            path.write_text(secrets.token_hex(8), "utf-8")
        self._run = wandb.init(project=project, name=root.name, id=path.read_text("utf-8"), resume="allow", dir=str(root))

    def add(self, iteration: int, numbers: Mapping[str, float]) -> None:
        """One row; rows of one iteration are joined by wandb."""
        self._run.log(dict(numbers), step=iteration)

    def close(self) -> None:
        """Upload the rest."""
        self._run.finish()


def device_name() -> str:
    """Name of this process's GPU, "" without one."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""


def peak_memory() -> float:
    """Bytes that this rank held at most: of the GPU where there is one, else of the process."""
    import torch

    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): kilobytes on Linux
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
