"""What is written down of a training: events, TensorBoard, wandb; each number against its own truth."""

import dataclasses
import io
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from pipeline.errors import BadInput, ConfigError
from pipeline.reading_order import Order
from pretrain import cost
from pretrain.position import Position
from pretrain.settings import Logging, PretrainSettings
from pretrain.train import loop, metrics
from tests.pretrain.helpers.packs import EOS, write_pack
from tests.pretrain.helpers.ranks import run_ranks
from tests.pretrain.helpers.training import VOCABULARY, numbers_of, prepared, tiny, tiny_pack, with_layout

LOGGED = Logging(tensorboard=True, peak_tflops=0.5)


def events(root: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (root / metrics.EVENTS).read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[int, dict[str, float]], PretrainSettings]:
    """A run on two ranks, stopped after its third iteration and resumed: its root, its pack, what the steps said."""
    folder = tmp_path_factory.mktemp("logged")
    settings = with_layout(tiny(valid_every=2, logging=LOGGED, save_every=2, keep=1), data=2)
    pack, root = tiny_pack(folder / "pack"), folder / "run"
    first = run_ranks(2, numbers_of, settings, pack, root, 3)[0]
    return root, pack, first | run_ranks(2, numbers_of, settings, pack, root, 0)[0], settings


def test_a_row_an_iteration(logged: Any) -> None:
    root, _, said, settings = logged
    rows = [row for row in events(root) if "loss" in row]
    assert [row["done"] for row in rows] == [1, 2, 3, 4, 5, 6]
    each = cost.flops_per_token(settings.model, settings.seq_length, VOCABULARY)
    for row in rows:
        assert {name: row[name] for name in ("loss", "lr", "grad")} == pytest.approx(
            {name: said[row["done"]][name] for name in ("loss", "lr", "grad")}, rel=1e-12
        )
        assert (row["samples"], row["tokens"], row["total"]) == (4 * row["done"], 4 * 24 * row["done"], 6)
        assert row["tokens/s/gpu"] == pytest.approx(row["tokens/s"] / 2, rel=1e-5)
        assert row["tflops"] == pytest.approx(row["tokens/s/gpu"] * each / 1e12, rel=1e-5)
        assert row["mfu"] == pytest.approx(row["tflops"] / 0.5, rel=1e-5)
        assert 0.1 < row["memory_gib"] < 20  # a process that has loaded torch
    assert [row["resumed_at"] for row in events(root) if "resumed_at" in row] == [0, 3]


def test_validation_by_source_and_epochs_by_source(logged: Any) -> None:
    root, pack, _, _ = logged
    valid = {row["iteration"]: row["valid"] for row in events(root) if "valid" in row}
    assert sorted(valid) == [2, 4, 6] and all(scores.keys() == {"a", "b", "total"} for scores in valid.values())
    shown = {row["done"]: row["bits/byte"] for row in events(root) if "bits/byte" in row}
    assert shown == pytest.approx({i: scores["total"]["bits_per_byte"] for i, scores in valid.items()}, abs=1e-5)
    order = Order.open(root / "data" / "order", pack)
    saved = [row for row in events(root) if "saved" in row]
    assert [row["saved"] for row in saved] == [2, 3, 4, 6]
    for row in saved:
        read: dict[str, int] = {"a": 0, "b": 0}
        for iteration in range(1, row["saved"] + 1):
            for span in order.documents(iteration):
                read[span.source] += span.end - span.begin
        sizes = {name: (pack / name / "train.bin").stat().st_size / 2 for name in read}  # uint16
        assert row["epochs"] == pytest.approx({name: read[name] / sizes[name] for name in read}, abs=1e-4)


def test_tensorboard_has_every_iteration_once(logged: Any) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    root, _, said, _ = logged
    found = EventAccumulator(str(root / "tensorboard"), size_guidance={"scalars": 0})
    found.Reload()
    names = set(found.Tags()["scalars"])
    assert {"train/loss", "train/grad", "train/lr", "train/mfu", "train/memory_gib", "train/tokens/s/gpu"} <= names
    assert {"valid/a/loss", "valid/b/bits_per_byte", "valid/total/bits_per_byte", "epochs/a"} <= names
    losses = {event.step: event.value for event in found.Scalars("train/loss")}
    assert losses == pytest.approx({iteration: numbers["loss"] for iteration, numbers in said.items()}, rel=1e-6)
    assert len(found.Scalars("train/loss")) == 6


class _FakeRun:
    def __init__(self, given: dict[str, Any]) -> None:
        self.given, self.rows, self.finished = given, [], False

    def log(self, numbers: dict[str, float], step: int) -> None:
        self.rows.append((step, numbers))

    def finish(self) -> None:
        self.finished = True


def test_wandb_goes_on_with_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[_FakeRun] = []
    fake: Any = ModuleType("wandb")
    fake.init = lambda **given: made.append(_FakeRun(given)) or made[-1]
    monkeypatch.setitem(sys.modules, "wandb", fake)
    for number in (0, 1):
        sink = metrics.Wandb("ours", tmp_path)
        sink.add(number + 1, {"train/loss": 2.5})
        sink.close()
    assert [run.given | {"id": ""} for run in made] == [
        {"project": "ours", "name": tmp_path.name, "id": "", "resume": "allow", "dir": str(tmp_path)}
    ] * 2
    assert made[0].given["id"] == made[1].given["id"] and len(made[0].given["id"]) == 16
    assert [run.rows for run in made] == [[(1, {"train/loss": 2.5})], [(2, {"train/loss": 2.5})]]
    assert all(run.finished for run in made)


def test_a_missing_package_is_said_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "find_spec", lambda name: None)
    metrics.check_packages(Logging())
    for logging, name in ((Logging(wandb="ours"), "wandb"), (Logging(tensorboard=True), "tensorboard")):
        with pytest.raises(ConfigError, match=rf"\[pretrain.logging\] {name}: the package {name} is not installed") as caught:
            metrics.check_packages(logging)
        assert "\n" not in str(caught.value)


def test_what_is_not_known_is_not_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No MFU without a peak; the guard's rows, and its lines in Japanese."""
    out, settings = io.StringIO(), tiny()
    with metrics.Progress("t", 6, "回", events=tmp_path / metrics.EVENTS, out=out) as progress:
        epochs: Any = None
        log = metrics.Log(progress, [], epochs, settings, VOCABULARY)
        log.iteration(Position(1, 4), {"loss": 4.0}, samples=4, seconds=0.5, memory=2.0**31)
        log.skipped(Position(2, 8, 1, 1), "spike")
        log.rewound(Position(3, 12, 2, 0, 1), 1)
        log.iteration(Position(4, 16, 2), {"loss": 4.0}, samples=4, seconds=0.5, memory=2.0**31)
    iteration, skipped, rewound, later = events(tmp_path)
    assert "skipped_iterations" not in iteration and later["skipped_iterations"] == 2
    assert "mfu" not in iteration and iteration["tokens/s"] == 4 * 24 / 0.5 and iteration["memory_gib"] == 2
    assert (skipped["skipped"], skipped["why"], rewound["rewound"], rewound["to"]) == (2, "spike", 3, 1)
    assert capsys.readouterr().out.splitlines() == [
        "2 回目: 損失が跳ね上がったため、重みを更新しません (連続 1 回)",
        "3 回目: 1 回目の重みに戻し、次のデータから続けます (1 度目)",
    ]


def refused(settings: PretrainSettings, pack: Path, root: Path) -> str:
    with pytest.raises(BadInput) as caught:
        prepared(settings, pack, root)
    return str(caught.value)


@pytest.mark.parametrize("held_out", [False, True])
def test_tokens_beyond_the_vocabulary(tmp_path: Path, held_out: bool) -> None:
    """Packed with another tokenizer: one line, before any weight is made."""
    documents = [[9, 10, 11]] * 5 + [[9, VOCABULARY]] + [[9, 10]] * (not held_out)
    pack = write_pack(tmp_path / "pack", {"a": documents}, vocab_size=VOCABULARY + 9)
    message, other = run_ranks(2, refused, with_layout(tiny(), data=2), pack, tmp_path / "run")
    assert message == other and f"token {VOCABULARY}, but the tokenizer has only {VOCABULARY}; pack again with it" in message
    assert "\n" not in message and not (tmp_path / "run" / "checkpoints").exists()


def agreed(asked: list[bool]) -> tuple[bool, float]:
    from pretrain import runtime

    runtime.redirect_cuda_to_cpu()
    rank = torch.distributed.get_rank()
    return loop._agree_across_ranks(asked[rank], float(rank + 1))


def test_one_rank_is_enough_to_stop_and_the_fullest_counts() -> None:
    assert run_ranks(2, agreed, [False, True]) == [(True, 2.0)] * 2
    assert run_ranks(2, agreed, [False, False]) == [(False, 2.0)] * 2


def test_one_source_is_counted_too(tmp_path: Path) -> None:
    pack = write_pack(tmp_path / "pack", {"a": [[9] * 11] * 4}, vocab_size=VOCABULARY)  # 3 documents of 12 with EOS
    settings = dataclasses.replace(tiny(), iterations=6)
    assert EOS == 2 and run_ranks(1, epochs_of, settings, pack, tmp_path / "run") == [{"a": round(24 * 24 / 36, 4)}]


def epochs_of(settings: PretrainSettings, pack: Path, root: Path) -> dict[str, float]:
    counted = metrics.EpochCounter(prepared(settings, pack, root).datasets)
    counted.epochs_at(10)
    return counted.epochs_at(24)
