"""Small things that many tests need."""

import contextlib
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
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
