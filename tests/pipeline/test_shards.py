"""Shards: the same result for any number of workers, resumed by receipt, retried when a worker dies."""

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.artifact import begin_artifact
from pipeline.errors import BadInput, ExternalServiceError
from pipeline.files import write_text
from pipeline.runfile import RunFile
from pipeline.shards import map_shards
from tests.helpers import run_file


def square(shard: tuple[int, str]) -> Mapping[str, Any]:
    number, folder = shard
    with (Path(folder) / "calls").open("a") as calls:
        calls.write(f"{number}\n")
    write_text(Path(folder) / f"{number}.txt", str(number**2))
    return {"value": number**2}


def dies_once(shard: tuple[int, str]) -> Mapping[str, Any]:
    mark = Path(shard[1]) / "died"
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return square(shard)


def always_dies(shard: tuple[int, str]) -> Mapping[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def refuses(shard: tuple[int, str]) -> Mapping[str, Any]:
    if shard[0] == 1:
        raise BadInput("shard 1: nothing usable")
    return square(shard)


@pytest.fixture
def run(tmp_path: Path, ray_session: None) -> RunFile:
    return run_file(tmp_path, "[corpus]\n[ray]\nworkers = 2\n")


def go(run: RunFile, task: Any, count: int, folder: Path) -> dict[str, dict[str, Any]]:
    with begin_artifact(run, "corpus", {}, {}, recipe=1) as artifact:
        return map_shards(task, {f"{n:02}": (n, str(folder)) for n in range(count)}, artifact, step="s", label="試験")


def test_results_come_in_name_order_and_finished_shards_are_not_run_again(run: RunFile, tmp_path: Path) -> None:
    expected = {f"{n:02}": {"value": n**2} for n in range(5)}
    assert list(go(run, square, 3, tmp_path).items()) == list(expected.items())[:3]
    assert list(go(run, square, 5, tmp_path).items()) == list(expected.items())
    assert sorted((tmp_path / "calls").read_text().split()) == ["0", "1", "2", "3", "4"]


def test_a_worker_that_dies_is_replaced(run: RunFile, tmp_path: Path) -> None:
    assert go(run, dies_once, 2, tmp_path) == {"00": {"value": 0}, "01": {"value": 1}}


def test_a_shard_that_keeps_killing_its_worker_is_named(run: RunFile, tmp_path: Path) -> None:
    with pytest.raises(ExternalServiceError, match="s shard 00: its worker died"):
        go(run, always_dies, 1, tmp_path)


def test_an_error_of_the_input_comes_through_as_it_is_and_the_rest_is_kept(run: RunFile, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nothing usable"):
        go(run, refuses, 2, tmp_path)
    with begin_artifact(run, "corpus", {}, {}, recipe=1) as artifact:
        assert artifact.read_receipt("s", "01") is None
