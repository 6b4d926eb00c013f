"""The preflight: machines on which a run would fail are refused in one line before it starts; the others are described."""

import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigError, DiskFull, ExternalServiceError, MissingInput
from pretrain import cost
from pretrain.launch import doctor
from pretrain.launch.doctor import Machine
from pretrain.settings import Parallel, PretrainSettings
from tests.helpers import run_file
from tests.pretrain.helpers.training import tiny
from tests.pretrain.test_settings import TABLE

GiB = 2**30
NODE = Machine(
    gpus=(("NVIDIA H100 80GB HBM3", 79 * GiB),) * 8,
    memory=1000 * GiB,
    bf16=True,
    torch="2.13.0",
    cuda="13.0",
    nccl="2.28.9",
    driver="580.65.06",
    driver_gpus=8,
    transformer_engine="",
    transformer_engine_error="",
)
CPU = dataclasses.replace(NODE, gpus=(), memory=16 * GiB, bf16=False, cuda="", nccl="", driver="", driver_gpus=0)


def devices(machine: Machine, **changes: Any) -> list[str]:
    precision = changes.pop("precision", "auto")
    layout = Parallel(**changes)
    size = layout.processes * layout.micro_batch
    return doctor.check_devices(tiny(layout, global_batch=size, seq_length=32, precision=precision), machine)


def test_a_good_node_is_described() -> None:
    said = "\n".join(devices(NODE, data=8))
    assert "H100 80GB HBM3 × 8" in said and "NCCL 2.28.9" in said and "580.65.06" in said and "注意:" not in said
    assert "2.9" in "\n".join(devices(dataclasses.replace(NODE, transformer_engine="2.9"), data=8))
    assert "8 枚のうち 2 枚しか" in "\n".join(devices(NODE, data=2))
    assert "GPU は見つかりません" in devices(CPU)[0]
    assert "GPU は見つかりません" not in devices(CPU, gpu=False)[0]
    spread = Parallel(tensor=2, data=1, launcher=("srun", "torchrun", "--nnodes=2"))
    assert "tensor = 2 がノードをまたぎます" in "\n".join(doctor.check_devices(tiny(spread), NODE))


@pytest.mark.parametrize(
    ("machine", "changes", "said"),
    [
        ({"gpus": (), "cuda": ""}, {}, r"8 NVIDIA GPU\(s\) here, driver 580.65.06, but torch 2.13.0 .* built for the CPU"),
        ({"gpus": ()}, {}, "it wants CUDA 13.0, more than the driver offers; install a torch that fits"),
        ({}, {"data": 9}, r"9 processes on this node, but it has 8 GPU\(s\)"),
        ({}, {"data": 9, "launcher": ("srun", "torchrun", "--nnodes=2")}, "9 processes do not divide over 2 nodes"),
        ({"nccl": ""}, {}, "torch 2.13.0 has no NCCL"),
        ({"bf16": False}, {"precision": "bf16"}, "does not multiply bf16"),
        (
            {"transformer_engine": "2.9", "transformer_engine_error": "libcudnn.so.9: no"},
            {},
            "Transformer Engine is installed but .* libcudnn.so.9",
        ),
    ],
)
def test_refused_in_one_line(machine: dict[str, Any], changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        devices(dataclasses.replace(NODE, **machine), **changes)
    assert "\n" not in str(caught.value)


def run_of(name: str, **layout: Any) -> PretrainSettings:
    from pipeline.runfile import load_run

    settings = load_run(str(Path(__file__).parents[3] / "runs" / f"{name}.toml")).settings("pretrain", PretrainSettings)
    return dataclasses.replace(settings, parallel=dataclasses.replace(settings.parallel, **layout))


def test_memory_is_refused_where_the_estimate_does_not_fit() -> None:
    """13.7 billion weights: 18 bytes each do not fit a GPU; a quarter, with moments over 64 ranks, does."""
    whole = run_of("ja-13b", tensor=1, sequence=False, data=8, distributed_optimizer=False)
    with pytest.raises(ConfigError, match=r"the fullest rank needs about \d+\.\d GiB \(weights 25\.\d, .*a GPU offers 72\.7"):
        doctor.check_memory(whole, 99_584, "bf16", NODE)
    assert "GPU 1 枚で" in doctor.check_memory(run_of("ja-13b"), 99_584, "bf16", NODE)
    with pytest.raises(ConfigError, match=r"the 8 ranks need about .* this machine, which has no GPU to use, offers 16\.0"):
        doctor.check_memory(whole, 99_584, "bf16", CPU)


def test_the_smallest_gpu_counts() -> None:
    settings = run_of("ja-1.3b")
    need = cost.estimate_memory(settings, 99_584).total
    small = dataclasses.replace(NODE, gpus=(*NODE.gpus[1:], ("NVIDIA H100 80GB HBM3", int(need / doctor.USABLE) - 1)))
    with pytest.raises(ConfigError, match="the fullest rank needs"):
        doctor.check_memory(settings, 99_584, "bf16", small)
    fits = dataclasses.replace(NODE, gpus=(*NODE.gpus[1:], ("NVIDIA H100 80GB HBM3", int(need / doctor.USABLE) + 1)))
    assert "メモリー見積り" in doctor.check_memory(settings, 99_584, "bf16", fits)


def test_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for `keep` checkpoints, the one being written and the export; what is there already needs none."""
    settings, root = tiny(keep=2), tmp_path / "artifacts" / "pretrain" / "t"
    one = cost.checkpoint_bytes(settings, 61, "fp32")
    need = 3 * one + 4 * settings.model.parameters(61)
    usage: Any = type("usage", (), {})
    monkeypatch.setattr("shutil.disk_usage", lambda place: usage)
    usage.free = need - 1
    with pytest.raises(DiskFull, match=r"GiB free, the run needs .*: 3 checkpoints of .*lower \[pretrain\] keep"):
        doctor.check_disk(settings, 61, "fp32", root)
    usage.free = need
    assert str(tmp_path) in doctor.check_disk(settings, 61, "fp32", root)
    (root / "checkpoints" / "iter_0000001").mkdir(parents=True)
    (root / "checkpoints" / "iter_0000001" / "__0_0.distcp").write_bytes(bytes(one))
    usage.free = need - one
    assert "ディスク" in doctor.check_disk(settings, 61, "fp32", root)


@pytest.mark.parametrize(
    ("text", "found"), [("printf '580.65.06\\n580.65.06\\n'", ("580.65.06", 2)), ("exit 9", ("", 0)), ("true", ("", 0))]
)
def test_driver_as_nvidia_smi_says(text: str, found: tuple[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{text}\n", "utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert doctor._nvidia_smi() == found
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    assert doctor._nvidia_smi() == ("", 0)


def test_this_machine_as_it_is() -> None:
    machine = doctor.inspect_machine(gpu=False)
    assert machine.gpus == () and machine.torch and 0 < machine.memory < 2**50


@pytest.mark.parametrize("launcher", [(), ("srun-of-nowhere",)], ids=["torchrun", "missing"])
def test_every_rank_takes_part_in_a_sum(launcher: tuple[str, ...]) -> None:
    settings = tiny(Parallel(data=2, gpu=False, launcher=launcher))
    if launcher:
        with pytest.raises(ConfigError, match="launcher: srun-of-nowhere cannot be started"):
            doctor.check_ranks(settings)
    else:
        assert "2 プロセス (gloo) で総和が一致" in doctor.check_ranks(settings)


def test_ranks_that_do_not_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    failing = (sys.executable, "-c", "raise RuntimeError('no route to host')")
    with pytest.raises(
        ExternalServiceError, match="2 processes: the ranks ended without a sum: RuntimeError: no route to host"
    ):
        doctor.check_ranks(tiny(Parallel(data=2, gpu=False, launcher=failing)))
    monkeypatch.setattr(doctor, "PROBE_SECONDS", 0.2)
    with pytest.raises(ExternalServiceError, match=r"no sum within 0\.2 s: they said nothing"):
        doctor.check_ranks(tiny(Parallel(data=2, gpu=False, launcher=(sys.executable, "-c", "import time; time.sleep(60)"))))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The vocabulary comes from [tokenizer] as long as nothing is packed; an error names the run file."""
    run = run_file(
        tmp_path, TABLE + "[pretrain.parallel]\ngpu = false\n[tokenizer]\nvocab_size = 4096\nmax_characters = 1000\n"
    )
    words = ["--run", str(run.path), "--artifacts", str(run.artifacts)]
    doctor.main(words)
    assert "始められます" in capsys.readouterr().out
    with pytest.raises(ConfigError, match=rf"{run.path}: \[pretrain\.parallel\]: .*the fullest rank needs"):
        doctor.main([*words, "--set", "pretrain.model.hidden=131072"])
    with pytest.raises(MissingInput, match="no such run file"):
        doctor.main(["--run", "nowhere.toml"])
