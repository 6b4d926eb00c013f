"""A checkpoint from somebody else: its pickled metadata runs nothing, whatever was put into it and described anew."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import CorruptArtifact
from pipeline.files import digest_file, digest_json, write_json
from pretrain.checkpoint import files
from pretrain.checkpoint.metadata import FILE, check_metadata
from pretrain.train import loop
from tests.pretrain.helpers.killed import train
from tests.pretrain.helpers.ranks import run_ranks
from tests.pretrain.helpers.training import prepared, tiny, tiny_pack, with_layout

pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # megatron's zero_grad


class Runs:
    """Unpickled, it runs a command."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> Any:
        return self.reduced


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A pack, and a run that has checkpoints of it."""
    folder = tmp_path_factory.mktemp("trained")
    pack = tiny_pack(folder / "pack")
    run_ranks(1, train, with_layout(tiny()), pack, folder / "run")
    return pack, folder / "run"


def describe_anew(folder: Path) -> None:
    """What anybody who changes a checkpoint can do: a description that fits."""
    path = folder / "checkpoint.json"
    about = files.json.loads(path.read_text("utf-8"))
    about.pop("digest")
    about["files"] = {name: [(folder / name).stat().st_size, digest_file(folder / name)] for name in about["files"]}
    write_json(path, about | {"digest": digest_json(about)})


def short_string(text: str) -> bytes:
    """A string as pickle's protocol 4 has it: SHORT_BINUNICODE, its length, UTF-8."""
    return b"\x8c" + bytes([len(text.encode())]) + text.encode()


def go_on(pack: Path, root: Path) -> int:
    run = prepared(with_layout(tiny(iterations=8)), pack, root)
    assert loop.train(run, lambda: False)
    return run.position.iteration


@pytest.mark.parametrize("payload", ["system", "eval", "builtin", "dotted", "mark"])
def test_what_is_put_into_a_checkpoint_does_not_run(payload: str, trained: tuple[Path, Path], tmp_path: Path) -> None:
    pack, run = trained
    root, mark = tmp_path / "run", tmp_path / "ran"
    files.shutil.copytree(run, root)
    newest = root / "checkpoints" / "iter_0000006"
    metadata = pickle.loads((newest / FILE).read_bytes())
    evil = {
        "system": Runs(os.system, f"touch {mark}"),
        "eval": Runs(eval, f"open({str(mark)!r}, 'w')"),
        "builtin": Runs(getattr, metadata, "planner_data"),
        "dotted": None,
        "mark": Runs(Path.touch, mark),
    }[payload]
    content = pickle.dumps([evil, metadata])
    if payload == "dotted":  # a module that torch's own module has imported: STACK_GLOBAL, TUPLE1, REDUCE, STOP
        names = ("torch.distributed.checkpoint.filesystem", "os.system")
        content = b"\x80\x04" + b"".join(map(short_string, names)) + b"\x93" + short_string(f"touch {mark}") + b"\x85R."
    (newest / FILE).write_bytes(content)
    describe_anew(newest)
    with pytest.raises(Exception, match=r"not the metadata of a checkpoint: it names .*; do not load it"):
        run_ranks(1, go_on, pack, root)
    assert not mark.exists()


def test_ours_is_read(trained: tuple[Path, Path]) -> None:
    for folder in (trained[1] / "checkpoints").glob("iter_*"):
        check_metadata(folder)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / FILE).write_bytes(b"\x80\x04\x8c" + content)
    with pytest.raises(CorruptArtifact) as caught:
        check_metadata(folder)
    assert FILE in str(caught.value)
