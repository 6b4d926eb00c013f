"""Artifacts: sealed last, checked on opening, resumed by receipt, never by a foreign recipe."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline import verify
from pipeline.artifact import Artifact, begin_artifact, lock_path, open_sealed
from pipeline.errors import CorruptArtifact, MissingInput, PipelineError, RecipeDrift
from pipeline.files import short_digest
from pipeline.runfile import RunFile
from tests.helpers import run_file

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Settings:
    width: int = 3


@pytest.fixture
def run(tmp_path: Path) -> RunFile:
    return run_file(tmp_path, "[corpus]\n")


def make(run: RunFile, settings: Settings | None = None, *, content: str = "源") -> Artifact:
    with begin_artifact(run, "corpus", settings or Settings(), {"fetch": "sha256:1"}, recipe=1) as artifact:
        if not artifact.sealed:
            (artifact.data / "a").mkdir(exist_ok=True)
            (artifact.data / "a" / "f.txt").write_text(content, "utf-8")
            (artifact.work / "scratch").write_text("gone once sealed")
            artifact.seal({"documents": 1}, licences=[{"source": "x", "licence": "CC0-1.0"}])
    return artifact


def test_sealed_again_is_the_same_and_skipped(run: RunFile) -> None:
    first = make(run)
    again = make(run, content="would differ if it ran")
    assert first.sealed and again.sealed and first.sealed.digest == again.sealed.digest
    assert not first.work.exists()
    assert again.sealed.body["licences"] == [{"source": "x", "licence": "CC0-1.0"}]


def test_digest_depends_on_contents_not_on_place(run: RunFile, tmp_path: Path) -> None:
    (tmp_path / "else").mkdir()
    other = run_file(tmp_path / "else", "[corpus]\n", name="another")
    ours, theirs = make(run).sealed, make(other).sealed
    assert ours and theirs and ours.digest == theirs.digest
    changed = make(run_file(tmp_path / "else", "", name="changed"), content="水").sealed
    assert changed and changed.digest != ours.digest


def test_changed_setting_is_drift_and_names_the_setting(run: RunFile) -> None:
    make(run)
    with pytest.raises(RecipeDrift, match=r"settings\.width: 3 -> 4") as caught:
        make(run, Settings(4))
    assert "make clean-corpus RUN=t" in str(caught.value)


def test_foreign_receipt_is_drift(run: RunFile) -> None:
    with begin_artifact(run, "corpus", Settings(), {}, recipe=1) as artifact:
        artifact.write_receipt("extract", "a", {"n": 1})
        assert artifact.read_receipt("extract", "a") == {"n": 1}
        assert artifact.read_receipt("extract", "b") is None
        artifact.fingerprint = "sha256:another"
        with pytest.raises(RecipeDrift):
            artifact.read_receipt("extract", "a")


@pytest.mark.parametrize("damage", ["flip", "cut", "missing", "extra", "manifest", "not json"])
def test_damage_is_found_and_said_in_one_line(run: RunFile, damage: str) -> None:
    root = make(run).root
    file, manifest = root / "data" / "a" / "f.txt", root / "manifest.json"
    if damage == "flip":
        file.write_text("泉", "utf-8")  # same length in bytes
    elif damage == "cut":
        file.write_text("", "utf-8")
    elif damage == "missing":
        file.unlink()
    elif damage == "extra":
        (root / "data" / "g.txt").write_text("?")
    elif damage == "manifest":
        manifest.write_text(manifest.read_text("utf-8").replace('"documents": 1', '"documents": 2'), "utf-8")
    else:
        manifest.write_text("{", "utf-8")
    with pytest.raises(CorruptArtifact, match="make clean-corpus RUN=t") as caught:
        open_sealed(root)
    assert "\n" not in str(caught.value)


def test_unsealed_is_missing_input(run: RunFile) -> None:
    with begin_artifact(run, "corpus", Settings(), {}, recipe=1), pytest.raises(MissingInput, match="make corpus RUN=t"):
        open_sealed(run.root("corpus"))


def test_leftovers_of_a_killed_process_are_swept_before_work(run: RunFile) -> None:
    with begin_artifact(run, "corpus", Settings(), {}, recipe=1) as artifact:
        (artifact.data / "f.unfinished-77").write_text("half")
    with begin_artifact(run, "corpus", Settings(), {}, recipe=1) as artifact:
        assert not list(artifact.data.iterdir())


def test_two_processes_never_make_one_artifact(run: RunFile) -> None:
    with begin_artifact(run, "corpus", Settings(), {}, recipe=1) as artifact:
        code = f"import fcntl; f = open({str(lock_path(artifact.root))!r}); fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)"
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "BlockingIOError" in other.stderr
        with pytest.raises(PipelineError, match="another process"), begin_artifact(run, "corpus", Settings(), {}, recipe=1):
            pass


def test_verify_follows_the_chain(run: RunFile, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = make(run).sealed
    assert corpus
    words = ["--run", str(run.path), "--artifacts", str(run.artifacts)]
    with begin_artifact(run, "pack", Settings(), {"corpus": corpus.digest}, recipe=1) as pack:
        pack.seal({})
    verify.main(words)
    assert "corpus: 1 個" in capsys.readouterr().out
    manifest = json.loads((run.root("corpus") / "manifest.json").read_text("utf-8"))
    subprocess.run(["rm", "-r", str(run.root("corpus"))], check=True)
    assert make(run, content="別の文書").sealed
    with pytest.raises(CorruptArtifact, match=f"made from corpus {short_digest(manifest['digest'])}"):
        verify.main(words)


def test_errors_end_with_one_line_and_status_2(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.verify", "--run", "demo", "--artifacts", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: MissingInput: ") and done.stderr.count("\n") == 1


def test_a_sealed_artifact_is_what_was_asked_for(run: RunFile) -> None:
    (make(run).root / "recipe.json").unlink()
    assert make(run).sealed
    with pytest.raises(RecipeDrift, match="begun with recipe"):
        make(run, Settings(width=4))


def test_an_artifact_under_another_name_is_refused(run: RunFile) -> None:
    root = make(run).root
    for other in (root.with_name("other"), root.parent.with_name("index") / root.name):
        other.parent.mkdir(exist_ok=True)
        shutil.copytree(root, other)
        with pytest.raises(CorruptArtifact, match=f"was sealed as corpus of run {run.name!r}"):
            open_sealed(other)
    open_sealed(root)


def test_a_link_inside_an_artifact_is_noticed(run: RunFile, tmp_path: Path) -> None:
    root = make(run).root
    (tmp_path / "elsewhere").mkdir()
    (root / "data" / "more").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CorruptArtifact, match="a link"):
        open_sealed(root)
