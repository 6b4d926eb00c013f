"""One rank of the training; torchrun starts as many as `[pretrain.parallel]` says (`python -m pretrain` starts torchrun).

Top-level imports stay light: torch and megatron come in `main`, after the arguments are understood.
"""

import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline import cli
from pipeline.artifact import open_sealed
from pipeline.errors import PipelineError
from pipeline.files import write_json
from pipeline.progress import echo
from pretrain.launch.ranks import ERROR, RESULT, STOP
from pretrain.process import catch_stop_signals, end_with_parent
from pretrain.settings import PretrainSettings
from tokenizer.encode import Tokenizer


def main(argv: Sequence[str] | None = None) -> None:
    """Train, or go on training; leave checkpoints, the data order, and at the end the statistics."""
    end_with_parent()
    arguments = cli.stage_parser("pretrain.train", __doc__ or "").parse_args(argv)
    run = cli.open_run(arguments)
    work = run.root("pretrain") / "work"
    try:
        settings = run.settings("pretrain", PretrainSettings)
        tokenizer = Tokenizer.load(open_sealed(run.root("tokenizer")).data)
        train_rank(settings, open_sealed(run.root("pack")).data, run.root("pretrain"), tokenizer.vocab_size, tokenizer.eos_id)
    except PipelineError as error:
        write_json(work / ERROR, {"kind": type(error).__name__, "message": str(error)})
        sys.exit(cli.USER_ERROR)


def train_rank(settings: PretrainSettings, pack_data: Path, root: Path, vocab_size: int, eos_id: int) -> None:
    """What every rank does, between joining the others and leaving them."""
    first = os.environ.get("RANK", "0") == "0"  # one rank asks the file system, and tells the others
    stopped = catch_stop_signals(root / "work" / STOP if first else None)
    import torch.distributed as dist

    from pretrain import runtime
    from pretrain.train import loop

    runtime.start(settings.parallel, settings.seed)
    places = loop.RunPaths(pack_data, root)
    with hold_lock(places.checkpoints) if dist.get_rank() == 0 else contextlib.nullcontext():
        dist.barrier()
        run = loop.prepare_run(settings, places, vocab_size, eos_id)
        if loop.train(run, stopped):
            stats = loop.collect_statistics(run, vocab_size)
            if dist.get_rank() == 0:
                write_json(root / "work" / RESULT, stats)
    runtime.stop()


@contextlib.contextmanager
def hold_lock(folder: Path) -> Iterator[None]:
    """Hold the checkpoints alone: a killed run's ranks may still be writing their last one."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            echo("前の学習プロセスの終了を待っています…")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    main()
