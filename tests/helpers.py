"""Small things that many tests need."""

import tomllib
from pathlib import Path

from pipeline.runfile import RunFile


def run_file(tmp_path: Path, text: str, *, name: str = "t", data: Path | None = None) -> RunFile:
    """A run whose artifacts lie below `tmp_path`, from TOML text."""
    path = tmp_path / f"{name}.toml"
    path.write_text(text, "utf-8")
    return RunFile(name, path, tomllib.loads(text), (), tmp_path / "artifacts", data)
