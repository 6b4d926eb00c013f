"""Small things that many tests need."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pipeline.runfile import RunFile


def run_file(tmp_path: Path, text: str, *, name: str = "t", data: Path | None = None) -> RunFile:
    """A run whose artifacts are below `tmp_path`, from TOML text."""
    path = tmp_path / f"{name}.toml"
    path.write_text(text, "utf-8")
    return RunFile(name, path, tomllib.loads(text), (), tmp_path / "artifacts", data)


def instruction_texts() -> list[str]:
    """Japanese text that the repository itself has: every instruction, input and answer of the instruction data."""
    path = Path(__file__).parents[1] / "finetune" / "data" / "instructions-ja.jsonl"
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [row[key] for row in rows for key in ("instruction", "input", "output") if row.get(key)]


@contextlib.contextmanager
def busy_core() -> Iterator[None]:
    """Another process that computes all the time: what depends on how fast a machine is shows beside it."""
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        other.kill()
        other.wait()


def kill_when(command: Sequence[str], is_ready: Callable[[], bool], *, later: float = 0.0) -> None:
    """Start a command in a process group of its own; SIGKILL all of it some seconds after `is_ready` says so."""
    root = Path(__file__).parents[1]
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True)
        deadline = time.monotonic() + 200
        while not is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                errors.seek(0)
                raise AssertionError(f"no moment to kill it; exit code {process.poll()}:\n{errors.read()[-2000:]}")
            time.sleep(0.002)
        time.sleep(later)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    time.sleep(1)  # Ray's workers outlive it by a tenth of a second, and write
