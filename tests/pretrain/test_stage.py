"""`python -m pretrain` as people run it: stopped, killed, resumed, sealed, skipped; and what it refuses."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from pipeline.artifact import Manifest, begin_artifact, open_sealed
from pipeline.errors import ConfigError, MissingInput, RecipeDrift
from pipeline.reading_order import Order
from pipeline.runfile import RunFile
from pretrain.__main__ import main
from pretrain.train import metrics
from tests.helpers import run_file

ROOT = Path(__file__).parents[2]
# Long enough that a poll of 20 ms sees the first of its checkpoints while it still trains.
TABLE = """
[pretrain]
iterations = 160
seq_length = 32
global_batch = 4
save_every = 10
valid_tokens = 400
precision = "fp32"
[pretrain.optimizer]
lr = 1e-2
min_lr = 1e-3
warmup = 8
[pretrain.model]
layers = 2
hidden = 32
heads = 4
kv_groups = 2
ffn = 48
[pretrain.parallel]
micro_batch = 2
"""


@pytest.fixture
def run(packed: tuple[RunFile, Manifest], tmp_path: Path) -> RunFile:
    """A run of its own with packed data."""
    made = run_file(tmp_path, TABLE)
    for stage in ("tokenizer", "pack"):
        shutil.copytree(packed[0].root(stage), made.root(stage))
    return made


def command(run: RunFile, *more: str) -> list[str]:
    options = ["--run", str(run.path), "--artifacts", str(run.artifacts), *more]
    return [sys.executable, "-m", "pretrain", *options]


def interrupted(run: RunFile, number: int) -> tuple[int, str]:
    """Start, send a signal once there is a checkpoint newer than at the start; exit status and output."""
    folder = run.root("pretrain") / "checkpoints"
    before = {p.name for p in folder.glob("iter_*[0-9]")}
    process = subprocess.Popen(command(run), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    while not {p.name for p in folder.glob("iter_???????")} - before:
        assert process.poll() is None, "it ended before anyone could interrupt it"
        time.sleep(0.02)
    process.send_signal(number)
    out, _ = process.communicate(timeout=120)
    assert not (run.root("pretrain") / "manifest.json").exists()
    return process.returncode, out


def whole(run: RunFile, *more: str) -> str:
    return subprocess.run(command(run, *more), cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


@pytest.mark.timeout(900)  # five times torch, megatron and torchrun are loaded: a minute each where other work has the cores
def test_stopped_and_killed_it_seals_the_same_bytes(run: RunFile, tmp_path: Path) -> None:
    other = run_file(tmp_path / "other", TABLE) if (tmp_path / "other").mkdir() is None else run
    for stage in ("tokenizer", "pack"):
        shutil.copytree(run.root(stage), other.root(stage))
    for number in (signal.SIGTERM, signal.SIGUSR1):  # Slurm's ways to say that time is up
        status, out = interrupted(run, number)
        assert status == 0 and "同じコマンドで続きから再開します" in out
    status, _ = interrupted(run, signal.SIGKILL)
    assert status == -signal.SIGKILL
    assert "検証 bits/byte" in whole(run)
    whole(other)
    sealed, uninterrupted = open_sealed(run.root("pretrain")), open_sealed(other.root("pretrain"))
    assert sealed.digest == uninterrupted.digest
    resumed = [row["resumed_at"] for row in events(run) if "resumed_at" in row]
    assert resumed[0] == 0 and len(resumed) >= 4 and all(0 < at < 160 for at in resumed[1:])
    check_artifact(sealed, open_sealed(run.root("pack")))
    began = time.monotonic()
    assert "作成済みのため省略します" in whole(run)
    assert time.monotonic() - began < 60  # no torch is loaded; the bound only catches a training
    assert "torch" not in modules_of_a_skipped_run(run)


def test_metrics_that_cannot_be_written_are_refused_before_the_training(run: RunFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"\[pretrain.logging\] wandb: the package wandb is not installed"):
        main(arguments(run, "--set", "pretrain.logging.wandb=ours"))
    assert not run.root("pretrain").exists()


def events(run: RunFile) -> list[dict]:
    return [json.loads(line) for line in (run.root("pretrain") / "events.jsonl").read_text("utf-8").splitlines()]


def check_artifact(sealed: Manifest, pack: Manifest) -> None:
    stats = sealed.stats
    assert (stats["iterations"], stats["samples"], stats["tokens"], stats["skipped_iterations"]) == (160, 640, 640 * 32, 0)
    assert (stats["rewinds"], stats["undone"]) == (0, [])
    assert stats["valid"].keys() == {*pack.stats["sources"], "total"}
    assert stats["valid"]["total"]["bits_per_byte"] < stats["valid"]["total"]["unigram_bits_per_byte"]
    assert sealed.body["licences"] == pack.body["licences"] and sealed.inputs["pack"] == pack.digest
    assert Order.open(sealed.data / "order", pack.data).total == 160
    model = AutoModelForCausalLM.from_pretrained(sealed.data / "hf")
    tokenizer = AutoTokenizer.from_pretrained(sealed.data / "hf")
    ids = torch.tensor([tokenizer.encode("こんにちは", add_special_tokens=False)])
    assert model(ids).logits.isfinite().all()


def modules_of_a_skipped_run(run: RunFile) -> set[str]:
    code = "import sys; from pretrain.__main__ import main; main(sys.argv[1:]); print(*sys.modules)"
    options = command(run)[3:]
    done = subprocess.run([sys.executable, "-c", code, *options], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_a_rank_that_refuses_is_heard_in_one_line(run: RunFile) -> None:
    """The error is raised below torchrun, in another process: a checkpoint's description that is not JSON."""
    folder = run.root("pretrain") / "checkpoints" / "iter_0000010"
    folder.mkdir(parents=True)
    (folder / "checkpoint.json").write_text("{", "utf-8")
    done = subprocess.run(command(run), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: CorruptArtifact: {folder / 'checkpoint.json'}: not a checkpoint's description")
    assert f"remove the folder {folder} and run again, to go on from the beginning" in line


def arguments(run: RunFile, *more: str) -> list[str]:
    return command(run, *more)[3:]


def test_inputs_that_do_not_belong_together(run: RunFile) -> None:
    with pytest.raises(ConfigError, match=r"\['wiki'\] are not packed; known: \['ja_man', 'ja_web'\]"):
        main(arguments(run, "--set", "pretrain.weights.wiki=1.0"))
    shutil.rmtree(run.root("tokenizer"))
    with pytest.raises(MissingInput, match="no sealed tokenizer artifact"):
        main(arguments(run))
    with begin_artifact(run, "tokenizer", {"vocab_size": 9}, {}, recipe=1) as artifact:
        artifact.seal({"vocab_size": 9})
    with pytest.raises(ConfigError, match=r"packed with tokenizer .* \(vocabulary 1280\), but .* \(vocabulary 9\)") as caught:
        main(arguments(run))
    assert "\n" not in str(caught.value)


def test_another_recipe_does_not_go_on_from_these_checkpoints(run: RunFile) -> None:
    root = run.root("pretrain")
    with begin_artifact(run, "pretrain", {"iterations": 1}, {}, recipe=1):
        pass
    with pytest.raises(RecipeDrift, match="clean-pretrain"):
        main(arguments(run))
    assert root.exists()
