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


def test_every_command_of_the_wheel_says_its_usage(wheel: Path, tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"]
    subprocess.run([*command, "--target", str(installed), str(wheel)], check=True, capture_output=True)
    names = commands()
    assert {"corpus", "pretrain.pack", "search.index", "bots.serve", "publish"} <= set(names)
    # One process for all: each command parses --help and leaves by SystemExit, as `python -m` would.
    code = (
        (
            "import contextlib, io, runpy, sys\n"
            "for name in sys.argv[2:]:\n"
            "    out, sys.argv = io.StringIO(), [name, '--help']\n"
            "    try:\n"
            "        with contextlib.redirect_stdout(out):\n"
            "            runpy.run_module(name, run_name='__main__', alter_sys=True)\n"
            "        code = 0\n"
            "    except SystemExit as end:\n"
            "        code = end.code or 0\n"
            "    place = __import__('importlib.util').util.find_spec(name).origin\n"
            "    text = out.getvalue()\n"
            "    assert place.startswith(PREFIX) and code == 0 and 'usage' in text, (name, code, place, text)\n"
        )
        .replace("sys.argv[2:]", repr(names))
        .replace("PREFIX", repr(str(installed)))
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"import sys; sys.path.insert(0, {str(installed)!r})\n{code}"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
