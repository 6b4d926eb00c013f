"""What the batch script runs on the first node: preflight on every node, training, and back into the queue where it must go on.

The training is sealed: exit 0. Slurm announced the time limit (SIGUSR1), or the ranks were stopped and saved: requeue, exit 0.
Asked to end (SIGTERM, scancel): save, exit 0, no requeue. Something a user must mend (status 2): no requeue. Anything else, a
GPU or a node lost: requeue as long as this start has left a newer checkpoint than it found, so that no job dies in a circle.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import cli
from pipeline.errors import ConfigError, ExternalServiceError
from pipeline.progress import echo
from pretrain.checkpoint.files import list_finished
from pretrain.launch import ranks
from pretrain.settings import PretrainSettings

PORTS = range(20000, 30000)  # below Linux's ephemeral ports, which begin at 32768


@dataclass(frozen=True)
class Job:
    """The job that this process is the batch script of."""

    number: str
    nodes: int
    head: str  # host of the first node
    restarts: int

    @classmethod
    def from_environment(cls) -> "Job":
        """Raises: ConfigError outside a job; ExternalServiceError if scontrol cannot say which nodes it has."""
        try:
            number, nodes, names = (os.environ[f"SLURM_{name}"] for name in ("JOB_ID", "JOB_NUM_NODES", "JOB_NODELIST"))
        except KeyError as error:
            raise ConfigError(
                f"no Slurm job here ({error.args[0]} is not set); submit pretrain/launch/slurm/pretrain.sbatch, or run "
                f"`make pretrain`, which needs no Slurm"
            ) from error
        hosts = _scontrol("show", "hostnames", names).split()
        return cls(number, int(nodes), hosts[0], int(os.environ.get("SLURM_RESTART_COUNT", "0")))

    def launcher(self, processes: int) -> list[str]:
        """`[pretrain.parallel] launcher` for this job: one torchrun a node, which meet on the first.

        Raises: ConfigError if the processes do not divide over the nodes.
        """
        if processes % self.nodes:
            raise ConfigError(
                f"[pretrain.parallel]: {processes} processes (tensor * pipeline * data) do not divide over {self.nodes} nodes; "
                f"give sbatch another --nodes"
            )
        port = PORTS[int(re.sub(r"\D", "", self.number)) % len(PORTS)]
        torchrun = [sys.executable, "-m", "pretrain.launch.torchrun", f"--nnodes={self.nodes}"]
        torchrun += [f"--nproc-per-node={processes // self.nodes}", "--rdzv-backend=c10d"]
        torchrun += [f"--rdzv-endpoint={self.head}:{port}", f"--rdzv-id={self.number}-{self.restarts}"]
        return [*self.srun(), *torchrun]

    def srun(self) -> list[str]:
        """One task on every node, with all of its CPUs; when one fails the others are ended."""
        return ["srun", f"--nodes={self.nodes}", "--ntasks-per-node=1", "--cpu-bind=none", "--kill-on-bad-exit=1"]


def main(argv: Sequence[str] | None = None) -> None:
    """Check, train, and decide whether the job goes on."""
    arguments = cli.run_parser("pretrain.launch.slurm", __doc__ or "").parse_args(argv)
    run = cli.open_run(arguments)
    settings, job = run.settings("pretrain", PretrainSettings), Job.from_environment()
    words = _stage_options(arguments, job.launcher(settings.parallel.processes))
    root = run.root("pretrain")
    echo(f"Slurm ジョブ {job.number}: {job.nodes} ノード、先頭 {job.head}、再開 {job.restarts} 回目")
    doctor = [sys.executable, "-m", "pretrain.launch.doctor", *words]
    for check in ([*job.srun(), *doctor, "--alone"], doctor):
        if status := subprocess.run(check, check=False).returncode:
            sys.exit(status)
    before = _newest_checkpoint(root)
    status, received = _run_with_signals([sys.executable, "-m", "pretrain", *words])
    echo(f"学習プロセスの終了状態 {status}、チェックポイント {before or 'なし'} → {_newest_checkpoint(root) or 'なし'}")
    if (root / "manifest.json").exists() or (received and signal.SIGUSR1 not in received):
        sys.exit(0)
    if status == cli.USER_ERROR:
        sys.exit(status)
    if status and not received and _newest_checkpoint(root) == before:
        raise ExternalServiceError(
            f"{root}: the training ended with status {status} and no newer checkpoint than {before or 'none'}; the job is not "
            f"put back into the queue, see {root / ranks.LOG}"
        )
    _scontrol("requeue", job.number)
    echo("ジョブをキューに戻しました。最新のチェックポイントから続けます。")


def _stage_options(arguments: argparse.Namespace, launcher: list[str]) -> list[str]:
    """The options of `python -m pretrain`, with this job's launcher (which is not a part of a run's identity)."""
    return [*ranks.stage_options(arguments), f"--set=pretrain.parallel.launcher={json.dumps(launcher)}"]


def _run_with_signals(command: list[str]) -> tuple[int, list[int]]:
    """Run to the end; SIGUSR1 and SIGTERM to us are for the training, which then saves. Returns: exit status, signals."""
    received: list[int] = []
    started: list[subprocess.Popen] = []
    once = [signal.SIGTERM]  # a second one would end torchrun before the checkpoint is written

    def pass_on(number: int, frame: Any) -> None:
        received.append(number)
        if started and once:
            started[0].send_signal(once.pop())

    earlier = {number: signal.signal(number, pass_on) for number in (signal.SIGUSR1, signal.SIGTERM)}
    try:
        started.append(subprocess.Popen(command, start_new_session=True))
        if received and once:  # while it was being started
            started[0].send_signal(once.pop())
        return started[0].wait(), received
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _newest_checkpoint(root: Path) -> str | None:
    """Name of the newest whole checkpoint."""
    found = list_finished(root / "checkpoints")
    return found[-1].name if found else None


def _scontrol(*words: str) -> str:
    try:
        done = subprocess.run(["scontrol", *words], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = (getattr(error, "stderr", "") or str(error)).strip()
        raise ExternalServiceError(f"scontrol {' '.join(words)}: {said}") from error
    return done.stdout


if __name__ == "__main__":
    cli.stage_main(main)
