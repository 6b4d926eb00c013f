"""The Slurm job: what it starts, when it goes back into the queue, and when it does not. srun, scontrol and Python are fakes on
PATH; the fake Python is told what the training does."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from pipeline.errors import ConfigError, ExternalServiceError
from pipeline.runfile import RunFile, load_run
from pretrain.launch.slurm import __main__ as slurm
from pretrain.settings import PretrainSettings
from tests.helpers import run_file
from tests.pretrain.test_settings import TABLE

ROOT = Path(__file__).parents[3]
CHECKPOINT = 'mkdir -p "$ROOT/checkpoints/iter_0000{0}" && echo "{{}}" > "$ROOT/checkpoints/iter_0000{0}/checkpoint.json"'
SEALED = 'mkdir -p "$ROOT" && echo "{}" > "$ROOT/manifest.json"'


class Cluster:
    """A job of two nodes, as its batch script sees it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.run: RunFile = run_file(folder, TABLE)
        self.root, self.log, self.programs = self.run.root("pretrain"), folder / "log", folder / "bin"
        self.programs.mkdir()
        self.program("srun", f'echo "srun $*" >> {self.log}\nwhile [ "${{1#--}}" != "$1" ]; do shift; done\nexec "$@"')
        self.program("scontrol", f'echo "scontrol $*" >> {self.log}\nif [ "$1" = show ]; then printf "gpu07\\ngpu08\\n"; fi')
        self.training("exit 0")
        monkeypatch.setenv("PATH", f"{self.programs}:{os.environ['PATH']}")
        monkeypatch.setattr("sys.executable", str(self.programs / "python"))
        for name, value in (("JOB_ID", "4711"), ("JOB_NUM_NODES", "2"), ("JOB_NODELIST", "gpu[07-08]")):
            monkeypatch.setenv(f"SLURM_{name}", value)
        monkeypatch.setenv("SLURM_RESTART_COUNT", "1")

    def program(self, name: str, text: str) -> None:
        path = self.programs / name
        path.write_text(f"#!/bin/bash\nROOT={self.root}\n{text}\n", "utf-8")
        path.chmod(0o755)

    def training(self, does: str, doctor: str = "exit 0") -> None:
        """What `python -m pretrain` and `python -m pretrain.launch.doctor` do, as shell."""
        self.program("python", f'echo "$*" >> {self.log}\n[ "$2" = pretrain ] || {doctor}\n{does}')

    def start(self) -> int:
        """Run the job to its end; its exit status."""
        words = ["--run", str(self.run.path), "--artifacts", str(self.run.artifacts), "--set", "pretrain.parallel.data=4"]
        try:
            slurm.main(words)
        except SystemExit as ended:
            return int(ended.code or 0)
        return 0

    @property
    def said(self) -> list[str]:
        return self.log.read_text("utf-8").splitlines()

    @property
    def requeued(self) -> bool:
        return "scontrol requeue 4711" in self.said


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(tmp_path, monkeypatch)


def test_starts_one_torchrun_a_node_after_a_look_at_every_node(cluster: Cluster) -> None:
    cluster.training(SEALED)
    assert cluster.start() == 0 and not cluster.requeued
    everywhere, *_, doctor, train = [row for row in cluster.said if "pretrain" in row]
    assert everywhere.startswith("srun --nodes=2 --ntasks-per-node=1") and everywhere.endswith("--alone")
    assert "pretrain.launch.doctor" in doctor and "--alone" not in doctor
    words = train.split(" --set=pretrain.parallel.launcher=")
    assert words[0].startswith("-m pretrain --run") and "--set=pretrain.parallel.data=4" in words[0]
    run = load_run(str(cluster.run.path), overrides=("pretrain.parallel.data=4", f"pretrain.parallel.launcher={words[1]}"))
    launcher = run.settings("pretrain", PretrainSettings).parallel.launcher
    assert launcher[:2] == ("srun", "--nodes=2")
    assert launcher[-5:] == (
        "--nnodes=2", "--nproc-per-node=2", "--rdzv-backend=c10d", "--rdzv-endpoint=gpu07:24711", "--rdzv-id=4711-1",
    )  # fmt: skip


def test_torchrun_takes_the_launcher(cluster: Cluster) -> None:
    from torch.distributed.run import parse_args

    words = slurm.Job("4711", 2, "gpu07", 0).launcher(8)
    parsed = parse_args([*words[words.index("pretrain.launch.torchrun") + 1 :], "-m", "--", "pretrain.train", "--run", "x"])
    assert (parsed.nnodes, parsed.nproc_per_node, parsed.rdzv_endpoint) == ("2", "4", "gpu07:24711")
    assert (parsed.training_script, parsed.training_script_args) == ("pretrain.train", ["--run", "x"])


@pytest.mark.parametrize(("number", "again"), [(signal.SIGUSR1, True), (signal.SIGTERM, False)])
def test_a_time_limit_saves_and_requeues_a_cancelled_job_only_saves(
    cluster: Cluster, number: signal.Signals, again: bool
) -> None:
    """The training gets SIGTERM either way, leaves a checkpoint and exits 0."""
    wait = "for i in $(seq 600); do sleep 0.1; done; exit 9"
    cluster.training(f"trap '{CHECKPOINT.format('010')}; exit 0' TERM\nkill -{int(number)} $PPID\n{wait}")
    before = signal.getsignal(number)
    assert cluster.start() == 0
    assert (cluster.root / "checkpoints" / "iter_0000010").is_dir()
    assert cluster.requeued == again
    assert signal.getsignal(number) == before


def test_a_crash_goes_on_only_from_a_newer_checkpoint(cluster: Cluster) -> None:
    cluster.training(f"{CHECKPOINT.format('020')}; exit 1")
    assert cluster.start() == 0 and cluster.requeued
    cluster.log.unlink()
    with pytest.raises(ExternalServiceError, match=r"status 1 and no newer checkpoint than iter_0000020; .* not put back"):
        cluster.start()
    assert not cluster.requeued


def test_half_a_checkpoint_is_no_progress(cluster: Cluster) -> None:
    cluster.training(f"{CHECKPOINT.format('020.partial-1a')}; exit 1")
    with pytest.raises(ExternalServiceError, match="no newer checkpoint than none"):
        cluster.start()


def test_what_a_user_must_mend_ends_the_job(cluster: Cluster) -> None:
    cluster.training(f"{CHECKPOINT.format('030')}; exit 2")
    assert cluster.start() == 2 and not cluster.requeued


def test_a_failed_preflight_starts_no_training(cluster: Cluster) -> None:
    cluster.training(SEALED, doctor="exit 2")
    assert cluster.start() == 2
    assert not any("-m pretrain " in row for row in cluster.said)


def test_refused_in_one_line(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "3")
    with pytest.raises(ConfigError, match=r"4 processes .* do not divide over 3 nodes; give sbatch another --nodes"):
        cluster.start()
    cluster.program("scontrol", "echo 'Invalid node list' >&2; exit 1")
    with pytest.raises(ExternalServiceError, match=r"scontrol show hostnames gpu\[07-08\]: Invalid node list"):
        cluster.start()
    monkeypatch.delenv("SLURM_JOB_ID")
    with pytest.raises(ConfigError, match=r"no Slurm job here \(SLURM_JOB_ID is not set\)"):
        cluster.start()


def batch(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    script = ROOT / "pretrain" / "launch" / "slurm" / "pretrain.sbatch"
    return subprocess.run(["bash", str(script), *words], cwd=folder, capture_output=True, text=True, check=False)


def test_the_batch_script_becomes_the_job(tmp_path: Path) -> None:
    """Same process, so that B:USR1 reaches it; options as they were given."""
    (tmp_path / "pretrain" / "launch" / "slurm").mkdir(parents=True)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/bash\nprintf "%s\\n" "$BASHPID" "$@"\n', "utf-8")
    python.chmod(0o755)
    assert "which run?" in (none := batch(tmp_path)).stderr and none.returncode == 2
    done = batch(tmp_path, "runs/my run.toml", "--set", "a.b=c d")
    assert done.stdout.splitlines()[1:] == ["-m", "pretrain.launch.slurm", "--run", "runs/my run.toml", "--set", "a.b=c d"]
    assert "no checkout" in batch(tmp_path / "pretrain", "x").stderr
    asked = [
        row.split("=")[0]
        for row in (ROOT / "pretrain/launch/slurm/pretrain.sbatch").read_text("utf-8").splitlines()
        if "#SBATCH" in row
    ]
    assert {"#SBATCH --requeue", "#SBATCH --signal", "#SBATCH --open-mode"} <= set(asked)
