"""How a rank is asked to stop. Imports nothing heavy, so that a signal is heard while torch is still being loaded."""

import signal
from collections.abc import Callable
from pathlib import Path

# Slurm's `--signal=USR1@120` announces the end of the time limit; Ctrl-C reaches every process of the terminal.
STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


def stop_on_signals(file: Path | None = None) -> Callable[[], bool]:
    """From now on those signals only ask to stop; the returned function says whether one came, or the file is there."""
    asked: list[int] = []
    for number in STOPPING:
        signal.signal(number, lambda number, frame: asked.append(number))
    return lambda: bool(asked) or (file is not None and file.exists())
