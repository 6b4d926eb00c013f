"""The wheel holds every file of the packages, and every command of it runs from another folder."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.imports import ROOT, STAGES, modules

IGNORED = ("__pycache__",)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built from a copy without network or dependencies."""
    source, out = tmp_path_factory.mktemp("source") / "minamoto", tmp_path_factory.mktemp("wheel")
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    ).stdout.decode().split("\0")  # fmt: skip
    for name in filter(None, tracked):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "benchmarks/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(out), str(source)], check=True, capture_output=True)
    (built,) = out.glob("*.whl")
    return built


def test_the_wheel_has_every_file_of_the_packages(wheel: Path) -> None:
    packaged = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *STAGES],
        cwd=ROOT, capture_output=True, check=True,
    ).stdout.decode().split("\0")  # fmt: skip
    assert packaged == {name for name in tracked if name and (ROOT / name).is_file()}


def commands() -> list[str]:
    """Modules that `python -m` runs."""
    names = []
    for name, path in modules().items():
        if path.name == "__main__.py":
            names.append(name.removesuffix(".__main__"))
        elif 'if __name__ == "__main__":' in path.read_text("utf-8"):
            names.append(name)
    return sorted(names)


# One process for all: each command parses --help and leaves by SystemExit, as `python -m` would.
USAGE = """
import contextlib, importlib.util, io, runpy, sys
prefix, names = sys.argv[1], sys.argv[2:]
for name in names:
    out, sys.argv = io.StringIO(), [name, "--help"]
    try:
        with contextlib.redirect_stdout(out):
            runpy.run_module(name, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code or 0
    origin = importlib.util.find_spec(name).origin
    assert origin.startswith(prefix) and code == 0 and "usage" in out.getvalue(), (name, code, origin, out.getvalue())
"""


def show_usages(python: Path, installed: Path, folder: Path, setup: str = "") -> None:
    """`--help` of every command, from `folder`, of the packages that are below `installed`."""
    names = commands()
    assert {"corpus", "pretrain.pack", "search.index", "bots.serve", "publish"} <= set(names)
    command = [str(python), "-W", "ignore", "-c", setup + USAGE, str(installed), *names]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_every_command_of_the_wheel_says_its_usage(wheel: Path, tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"]
    subprocess.run([*command, "--target", str(installed), str(wheel)], check=True, capture_output=True)
    show_usages(Path(sys.executable), installed, tmp_path, f"import sys; sys.path.insert(0, {str(installed)!r})\n")


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_every_command_runs_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    """With the dependencies that the wheel itself asks for, from the package registry, and nothing else."""
    home = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True, capture_output=True)
    python = home / "bin" / "python"
    command = [str(python), "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt"), str(wheel)]
    subprocess.run(command, check=True, capture_output=True)
    show_usages(python, home, tmp_path)
