"""How a rank is asked to stop, and ends with its parent. Imports nothing heavy: signals also come while torch is loading."""

import contextlib
import ctypes
import signal
from collections.abc import Callable
from pathlib import Path

# Slurm's `--signal=USR1@120` announces the end of the time limit; Ctrl-C reaches every process of the terminal.
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def catch_stop_signals(file: Path | None = None) -> Callable[[], bool]:
    """From now on those signals only ask to stop; the returned function says whether one came, or the file is there."""
    asked: list[int] = []
    for number in STOP_SIGNALS:
        signal.signal(number, lambda number, frame: asked.append(number))
    return lambda: bool(asked) or (file is not None and file.exists())


def end_with_parent(number: int = signal.SIGTERM) -> None:
    """Ask Linux for SIGTERM, or another signal, when the process that started this one dies.

    Elsewhere the lock on the checkpoints still keeps a killed run's ranks apart from those of the next.
    """
    with contextlib.suppress(OSError, AttributeError):  # no prctl: not Linux
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number))
