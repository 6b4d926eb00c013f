"""Where files are: local paths, globs, and URLs; listing, opening, digesting them. `remote` reads what URLs name."""

import contextlib
import functools
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from corpus.readers import remote
from corpus.readers.remote import file_system, is_file, is_http, is_url, tried
from pipeline.errors import MissingInput

_MAGIC = re.compile(r"[*?\[]")


def join(base: str, name: str) -> str:
    """`name` below the folder or URL `base`."""
    return f"{base.rstrip('/')}/{name}"


def relative(name: str, base: str) -> str:
    """The name of a file below `base`; the whole name where it is elsewhere."""
    start = base.rstrip("/") + "/"
    return name.removeprefix(start)


def size_of(name: str) -> int:
    """Bytes of a file; 0 of a remote one whose server does not say.

    Raises: MissingInput, ExternalServiceError.
    """
    return (remote.size_of(name) or 0) if is_url(name) else Path(name).stat().st_size


def open_file(name: str) -> contextlib.AbstractContextManager[IO[bytes]]:
    """A seekable, buffered stream of a local or remote file.

    Raises: MissingInput, ExternalServiceError (of a URL), on reading, too.
    """
    return remote.open_url(name) if is_url(name) else Path(name).open("rb")


@contextlib.contextmanager
def local_copy(name: str) -> Iterator[Path]:
    """The file itself, or a temporary copy of a remote one that is removed after."""
    if not is_url(name):
        yield Path(name)
        return
    with tempfile.TemporaryDirectory(prefix="minamoto-") as folder:
        path = Path(folder) / "copy"
        with path.open("wb") as target:
            remote.copy_to(name, target)
        yield path


def list_place(place: str, globs: tuple[str, ...], exclude: tuple[str, ...]) -> tuple[str, list[str]]:
    """The folder that names are relative to, and the files of a place in name order; links are left out.

    Args:
        place: a file, a folder of which `globs` chooses, or a glob; a path or a URL.
    Raises: MissingInput, ConfigError, ExternalServiceError.
    """
    base, result = _remote_files(place, globs, exclude) if is_url(place) else _local_files(place, globs, exclude)
    if not result:
        raise MissingInput(f"no file at {place} matches {list(globs)}")
    return base, sorted(result, key=lambda name: relative(name, base))


def files_below(base: Path, globs: tuple[str, ...], exclude: tuple[str, ...] = ()) -> set[str]:
    """Files of a local folder by globs."""
    left_out = {path for pattern in exclude for path in base.glob(pattern)}
    result = {path for pattern in globs for path in base.glob(pattern) if path.is_file() and not path.is_symlink()}
    return {str(path) for path in result - left_out}


def _local_files(place: str, globs: tuple[str, ...], exclude: tuple[str, ...]) -> tuple[str, set[str]]:
    path = Path(place).absolute()
    if path.is_file():
        return str(path.parent), {str(path)}
    if path.is_dir():
        return str(path), files_below(path, globs, exclude)
    parts = path.parts
    first = next((number for number, part in enumerate(parts) if _MAGIC.search(part)), 0)
    if not first:
        raise MissingInput(f"{place} is neither a file nor a folder")
    base = Path(*parts[:first])
    return str(base), files_below(base, (str(Path(*parts[first:])),), exclude)


def _remote_files(place: str, globs: tuple[str, ...], exclude: tuple[str, ...]) -> tuple[str, set[str]]:
    system, _ = file_system(place)
    magic = re.search(r"\*", place) if is_http(place) else _MAGIC.search(place)  # ? begins a query there
    if magic:
        base, pattern = _split_glob(place, magic.start())
        return base, _matches(system, base, (pattern,)) - _matches(system, base, exclude)
    if not place.endswith("/") and is_file(place):
        return place.rpartition("/")[0], {place}
    base = place.rstrip("/")
    return base, _matches(system, base, globs) - _matches(system, base, exclude)


def _split_glob(place: str, magic: int) -> tuple[str, str]:
    """The folder above a glob's first magic character, and the rest."""
    cut = place.rfind("/", 0, magic)
    return place[:cut], place[cut + 1 :]


def _matches(system: Any, base: str, patterns: tuple[str, ...]) -> set[str]:
    """URLs of the files below `base` that match."""
    matches: set[str] = set()
    root = system._strip_protocol(base)
    for pattern in patterns:
        listed = tried(base, functools.partial(system.glob, join(root, pattern), detail=True))
        for name, info in listed.items():
            if info.get("type") == "file":
                matches.add(
                    join(base, name[len(root) :].lstrip("/")) if name.startswith(root) else system.unstrip_protocol(name)
                )
    return matches
