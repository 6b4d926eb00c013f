"""The training loop of one rank. Imports torch and megatron; `pretrain.train` is the program around it."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
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
from megatron.core.utils import unwrap_model
from torch import Tensor

from pipeline.errors import ConfigError, PipelineError
from pretrain import runtime
from pretrain.checkpoint.load import load_checkpoint, newest_checkpoint
from pretrain.checkpoint.save import Saver
from pretrain.hf.load import load_hf
from pretrain.model.attention import DocumentMask, document_mask
from pretrain.model.build import build_chunks, build_optimizer, gather_weights
from pretrain.position import Position
from pretrain.settings import Precision, PretrainSettings
from pretrain.train import data, evaluate, guard, metrics
from pretrain.train.data import Datasets, data_settings
from pretrain.train.evaluate import Score
from pretrain.train.metrics import Log


@dataclass(frozen=True)
class RunPaths:
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
    paths: RunPaths
    precision: Precision
    eos_id: int
    counts: np.ndarray  # (vocabulary,) how often each token is in the training data
    datasets: Datasets
    chunks: list[Any]  # this rank's pieces of the model
    optimizer: Any
    scheduler: OptimizerParamScheduler
    position: Position
    saver: Saver
    scored: int = -1  # iteration of the last validation
    scores: dict[str, Score] = dataclasses.field(default_factory=dict)

    def forward_step(self, batches: Iterator[dict[str, Tensor]], model: Any) -> tuple[Tensor, Callable]:
        """megatron's forward_step_func: losses of the next micro-batch, and how to sum them.

        Raises: ConfigError if the samples are longer than the model has positions.
        """
        batch = {name: part.to(runtime.DEVICE, non_blocking=True) for name, part in next(batches).items()}
        bare: Any = unwrap_model(model)
        if (length := batch["tokens"].shape[1]) > bare.max_sequence_length:  # on a GPU learned positions would fail unreadably
            raise ConfigError(
                f"{self.paths.root}: a sample of {length} tokens, but the model has {bare.max_sequence_length} positions; "
                f"lower pretrain.seq_length"
            )
        ends = DocumentMask(None, None)
        if not self.settings.across_documents:
            ends = document_mask(batch["tokens"], self.eos_id, model.config.params_dtype)
        losses = model(batch["tokens"], batch["position_ids"], ends.bias, labels=batch["labels"], packed_seq_params=ends.packed)
        return losses, partial(token_loss, batch["loss_mask"])

    def validate(self) -> dict[str, Score]:
        """Scores of the held-out text as the model is."""
        if self.scored != self.position.iteration:
            self.scores = evaluate.score_held_out(self.chunks, self.forward_step, self.datasets, self.settings, self.counts)
            self.scored = self.position.iteration
        return self.scores

    def scores_as_dict(self) -> dict[str, dict[str, Any]]:
        """The last validation by source and in all, for events and manifest."""
        rows = {name: part.as_dict() for name, part in sorted(self.scores.items())}
        return rows | {"total": evaluate.sum_scores(self.scores).as_dict()}

    def save(self) -> None:
        """Leave a checkpoint."""
        gather_weights(self.chunks)
        self.saver.save(self.chunks, self.optimizer, self.position, self.precision)


def token_loss(mask_BS: Tensor, losses_BS: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(sum to differentiate, tokens to divide by, report of both): megatron's form of an exact mean over tokens."""
    loss, tokens = (losses_BS.view(-1).float() * mask_BS.view(-1)).sum(), mask_BS.sum()
    return loss, tokens.int(), torch.stack([loss.detach(), tokens])


def prepare_run(settings: PretrainSettings, paths: RunPaths, vocab_size: int, eos_id: int) -> Run:
    """Build data, model and optimizer, and go back to the newest checkpoint if there is one; all ranks together."""
    saved = newest_checkpoint(paths.checkpoints)
    precision = saved.precision if saved and settings.precision == "auto" else runtime.resolve_precision(settings.precision)
    datasets = data.build_datasets(paths.pack_data, data_settings(settings), eos_id=eos_id, cache=paths.root / "index")
    counts = evaluate.token_counts(datasets, vocab_size)
    if dist.get_rank() == 0:
        datasets.save_order(paths.root / "data" / "order")
    chunks = build_chunks(settings, precision, vocab_size)
    if settings.start and not saved:
        load_hf(settings, chunks, vocab_size)
    optimizer, scheduler = build_optimizer(settings, chunks)
    position = Position()
    if saved:
        load_checkpoint(saved, chunks, optimizer)
        position = saved.position
        scheduler.step(increment=position.samples)
    saver = Saver(paths.checkpoints, keep=settings.keep, background=settings.async_save)
    return Run(
        settings=settings,
        paths=paths,
        precision=precision,
        eos_id=eos_id,
        counts=counts,
        datasets=datasets,
        chunks=chunks,
        optimizer=optimizer,
        scheduler=scheduler,
        position=position,
        saver=saver,
    )


def train(run: Run, stopped: Callable[[], bool]) -> bool:
    """Train to the end, or until any rank is asked to stop; leave a checkpoint either way.

    Returns: whether the run is complete.
    Raises: PipelineError if too many iterations in a row were skipped.
    """
    settings = run.settings
    batches = _batches(run)
    with _open_log(run) as log:
        while run.position.iteration < settings.iterations:
            before, began = run.position, time.perf_counter()
            numbers = step(run, batches)
            stop, memory = _agree_across_ranks(stopped(), metrics.peak_memory())  # waits for the device
            seconds, done = time.perf_counter() - began, run.position.iteration
            run.saver.poll()
            if run.position.skipped > before.skipped:
                _handle_skip(run, numbers, log)
            last = done == settings.iterations
            if last or (not stop and settings.valid_every and done % settings.valid_every == 0):
                numbers["bits/byte"] = evaluate.sum_scores(run.validate()).bits_per_byte
            if log:
                read = run.position.samples - before.samples
                log.iteration(run.position, numbers, samples=read, seconds=seconds, memory=memory)
                if run.scored == done:
                    log.validation(done, run.scores_as_dict())
            due = settings.save_every and done % settings.save_every == 0 and not run.position.skipped_in_row
            if stop or last or due:
                run.save()
                if log:
                    log.saved(run.position)
            if stop:
                break
        run.saver.finish()
    return run.position.iteration == settings.iterations


def step(run: Run, batches: list[Iterator[dict[str, Tensor]]]) -> dict[str, float]:
    """One iteration: forward and backward over this rank's micro-batches, read once a piece of the model, then the optimizer.

    megatron's optimizer takes infinite and undefined gradients without a word and its weights never recover, so the
    guard is asked before it.

    Returns: loss (nats a token), lr and the gradient's norm, as far as they are finite.
    """
    settings, layout, optimizer = run.settings, run.settings.parallel, run.optimizer
    batch = settings.batch_schedule.size_at(run.position.samples)
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
    nats, tokens = evaluate.sum_reports(reports)
    run.scheduler.step(increment=batch)
    overflow = optimizer.prepare_grads()
    norm = math.inf if overflow else float(optimizer.get_grad_norm())
    numbers = {"loss": nats / tokens, "lr": optimizer.param_groups[0]["lr"], "grad": norm}
    verdict = guard.judge(settings.guard, run.position, numbers["loss"], norm)
    if verdict == "kept":
        optimizer.step()
    run.position = guard.advance(settings.guard, run.position, verdict, samples=batch, loss=numbers["loss"])
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


def _handle_skip(run: Run, numbers: Mapping[str, float], log: Log | None) -> None:
    """Say that an iteration was skipped; after too many in a row rewind, or stop."""
    limits, why = run.settings.guard, "spike" if {"loss", "grad"} <= numbers.keys() else "not finite"
    if log:
        log.skipped(run.position, why)
    if run.position.skipped_in_row < limits.max_skipped:
        return
    run.saver.finish()
    saved = newest_checkpoint(run.paths.checkpoints) if run.position.rewinds < limits.rewind else None
    if saved is None:
        raise PipelineError(f"{run.paths.root}: {guard.stop_message(limits, run.position, why)}")
    load_checkpoint(saved, run.chunks, run.optimizer)
    run.position = guard.rewind(run.position, saved.position)
    if log:
        log.rewound(run.position, saved.position.iteration)


def _batches(run: Run) -> list[Iterator[dict[str, Tensor]]]:
    """This rank's micro-batches from the run's position on, once a piece of the model."""
    return [
        data.train_batches(
            run.datasets,
            run.position.samples,
            micro_batch_size=run.settings.parallel.micro_batch,
            rank=ps.get_data_parallel_rank(),
            world=ps.get_data_parallel_world_size(),
            workers=run.settings.data_workers,
        )
        for _ in run.chunks
    ]


def _agree_across_ranks(asked: bool, memory: float) -> tuple[bool, float]:
    """Whether any rank was asked to stop, so that all stop after the same iteration; bytes of the fullest rank."""
    both = torch.tensor([float(asked), memory], dtype=torch.float64, device=runtime.DEVICE)
    dist.all_reduce(both, dist.ReduceOp.MAX)
    stop, most = both.tolist()
    return bool(stop), most


@contextmanager
def _open_log(run: Run) -> Iterator[Log | None]:
    """The log, on rank 0 only."""
    if dist.get_rank():
        yield None
        return
    root, vocab_size = run.paths.root, len(run.counts)
    with metrics.open_log(run.settings, root, run.datasets, run.position, vocab_size, precision=run.precision) as log:
        yield log


def collect_statistics(run: Run, vocab_size: int) -> dict[str, Any]:
    """What the manifest says of a finished training."""
    run.validate()
    return {
        "iterations": run.position.iteration,
        "samples": run.position.samples,
        "tokens": run.position.samples * run.settings.seq_length,
        "skipped_iterations": run.position.skipped,
        "parameters": run.settings.model.parameters(vocab_size, run.settings.seq_length),
        "vocab_size": vocab_size,
        "precision": run.precision,
        "rewinds": run.position.rewinds,
        "undone": [list(pair) for pair in run.position.discarded],
        "valid": run.scores_as_dict(),
    }
