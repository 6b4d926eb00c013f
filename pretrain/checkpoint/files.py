"""Checkpoints as files: which of them are whole, which is the newest, and what is in it. Loads no torch.

checkpoints/
    iter_0000100/                megatron's torch_dist format: weights, fp32 main weights, Adam's moments
        checkpoint.json          where the run was, the precision, and size and sha256 of every other file
    iter_0000200.partial-1a2b/   being written, or left by a run that was killed
    latest.json                  name and digest of the last checkpoint that became whole

A folder gets its name when everything in it is on disk, and latest.json is written after that. Neither has to be
believed alone: a folder newer than latest.json counts if its description is whole; where latest.json itself is torn or
missing, the newest folder counts.
"""

import json
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import CorruptArtifact
from pipeline.files import digest_file, digest_json, fsync, write_json
from pipeline.progress import echo
from pretrain.position import Position
from pretrain.settings import Precision

DESCRIPTION, LATEST = "checkpoint.json", "latest.json"
# Not `pipeline.files.UNFINISHED`: what carries that is swept when the next run begins, while ranks of a killed run,
# which nobody waits for but `train.hold_lock`, may still be writing here.
_PARTIAL = ".partial-"
# Room for what rank 0 alone writes, first common.pt and last .metadata: were it the one to find the disk full, the other
# ranks would wait for it in vain. megatron's .metadata of a 13B model has some 10,000 entries of a few hundred bytes.
_RESERVE_BYTES = 8 << 20
_NAME = re.compile(r"iter_(\d{7,})")


@dataclass(frozen=True)
class SavedCheckpoint:
    """A checkpoint on disk, its description read."""

    path: Path
    position: Position
    precision: Precision
    distributed_optimizer: bool
    files: Mapping[str, list[Any]]  # name -> [bytes, sha256]

    def find_fault(self, name: str) -> str | None:
        """What is wrong with a file of this checkpoint, or None."""
        path, (size, sha256) = self.path / name, self.files[name]
        if not path.is_file():
            return f"{path}: missing"
        if path.stat().st_size != size:
            return f"{path}: {path.stat().st_size} bytes, {size} were saved"
        return None if digest_file(path) == sha256 else f"{path}: its content is not what was saved (sha256 differs)"


def find_newest(folder: Path) -> SavedCheckpoint | None:
    """The newest checkpoint below `folder`, or None; its files are not read yet.

    Raises: CorruptArtifact if a checkpoint that was whole once has a damaged description.
    """
    latest = _latest(folder)
    for path in reversed(list_finished(folder)):
        try:
            return _read(path)
        except CorruptArtifact:
            if latest is None or _iteration(path) <= latest:
                raise
            echo(f"{path.name} は書き込みが完了していないため使いません。")  # the machine died between the two
    return None


def find_iteration(folder: Path, iteration: int) -> SavedCheckpoint | None:
    """The checkpoint of one iteration, or None if it is not kept; raises as `find_newest`."""
    return next((_read(path) for path in list_finished(folder) if _iteration(path) == iteration), None)


def list_finished(folder: Path) -> list[Path]:
    """Folders of checkpoints that were given their names, oldest first."""
    return sorted((p for p in folder.glob("iter_*") if _NAME.fullmatch(p.name)), key=_iteration)


def recovery_hint(path: Path) -> str:
    """What to do where the checkpoint at `path` is damaged."""
    older = [p.name for p in list_finished(path.parent) if _iteration(p) < _iteration(path)]
    return f"remove the folder {path} and run again, to go on from {older[-1] if older else 'the beginning'}"


def create_partial(folder: Path, position: Position) -> Path:
    """A new folder to write the checkpoint of `position` into; `publish` gives it its name."""
    path = folder / f"iter_{position.iteration:07d}{_PARTIAL}{secrets.token_hex(4)}"
    path.mkdir(parents=True)
    try:
        with _reserve(path).open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, 2 * _RESERVE_BYTES)
            file.truncate(_RESERVE_BYTES)
    except OSError:
        remove(path)
        raise
    return path


def release_reserve(path: Path) -> None:
    """Give back the room that `create_partial` kept: what is written from now on is small."""
    _reserve(path).unlink()


def _reserve(path: Path) -> Path:
    return path.with_name(f"{path.name}.reserve")


def publish(fresh: Path, position: Position, precision: Precision, *, distributed: bool, contents: Mapping[str, Any]) -> None:
    """Describe the checkpoint in `fresh`, give the folder its name, and point to it; each step whole or not at all.

    Args:
        distributed: whether the optimizer's state was that of the distributed optimizer.
        contents: name -> [bytes, sha256] of the files.
    """
    about = {
        "position": position.as_json(),
        "precision": precision,
        "distributed_optimizer": distributed,
        "files": dict(contents),
    }
    digest = digest_json(about)
    write_json(fresh / DESCRIPTION, about | {"digest": digest})
    for name in contents:
        fsync(fresh / name)
    fsync(fresh)
    path = fresh.with_name(fresh.name.partition(_PARTIAL)[0])
    if path.exists():  # the same iteration once more
        remove(path)
    fresh.rename(path)
    fsync(path.parent)
    write_json(path.parent / LATEST, {"name": path.name, "digest": digest})


def remove_old(folder: Path, keep: int) -> None:
    """Remove all but the `keep` newest checkpoints."""
    for old in list_finished(folder)[:-keep]:
        remove(old)


def remove(path: Path) -> None:
    """Remove a checkpoint, or what was written of one; it loses its name first."""
    if _PARTIAL not in path.name:
        path = path.rename(path.with_name(f"{path.name}{_PARTIAL}{secrets.token_hex(4)}"))
    shutil.rmtree(path)
    _reserve(path).unlink(missing_ok=True)


def is_partial(path: Path) -> bool:
    """Whether a checkpoint is being written there, or was."""
    return _PARTIAL in path.name and path.exists()


def remove_partials(folder: Path) -> None:
    """Remove what killed runs left unfinished; only for who holds `folder` alone."""
    for path in folder.glob(f"iter_*{_PARTIAL}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def hash_files(folder: Path, pattern: str) -> dict[str, list[Any]]:
    """Size and sha256 of the files below `folder` that match."""
    return {p.name: [p.stat().st_size, digest_file(p)] for p in sorted(folder.glob(pattern)) if p.is_file()}


def _iteration(path: Path) -> int:
    match = _NAME.match(path.name)
    assert match
    return int(match[1])


def _latest(folder: Path) -> int | None:
    """Iteration of the checkpoint that latest.json points to; None where it is missing or torn."""
    try:
        return _iteration(Path(json.loads((folder / LATEST).read_text("utf-8"))["name"]))
    except (OSError, ValueError, KeyError, TypeError, AssertionError):
        return None


def _read(path: Path) -> SavedCheckpoint:
    file = path / DESCRIPTION
    try:
        about = json.loads(file.read_text("utf-8"))
        digest = about.pop("digest")
        rest = [about[name] for name in ("precision", "distributed_optimizer", "files")]
        saved = SavedCheckpoint(path, Position.from_json(about["position"]), *rest)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptArtifact(f"{file}: not a checkpoint's description ({error!r}); {recovery_hint(path)}") from error
    if digest != digest_json(about):
        raise CorruptArtifact(f"{file}: its content does not match its own digest; {recovery_hint(path)}")
    return saved
