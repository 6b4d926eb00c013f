"""Start the ranks of a training, pass signals on to them, and understand how they ended. Imports no torch."""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline import errors
from pipeline.artifact import Artifact
from pipeline.errors import ExternalServiceError, PipelineError
from pretrain.process import STOP_SIGNALS
from pretrain.settings import Parallel

RESULT, ERROR, STOP, LOG = "trained.json", "error.json", "stop", "torchrun.log"  # STOP: the ranks save and end when it is there
LOG_LINES = 30  # of the log's end, shown when the ranks failed for a reason of their own


def run_training(artifact: Artifact, parallel: Parallel, arguments: list[str]) -> dict[str, Any] | None:
    """Run `pretrain.train` on every rank and wait for it.

    Standard error of the ranks goes to torchrun.log; their standard output is ours.

    Args:
        arguments: the options of this command, which the ranks read again.
    Returns: the statistics of the finished training; None if it was asked to stop (SIGTERM, SIGUSR1) and left a checkpoint.
    Raises: the PipelineError that a rank raised; KeyboardInterrupt after SIGINT, once a checkpoint is left;
        ExternalServiceError if a rank was killed.
    """
    result, error, stop, log = artifact.work / RESULT, artifact.work / ERROR, artifact.work / STOP, artifact.root / LOG
    if result.exists():
        return json.loads(result.read_text("utf-8"))
    error.unlink(missing_ok=True)
    stop.unlink(missing_ok=True)
    with log.open("ab") as stderr:
        begin = stderr.tell()
        process = subprocess.Popen(
            rank_command(parallel, arguments), stderr=stderr, env=rank_environment(parallel), start_new_session=True
        )
        with _forward_stop_signals(process, stop) as received:
            status = process.wait()
    if error.exists():
        said = json.loads(error.read_text("utf-8"))
        raise getattr(errors, said["kind"], PipelineError)(said["message"])
    if signal.SIGINT in received:
        raise KeyboardInterrupt
    if result.exists():
        return json.loads(result.read_text("utf-8"))
    if received or status == 0:
        return None
    raise _explain_failure(log, begin, status)


def rank_command(parallel: Parallel, arguments: list[str], module: str = "pretrain.train") -> list[str]:
    """What starts `module` on every rank; `--` keeps torchrun from taking options of ours that look like its own."""
    local = [sys.executable, "-m", "pretrain.launch.torchrun", "--standalone", "--local-addr=127.0.0.1"]
    launcher = list(parallel.launcher) or [*local, f"--nproc-per-node={parallel.processes}"]
    return [*launcher, "-m", "--", module, *arguments]


def stage_options(arguments: argparse.Namespace) -> list[str]:
    """The shared options of a stage as they were given, for the ranks to read again."""
    given = [f"--run={arguments.run}", f"--artifacts={arguments.artifacts}", *(f"--set={text}" for text in arguments.set)]
    return given + ([f"--data={arguments.data}"] if arguments.data else [])


def rank_environment(parallel: Parallel) -> dict[str, str]:
    """What must be known before torch is loaded.

    Threads that wait must sleep: spinning, as OpenMP does by itself, made an iteration of two threads take 20 times
    as long (5.0 s instead of 0.28 s) on a machine with other work. Without a number, torchrun would choose one thread.
    """
    # A torchrun that is told to end kills its ranks after this: a last checkpoint may take as long as a collective may.
    chosen = {"OMP_WAIT_POLICY": "PASSIVE", "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(60 * parallel.timeout_minutes)}
    if parallel.threads:
        chosen["OMP_NUM_THREADS"] = str(parallel.threads)
    if not parallel.gpu:
        chosen["CUDA_VISIBLE_DEVICES"] = ""
    return {**os.environ, **chosen}


@contextlib.contextmanager
def _forward_stop_signals(process: subprocess.Popen, stop: Path) -> Iterator[list[int]]:
    """A signal to us makes the file `stop`, at which the ranks of every machine save and end; a second SIGTERMs torchrun.

    Not at once, for torchrun kills its ranks 30 s after a signal, and a checkpoint may take longer.
    """
    received: list[int] = []

    def ask(number: int, frame: Any) -> None:
        received.append(number)
        if len(received) == 1:
            stop.touch()
        else:
            process.send_signal(signal.SIGTERM)

    before = {number: signal.signal(number, ask) for number in STOP_SIGNALS}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _explain_failure(log: Path, begin: int, status: int) -> Exception:
    with log.open("rb") as file:
        file.seek(begin)
        text = file.read().decode("utf-8", "replace")
    if "Signal 9 (SIGKILL)" in text or status == -signal.SIGKILL:
        return ExternalServiceError(
            f"{log}: a training process was killed (signal 9), most often for want of memory; run again to go on from the "
            f"last checkpoint, a smaller parallel.micro_batch needs less"
        )
    end = "\n".join(text.splitlines()[-LOG_LINES:])
    return RuntimeError(f"the training ended with status {status}; {log} ends with:\n{end}")
