"""The training loop of one rank. Imports torch and megatron; `pretrain.train` is the program around it."""

import dataclasses
import fcntl
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from megatron.core import parallel_state as ps
from megatron.core.optimizer_param_scheduler import OptimizerParamScheduler
from megatron.core.pipeline_parallel import get_forward_backward_func
from torch import Tensor

from pipeline.errors import PipelineError
from pipeline.progress import Progress, say
from pretrain import checkpoint, data, evaluate, runtime
from pretrain.attention import Documents, documents
from pretrain.checkpoint import Position
from pretrain.data import Datasets, DataSettings
from pretrain.evaluate import Score
from pretrain.model import build_chunks, build_optimizer
from pretrain.settings import Precision, PretrainSettings


@dataclass(frozen=True)
class Places:
    """Where a run reads and writes."""

    pack_data: Path
    root: Path  # of the artifact being made

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints, kept beside the sealed data."""
        return self.root / "checkpoints"


@dataclass
class Run:
    """Everything one rank needs to train on."""

    settings: PretrainSettings
    places: Places
    precision: Precision
    eos_id: int
    counts: np.ndarray  # (vocabulary,) how often each token stands in the training data
    datasets: Datasets
    chunks: list[Any]  # this rank's pieces of the model
    optimizer: Any
    scheduler: OptimizerParamScheduler
    position: Position
    scored: int = -1  # iteration of the last validation
    scores: dict[str, Score] = dataclasses.field(default_factory=dict)

    def forward_step(self, batches: Iterator[dict[str, Tensor]], model: Any) -> tuple[Tensor, Callable]:
        """megatron's forward_step_func: losses of the next micro-batch, and how to sum them."""
        batch = {name: part.to(runtime.DEVICE, non_blocking=True) for name, part in next(batches).items()}
        ends = Documents(None, None)
        if not self.settings.across_documents:
            ends = documents(batch["tokens"], self.eos_id, model.config.params_dtype)
        losses = model(batch["tokens"], batch["position_ids"], ends.bias, labels=batch["labels"], packed_seq_params=ends.packed)
        return losses, partial(token_loss, batch["loss_mask"])

    def validate(self) -> dict[str, Score]:
        """Scores of the held-out text as the model stands."""
        if self.scored != self.position.iteration:
            self.scores = evaluate.score(self.chunks, self.forward_step, self.datasets, self.settings, self.counts)
            self.scored = self.position.iteration
        return self.scores

    def save(self) -> None:
        """Leave a checkpoint."""
        checkpoint.save(
            self.places.checkpoints, self.chunks, self.optimizer, self.position, self.precision, keep=self.settings.keep
        )


def token_loss(mask_BS: Tensor, losses_BS: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(sum to differentiate, tokens to divide by, report of both): megatron's form of an exact mean over tokens."""
    loss, tokens = (losses_BS.view(-1).float() * mask_BS.view(-1)).sum(), mask_BS.sum()
    return loss, tokens.int(), torch.stack([loss.detach(), tokens])


def prepare(settings: PretrainSettings, places: Places, vocab_size: int, eos_id: int) -> Run:
    """Build data, model and optimizer, and go back to the newest checkpoint if there is one; all ranks together."""
    saved = checkpoint.newest(places.checkpoints)
    precision = saved.precision if saved and settings.precision == "auto" else runtime.chosen_precision(settings.precision)
    datasets = data.build_datasets(places.pack_data, data_settings(settings), eos_id=eos_id, cache=places.root / "index")
    if dist.get_rank() == 0:
        datasets.save_order(places.root / "data" / "order")
    chunks = build_chunks(settings, precision, vocab_size)
    optimizer, scheduler = build_optimizer(settings, chunks)
    position = Position()
    if saved:
        checkpoint.load(saved, chunks, optimizer)
        position = saved.position
        scheduler.step(increment=position.samples)
    counts = token_counts(places.pack_data, vocab_size)
    return Run(settings, places, precision, eos_id, counts, datasets, chunks, optimizer, scheduler, position)


def token_counts(pack_data: Path, vocab_size: int) -> np.ndarray:
    """(vocab_size,) how often each token stands in the training data; rank 0 reads it all, the others are told."""
    counts = torch.zeros(vocab_size, dtype=torch.int64)
    if dist.get_rank() == 0:
        counts += torch.from_numpy(data.train_counts(pack_data, vocab_size))
    counts = counts.to(runtime.DEVICE)
    dist.broadcast(counts, 0)
    return counts.cpu().numpy()


def data_settings(settings: PretrainSettings) -> DataSettings:
    """What of the settings decides the order of the data."""
    return DataSettings(
        seq_length=settings.seq_length,
        iterations=settings.iterations,
        batches=settings.batches,
        seed=settings.seed,
        weights=settings.weights,
        valid_tokens=settings.valid_tokens,
        reset_position_ids=settings.model.architecture == "gpt2" and not settings.across_documents,
    )


def train(run: Run, stopped: Callable[[], bool]) -> bool:
    """Train to the end, or until any rank is asked to stop; leave a checkpoint either way.

    Returns: whether the run is complete.
    Raises: PipelineError if the loss stays infinite or undefined.
    """
    settings, places = run.settings, run.places
    batches = [
        data.train_batches(
            run.datasets,
            run.position.samples,
            micro_batch_size=settings.parallel.micro_batch,
            rank=ps.get_data_parallel_rank(),
            world=ps.get_data_parallel_world_size(),
            workers=settings.data_workers,
        )
        for _ in run.chunks
    ]
    with _progress(run) as progress:
        while run.position.iteration < settings.iterations:
            began, before = time.perf_counter(), run.position.samples
            numbers = step(run, batches)
            done = run.position.iteration
            numbers["tokens/s"] = (run.position.samples - before) * settings.seq_length / (time.perf_counter() - began)
            if settings.valid_every and done % settings.valid_every == 0:
                numbers["bits/byte"] = evaluate.total(run.validate()).bits_per_byte
            if progress:
                progress.update(1, **numbers)
            stop = _anyone(stopped())
            if stop or done == settings.iterations or (settings.save_every and done % settings.save_every == 0):
                run.save()
            _check_losses(run.position, settings, places)
            if stop:
                break
    return run.position.iteration == settings.iterations


def step(run: Run, batches: list[Iterator[dict[str, Tensor]]]) -> dict[str, float]:
    """One iteration: forward and backward over this rank's micro-batches, read once a piece of the model, then the optimizer.

    megatron's optimizer takes infinite and undefined gradients without a word and its weights never recover, so such
    an iteration changes no weight and no moment: its samples count as consumed, and it is counted.

    Returns: loss (nats a token), lr and the gradient's norm, as far as they are finite.
    """
    settings, layout, optimizer = run.settings, run.settings.parallel, run.optimizer
    batch = settings.batches.after(run.position.samples)
    for chunk in run.chunks:
        chunk.zero_grad_buffer()
    optimizer.zero_grad()
    reports = get_forward_backward_func()(
        forward_step_func=run.forward_step,
        data_iterator=batches,
        model=run.chunks,
        num_microbatches=batch // (layout.micro_batch * layout.data),
        seq_length=settings.seq_length,
        micro_batch_size=layout.micro_batch,
        forward_only=False,
    )
    nats, tokens = evaluate.summed(reports)
    run.scheduler.step(increment=batch)
    numbers = {"loss": nats / tokens, "lr": optimizer.param_groups[0]["lr"]}
    overflow = optimizer.prepare_grads()
    numbers["grad"] = float(optimizer.get_grad_norm())
    good = not overflow and all(map(math.isfinite, numbers.values()))
    if good:
        optimizer.step()
    before = run.position
    run.position = Position(
        before.iteration + 1,
        before.samples + batch,
        before.skipped + (not good),
        0 if good else before.skipped_in_row + 1,
    )
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


def _check_losses(position: Position, settings: PretrainSettings, places: Places) -> None:
    if position.skipped_in_row >= settings.guard.max_skipped:
        raise PipelineError(
            f"{places.root}: loss or gradient not finite in {position.skipped_in_row} iterations in a row, up to iteration "
            f"{position.iteration}; lower optimizer.lr or lengthen optimizer.warmup under a new run name"
        )


def _anyone(asked: bool) -> bool:
    """Whether any rank was asked to stop, so that all stop after the same iteration."""
    flag = torch.tensor([float(asked)], device=runtime.DEVICE)
    dist.all_reduce(flag)
    return bool(flag.item())


@contextmanager
def _progress(run: Run) -> Iterator[Progress | None]:
    """The progress line, on rank 0 only."""
    if dist.get_rank():
        yield None
        return
    events = run.places.root / "events.jsonl"
    with Progress("事前学習", run.settings.iterations, "回", events=events, out=sys.stdout) as progress:
        progress.resume_at(run.position.iteration)
        progress.event(resumed_at=run.position.iteration, precision=run.precision, processes=dist.get_world_size())
        yield progress


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the checkpoints alone: a killed run's ranks may still be writing their last one."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("前の学習プロセスの終了を待っています…")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def stop_on_signals() -> Callable[[], bool]:
    """From now on SIGTERM and SIGINT only ask to stop; the returned function says whether one came."""
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: asked.append(number))
    return lambda: bool(asked)


def statistics(run: Run, vocab_size: int) -> dict[str, Any]:
    """What the manifest says of a finished training."""
    scores = run.validate()
    return {
        "iterations": run.position.iteration,
        "samples": run.position.samples,
        "tokens": run.position.samples * run.settings.seq_length,
        "skipped_iterations": run.position.skipped,
        "parameters": run.settings.model.parameters(vocab_size),
        "vocab_size": vocab_size,
        "precision": run.precision,
        "valid": {name: part.as_dict() for name, part in sorted(scores.items())} | {"total": evaluate.total(scores).as_dict()},
    }
