"""Starting ranks: the command line survives torchrun, signals and failures are understood."""

import signal
import sys
from pathlib import Path

import pytest

from pipeline import cli
from pipeline.artifact import Artifact, begin_artifact
from pipeline.errors import ConfigError, ExternalServiceError
from pretrain.launch import ranks
from pretrain.settings import Parallel
from tests.helpers import run_file


def artifact_of(tmp_path: Path) -> Artifact:
    with begin_artifact(run_file(tmp_path, ""), "pretrain", {}, {}, recipe=1) as artifact:
        return artifact


def with_program(program: str) -> Parallel:
    """A launcher that runs `program` instead of any rank."""
    return Parallel(launcher=(sys.executable, "-c", program))


def test_options_pass_through_torchrun() -> None:
    """--run, --set and --data are abbreviations of torchrun's own options, or clash with them."""
    from torch.distributed.run import parse_args

    given = ["--run", "demo", "--set", "pretrain.seed=5", "--set", "a.b=c d", "--data", "/x", "--artifacts", "out"]
    options = ranks.stage_options(cli.stage_parser("pretrain", "").parse_args(given))
    words = ranks.rank_command(Parallel(data=2), options)
    parsed = parse_args(words[words.index("pretrain.launch.torchrun") + 1 :])
    assert (parsed.nproc_per_node, parsed.module, parsed.training_script) == ("2", True, "pretrain.train")
    again = cli.stage_parser("pretrain.train", "").parse_args(parsed.training_script_args)
    assert (again.run, again.set, again.data, again.artifacts) == ("demo", ["pretrain.seed=5", "a.b=c d"], "/x", "out")


def test_any_module_is_started_on_every_rank() -> None:
    words = ranks.rank_command(Parallel(launcher=("srun", "torchrun")), ["out.json"], module="pretrain.launch.probe")
    assert words == ["srun", "torchrun", "-m", "--", "pretrain.launch.probe", "out.json"]


def test_torchrun_waits_for_a_last_checkpoint() -> None:
    """Told to end, it kills its ranks after 30 s of its own; ours may write as long as a collective may take."""
    from torch.distributed.launcher.api import LaunchConfig

    with pytest.MonkeyPatch.context() as patch:
        for name, value in ranks.rank_environment(Parallel(timeout_minutes=7)).items():
            patch.setenv(name, value)
        assert LaunchConfig(min_nodes=1, max_nodes=1, nproc_per_node=1).shutdown_timeout == 420


def test_results_and_errors_come_back(tmp_path: Path) -> None:
    artifact = artifact_of(tmp_path)
    failing = f"""
import json, sys
open({str(artifact.work / ranks.ERROR)!r}, "w").write(json.dumps({{"kind": "ConfigError", "message": "so"}}))
sys.exit(1)"""
    with pytest.raises(ConfigError, match=r"^so$"):
        ranks.run_training(artifact, with_program(failing), [])
    assert ranks.run_training(artifact, with_program(f"open({str(artifact.work / ranks.RESULT)!r}, 'w').write('[1]')"), []) == [
        1
    ]
    assert ranks.run_training(artifact, with_program("raise SystemExit(1)"), []) == [1], "what is done is not done again"


def test_failures_show_the_end_of_the_log(tmp_path: Path) -> None:
    artifact = artifact_of(tmp_path)
    with pytest.raises(RuntimeError, match=r"status 1; .*torchrun\.log ends with:(?s:.*)ZeroDivisionError"):
        ranks.run_training(artifact, with_program("1 / 0"), [])
    killed = with_program("import os; os.kill(os.getpid(), 9)")
    with pytest.raises(ExternalServiceError, match=r"killed \(signal 9\), most often for want of memory"):
        ranks.run_training(artifact, killed, [])
    with pytest.raises(RuntimeError) as caught:
        ranks.run_training(artifact, with_program("raise SystemExit(7)"), [])
    assert "ZeroDivisionError" not in str(caught.value), "only what this attempt said"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_asks_the_ranks_to_stop(tmp_path: Path, number: int) -> None:
    """It leaves them as much time as they need: they see a file, and no signal reaches torchrun, which would count 30 s."""
    artifact = artifact_of(tmp_path)
    (artifact.work / ranks.STOP).touch()  # of an earlier attempt: means nothing
    program = f"""
import os, pathlib, sys, time
stop = pathlib.Path({str(artifact.work / ranks.STOP)!r})
if stop.exists(): sys.exit(4)
os.kill(os.getppid(), {int(number)})
while not stop.exists(): time.sleep(0.01)
time.sleep(0.2)"""
    before = signal.getsignal(number)
    if number == signal.SIGINT:
        with pytest.raises(KeyboardInterrupt):
            ranks.run_training(artifact, with_program(program), [])
    else:
        assert ranks.run_training(artifact, with_program(program), []) is None
    assert signal.getsignal(number) == before


def test_a_second_signal_insists(tmp_path: Path) -> None:
    """Ranks that never look (a hung collective) end as torchrun ends them."""
    artifact = artifact_of(tmp_path)
    program = f"""
import os, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
os.kill(os.getppid(), signal.SIGTERM)
while not pathlib.Path({str(artifact.work / ranks.STOP)!r}).exists(): time.sleep(0.01)
os.kill(os.getppid(), signal.SIGUSR1)
time.sleep(60)
os._exit(3)"""
    assert ranks.run_training(artifact, with_program(program), []) is None
