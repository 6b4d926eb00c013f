"""What the benchmarks of training compare is the same training."""

import math
from typing import Any

import pytest
import torch

from benchmarks import gpu
from benchmarks.pretrain import speed
from benchmarks.pretrain.pair import Ours, Theirs, across, llama_config, lr_at, random_batches
from pretrain.settings import Adam, Parallel, PretrainSettings
from tests.pretrain.helpers.ranks import run_ranks

VOCABULARY = 61


def losses(precision: Any, hows: list[Any]) -> dict[str, list[float]]:
    settings = across(
        PretrainSettings(
            iterations=8, seq_length=32, global_batch=4, model=gpu.TINY, optimizer=Adam(lr=1e-2, warmup=2),
            parallel=Parallel(micro_batch=2),
        )
    )  # fmt: skip
    ours = Ours(settings, precision, VOCABULARY)
    theirs = {how: Theirs(settings, how, ours.weights(), llama_config(settings, VOCABULARY)) for how in hows}
    seen: dict[str, list[float]] = {"ours": [], **{how: [] for how in hows}}
    for iteration in range(1, settings.iterations + 1):
        batches = random_batches(settings, VOCABULARY, seed=iteration)
        seen["ours"].append(ours.step(batches))
        for how, peer in theirs.items():
            seen[how].append(peer.step(batches, lr_at(settings, iteration)))
    return seen


def test_both_train_alike() -> None:
    (seen,) = run_ranks(1, losses, "fp32", ["fp32"])
    assert seen["ours"] == pytest.approx(seen["fp32"], rel=1e-5)
    assert len(set(seen["ours"])) == 8
    (seen,) = run_ranks(1, losses, "bf16", ["bf16", "autocast"])
    for how in ("bf16", "autocast"):
        assert seen["ours"] == pytest.approx(seen[how], rel=2e-2), how


@pytest.mark.skipif(speed.runtime.HAVE_CUDA, reason="it is about CPUs")
def test_speed_is_said_of_the_same_training(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A negative tolerance stands for a training that is not the same."""
    monkeypatch.setattr(speed, "TRIALS", 2)
    settings = across(speed.settings_of(gpu.TINY, 32))
    assert math.isfinite(speed.compare("tiny", settings, "fp32", VOCABULARY))
    said = capsys.readouterr().out
    for part in ("tiny, fp32, 1 thread", "ours is", "× transformers fp32 by the clock", "matrix products alone take"):
        assert part in said, part
    monkeypatch.setattr(speed, "ALIKE", {"fp32": -1.0})
    with pytest.raises(SystemExit, match=r"loss .* not the same training"):
        speed.compare("tiny", settings, "fp32", VOCABULARY)


def test_without_a_gpu_the_gpu_benchmark_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["gpu"])
    monkeypatch.setattr(gpu.runtime, "HAVE_CUDA", False)
    with pytest.raises(SystemExit) as stopped:
        gpu.main()
    assert stopped.value.code == 2
    assert "no CUDA device here" in capsys.readouterr().err


def report() -> list[tuple[str, float]]:
    gpu.WARM = gpu.ITERATIONS = 1
    return list(gpu.report(tiny=True, peak=1.0))


def test_its_report_has_every_figure() -> None:
    (lines,) = run_ranks(1, report)
    text = "\n".join(line for line, _ in lines)
    for part in ("sequence 32", "ours", "transformers bf16", "transformers autocast", "tokens/s", "TFLOP/s", "MFU", "aten::mm"):
        assert part in text, part
    (mfu,) = [mfu for _, mfu in lines if math.isfinite(mfu)]
    assert 0 < mfu < 1


@pytest.mark.gpu
def test_a_gpu_has_a_known_peak() -> None:
    from pretrain.cost import peak_tflops

    assert peak_tflops(torch.cuda.get_device_name()) > 0
