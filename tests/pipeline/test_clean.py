"""Removing artifacts: the run that was named and no other, never one that is being made, never half of one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import clean
from pipeline.artifact import begin_artifact, locked
from pipeline.errors import ConfigError, MissingInput, PipelineError
from pipeline.runfile import RunFile
from tests.helpers import kill_when, run_file


def seal(run: RunFile, stage: str) -> Path:
    with begin_artifact(run, stage, None, {}, recipe=1) as artifact:
        (artifact.data / "file").write_text(f"{run.name} {stage}", "utf-8")
        artifact.seal({})
    return run.root(stage)


def words(run: RunFile, *more: str) -> list[str]:
    return ["--run", str(run.path), "--artifacts", str(run.artifacts), *more]


def test_the_named_run_goes_and_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [run_file(tmp_path, "", name=name) for name in ("ja-1", "ja-1.3b", "demo")]
    roots = {(run.name, stage): seal(run, stage) for run in runs for stage in ("corpus", "index")}
    clean.main(words(runs[1], "--stage", "corpus"))
    assert str(roots["ja-1.3b", "corpus"]) in capsys.readouterr().out
    assert [key for key, root in roots.items() if not root.exists()] == [("ja-1.3b", "corpus")]
    clean.main(words(runs[1]))
    assert {key for key, root in roots.items() if not root.exists()} == {("ja-1.3b", "corpus"), ("ja-1.3b", "index")}
    clean.main(words(runs[1]))
    assert "削除するものはありません" in capsys.readouterr().out
    assert not list((tmp_path / "artifacts" / clean.REMOVED).iterdir())


@pytest.mark.parametrize("name", ["", " ", ".toml", "runs/", "..", "none"])
def test_what_names_no_run_removes_nothing(name: str, tmp_path: Path) -> None:
    root = seal(run_file(tmp_path, "", name="a"), "corpus")
    with pytest.raises((ConfigError, MissingInput)):
        clean.main(["--run", name, "--artifacts", str(tmp_path / "artifacts")])
    assert root.exists()


def test_what_is_being_made_is_not_removed(tmp_path: Path) -> None:
    run = run_file(tmp_path, "", name="a")
    with begin_artifact(run, "corpus", None, {}, recipe=1):
        with pytest.raises(PipelineError, match="another process is making this artifact"):
            clean.main(words(run))
        assert run.root("corpus").exists()
    clean.main(words(run))
    assert not run.root("corpus").exists()


def test_a_folder_that_was_removed_by_hand_is_never_sealed_by_two(tmp_path: Path) -> None:
    run = run_file(tmp_path, "", name="a")
    with begin_artifact(run, "corpus", None, {}, recipe=1) as first:
        subprocess.run(["rm", "-rf", str(first.root)], check=True)
        with pytest.raises(PipelineError, match="another process"), begin_artifact(run, "corpus", None, {}, recipe=1):
            pass
        first.root.mkdir()  # as a third process would
        with pytest.raises(PipelineError, match="removed while it was being made"):
            first.seal({})
    assert not (run.root("corpus") / "manifest.json").exists()


def test_killed_while_it_removes_nothing_half_stays_under_the_name(tmp_path: Path) -> None:
    run = run_file(tmp_path, "", name="a")
    with begin_artifact(run, "corpus", None, {}, recipe=1) as artifact:
        for number in range(3000):
            (artifact.data / f"{number}").write_bytes(b"x")
        artifact.seal({})
    root = run.root("corpus")
    command = [sys.executable, "-m", "pipeline.clean", *words(run)]
    kill_when(command, lambda: not root.exists())
    assert not root.exists()
    clean.main(words(run))
    assert not list((tmp_path / "artifacts" / clean.REMOVED).iterdir())
    assert seal(run, "corpus").exists()


def test_the_lock_outlives_the_folder(tmp_path: Path) -> None:
    run = run_file(tmp_path, "", name="a")
    root = seal(run, "corpus")
    code = (
        "import sys; from pathlib import Path; from pipeline.artifact import locked\n"
        f"with locked(Path({str(root)!r})): print(1, flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout and holder.stdout.readline() == "1\n"
    with pytest.raises(PipelineError, match="another process"):
        clean.main(words(run))
    os.kill(holder.pid, signal.SIGKILL)  # a lock dies with its process
    holder.wait()
    with locked(root):
        pass
