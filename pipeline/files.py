"""Files that appear whole or not at all, and digests of what is in them."""

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from pipeline.errors import DiskFull

# Every unfinished file or folder carries this mark in its name; `remove_unfinished` removes what a killed process left.
UNFINISHED = ".unfinished-"
_FULL = (errno.ENOSPC, errno.EDQUOT)


def is_disk_full(error: BaseException) -> bool:
    """Whether an exception is the operating system saying that the disk or the quota is full."""
    return isinstance(error, OSError) and error.errno in _FULL


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path`; rename it onto `path` on success, remove it on any error.

    The block may make a file or a folder there. Files are synced before the rename, so that after a
    power cut either the old content or the new is there.

    Raises: DiskFull if the disk or quota is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two attempts at one shard may run at once, on machines that give equal process ids, where a node was thought dead.
    temporary = path.with_name(f"{path.name}{UNFINISHED}{os.getpid()}-{secrets.token_hex(4)}")
    try:
        yield temporary
        for file in _files(temporary):
            fsync(file)
        _move(temporary, path)
        fsync(path.parent)
    except BaseException as error:
        _remove(temporary)
        if is_disk_full(error):
            raise DiskFull(f"{path}: no space left on the device; free some and run the same command again") from error
        raise


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Like `atomic_path`, yielding an open binary file."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        yield file


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text whole or not at all."""
    with atomic_file(path) as file:
        file.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write JSON (sorted keys, one space of indent) whole or not at all."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def canonical_json(value: Any) -> bytes:
    """The one JSON spelling of `value` that digests are taken over."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def short_digest(digest: str) -> str:
    """Return the first 8 hexadecimal digits of a `sha256:…` digest, as messages show it."""
    return digest.removeprefix("sha256:")[:8]


def digest_json(value: Any) -> str:
    """`sha256:…` of the canonical JSON of `value`."""
    return "sha256:" + hashlib.sha256(canonical_json(value)).hexdigest()


def digest_file(path: Path) -> str:
    """Hex sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_files(paths: Iterable[Path], *, base: Path, cache: Path | None = None) -> str:
    """`sha256:…` over (name relative to `base`, content sha256) of files, in name order.

    Args:
        cache: a JSON file that remembers contents by (name, bytes, mtime), so that a second run over the
            same untouched files reads none of them.
    """
    known: dict[str, list[Any]] = json.loads(cache.read_text("utf-8")) if cache and cache.exists() else {}
    rows, seen = [], {}
    for path in sorted(paths):
        name, stat = path.relative_to(base).as_posix(), path.stat()
        stamp = [stat.st_size, stat.st_mtime_ns]
        old = known.get(str(path.absolute()))
        sha256 = old[2] if old and old[:2] == stamp else digest_file(path)
        seen[str(path.absolute())] = [*stamp, sha256]
        rows.append([name, sha256])
    if cache and any(known.get(name) != row for name, row in seen.items()):
        write_json(cache, known | seen)
    return digest_json(sorted(rows))


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes left unfinished below `folder`; their children may be at work there a moment longer."""
    for parent, folders, files in os.walk(folder):
        unfinished = [name for name in folders + files if UNFINISHED in name]
        folders[:] = sorted(set(folders).difference(unfinished))
        for name in unfinished:
            _remove(Path(parent, name))


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (p for p in sorted(path.rglob("*")) if p.is_file())
    else:
        yield path


def _move(temporary: Path, path: Path) -> None:
    """Rename onto `path`; a folder in its way goes first, even where another process puts one there at the same time."""
    old = path.with_name(f"{temporary.name}-old")
    while True:
        if temporary.is_dir() and path.exists():
            _remove(old)
            with contextlib.suppress(FileNotFoundError):  # the other process was faster
                path.replace(old)
        try:
            temporary.replace(path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        else:
            _remove(old)  # last, so that nothing slow is between taking away and putting in place
            return


def _remove(path: Path) -> None:
    """Remove a file or folder; another process may take from it at the same time, or put something into it until it ends."""
    while path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, onerror=_unless_others)
    path.unlink(missing_ok=True)


def _unless_others(function: Any, path: Any, error: Any) -> None:
    if error[1].errno not in (errno.ENOENT, errno.ENOTEMPTY):
        raise error[1]


def fsync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
