"""Damaged, half-written and missing checkpoints, and a full disk."""

import errno
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch.distributed as dist
from megatron.core.dist_checkpointing.strategies import filesystem_async

from pipeline.errors import ConfigError, CorruptArtifact, DiskFull, MissingInput
from pretrain import export
from pretrain.checkpoint import files
from pretrain.checkpoint.files import recovery_hint
from pretrain.checkpoint.load import newest_checkpoint
from pretrain.position import Position
from pretrain.settings import PretrainSettings
from pretrain.train import loop
from tests.pretrain.helpers.digests import digests
from tests.pretrain.helpers.ranks import run_ranks
from tests.pretrain.helpers.training import VOCABULARY, numbers_of, prepared, tiny, tiny_pack, with_layout


@pytest.fixture
def run(tmp_path: Path) -> tuple[Path, Path]:
    """Pack and root of a run with the checkpoints 2, 4 and 6."""
    pack = tiny_pack(tmp_path / "pack")
    run_ranks(1, numbers_of, tiny(), pack, tmp_path / "run")
    return pack, tmp_path / "run"


def refused(pack: Path, root: Path, world: int) -> str:
    """What a rank says that wants to go on."""
    with pytest.raises(CorruptArtifact) as caught:
        prepared(with_layout(tiny(), data=world), pack, root)
    return str(caught.value)


def flip(path: Path, place: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[place if place >= 0 else len(content) // 2] ^= 1
    path.write_bytes(content)


def test_any_flipped_bit_is_found_before_anything_is_loaded(run: tuple[Path, Path]) -> None:
    pack, root = run
    newest = root / "checkpoints" / "iter_0000006"
    names = sorted(p.name for p in newest.iterdir())
    assert {".metadata", "checkpoint.json", "common.pt", "metadata.json"} < set(names)
    assert any(name.endswith(".distcp") for name in names)
    for name in names:
        content = (newest / name).read_bytes()
        flip(newest / name)
        messages = set(run_ranks(2, refused, pack, root, 2))
        assert len(messages) == 1, "every rank says the same"
        assert str(newest / name) in (message := messages.pop()) and "go on from iter_0000004" in message
        (newest / name).write_bytes(content)
    (newest / names[0]).unlink()
    assert run_ranks(1, refused, pack, root, 1) == [f"{newest / names[0]}: missing; {recovery_hint(newest)}"]


def test_a_damaged_description_is_refused(run: tuple[Path, Path]) -> None:
    about = run[1] / "checkpoints" / "iter_0000006" / "checkpoint.json"
    good = about.read_text("utf-8")
    for bad in ("", "[]", "{}", good[:-40], good.replace('"iteration": 6', '"iteration": 4')):
        about.write_text(bad, "utf-8")
        with pytest.raises(CorruptArtifact, match=r"checkpoint\.json: .*remove the folder"):
            newest_checkpoint(about.parents[1])


def test_what_was_being_written_does_not_count(run: tuple[Path, Path]) -> None:
    folder = run[1] / "checkpoints"
    (folder / "iter_0000006").rename(folder / "iter_0000006.partial-77")
    saved = newest_checkpoint(folder)
    assert saved is not None and saved.position == Position(4, 16, 0, 0)
    assert newest_checkpoint(folder / "nowhere") is None


def cannot_write(pack: Path, root: Path, where: str) -> tuple[str, list[str], dict[str, Any], dict[str, Any]]:
    """What a save says that fails as a full disk makes it fail, what it leaves, and the state before and after."""
    run = prepared(with_layout(tiny(), data=2), pack, root)
    loop.step(run, loop._batches(run))
    before = digests(run)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def silent(*_: object, **__: object) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598")

    if where == "shard":  # in the writer's process
        os.fsync = full
    elif where == "torch":  # torch.save forgets the reason
        filesystem_async._write_item = silent
        shutil.disk_usage = lambda path: SimpleNamespace(free=4096)  # pyright: ignore[reportAttributeAccessIssue]
    elif where == "folder" and dist.get_rank() == 0:
        files.create_partial = full
    elif where == "description" and dist.get_rank() == 0:
        files.write_json = full
    with pytest.raises((DiskFull, RuntimeError)) as caught:
        run.save()
    dist.barrier()
    return f"{caught.type.__name__}: {caught.value}", sorted(p.name for p in root.glob("checkpoints/*")), before, digests(run)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # megatron's zero_grad
@pytest.mark.parametrize("where", ["shard", "torch", "folder", "description"])
def test_a_full_disk_is_one_line_and_leaves_no_harm(tmp_path: Path, where: str) -> None:
    results = run_ranks(2, cannot_write, tiny_pack(tmp_path / "pack"), tmp_path / "run", where)
    for said, left, before, after in results:
        assert said.startswith("DiskFull:") and "no space left on the device" in said and "\n" not in said
        assert left == [] and before == after


def nothing_to_load(root: Path) -> str:
    with pytest.raises(MissingInput) as caught:
        export.load_newest_model(tiny(), root / "checkpoints", VOCABULARY)
    return str(caught.value)


def test_no_checkpoint_at_all(tmp_path: Path) -> None:
    assert "no checkpoint" in run_ranks(1, nothing_to_load, tmp_path)[0]


def test_descriptions_are_plain_json(run: tuple[Path, Path]) -> None:
    about = json.loads((run[1] / "checkpoints" / "iter_0000006" / "checkpoint.json").read_text("utf-8"))
    assert about["position"] == {
        "iteration": 6, "samples": 24, "skipped": 0, "skipped_in_row": 0, "rewinds": 0, "undone": [], "recent": []
    }  # fmt: skip
    assert about["precision"] == "fp32"


def saved_unstepped(settings: PretrainSettings, pack: Path, root: Path) -> dict[str, float]:
    """Numbers of an iteration after a checkpoint that was left before the first."""
    run = prepared(settings, pack, root)
    if not run.saver.folder.joinpath("latest.json").exists():
        run.save()
    return loop.step(run, loop._batches(run))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # megatron's zero_grad
@pytest.mark.parametrize("distributed", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_optimizer_that_took_no_step_yet(tmp_path: Path, precision: str, distributed: bool) -> None:
    """A run whose every iteration was skipped is asked to stop."""
    pack = tiny_pack(tmp_path / "pack")
    settings = with_layout(tiny(precision=precision), data=2, distributed_optimizer=distributed)
    first, again = (run_ranks(2, saved_unstepped, settings, pack, tmp_path / "run") for _ in range(2))
    assert first == again


def switched(settings: PretrainSettings, pack: Path, root: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        prepared(settings, pack, root)
    return str(caught.value)


def test_the_other_optimizer_is_refused(run: tuple[Path, Path]) -> None:
    settings = with_layout(tiny(), data=2, distributed_optimizer=True)
    for said in run_ranks(2, switched, settings, *run):
        assert "iter_0000006: written with parallel.distributed_optimizer = false" in said
