"""Where files are: local paths, globs, and URLs by fsspec (s3://, https://, memory://); listing, opening, digesting them.

A remote read that fails is tried again from where it stopped, then ends the task as ExternalServiceError: the network's
failures are never taken for damage of the input.
"""

import contextlib
import io
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from pipeline.errors import ConfigError, ExternalServiceError, MissingInput

_MAGIC = re.compile(r"[*?\[]")
_TRIES = 3
_BLOCK = 8 << 20  # bytes of a remote read; object stores answer slowly and send fast
# What file systems call the checksum of a file's content: S3 and HTTP, Azure, Google, others.
_CHECKSUMS = ("ETag", "etag", "Content-MD5", "content_md5", "md5Hash", "md5", "crc32c", "sha256", "Digest")


def is_url(place: str) -> bool:
    """Whether a place is for fsspec to find."""
    return "://" in place


def file_system(place: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the URL as that system names it.

    Raises: ConfigError if its package is not installed or there is no such protocol.
    """
    from fsspec.core import url_to_fs

    try:
        return url_to_fs(place)
    except ImportError as error:  # "Install s3fs to access S3"
        raise ConfigError(f"{place}: {error}; `pip install` that package beside fsspec") from error
    except ValueError as error:
        raise ConfigError(f"{place}: {error}") from error


def join(base: str, name: str) -> str:
    """`name` below the folder or URL `base`."""
    return f"{base.rstrip('/')}/{name}"


def relative(name: str, base: str) -> str:
    """The name of a file below `base`; the whole name where it lies elsewhere."""
    start = base.rstrip("/") + "/"
    return name.removeprefix(start)


def size_of(name: str) -> int:
    """Bytes of a file.

    Raises: MissingInput, ExternalServiceError.
    """
    if not is_url(name):
        return Path(name).stat().st_size
    return int(_info(name).get("size") or 0)


def checksum_of(name: str) -> str:
    """Checksum and size that the store of a remote file gives, or "" where it gives none."""
    info = _info(name)
    found = next((str(info[key]) for key in _CHECKSUMS if info.get(key)), "")
    return f"{found.strip(chr(34))} {info.get('size')}" if found else ""


def open_file(name: str) -> IO[bytes]:
    """A seekable, buffered stream of a local or remote file."""
    if not is_url(name):
        return Path(name).open("rb")
    return cast("IO[bytes]", io.BufferedReader(_Remote(name), 1 << 20))


@contextlib.contextmanager
def local_copy(name: str) -> Iterator[Path]:
    """The file itself, or a temporary copy of a remote one that is removed after."""
    if not is_url(name):
        yield Path(name)
        return
    with tempfile.TemporaryDirectory(prefix="minamoto-") as folder:
        path = Path(folder) / "copy"
        with open_file(name) as source, path.open("wb") as target:
            shutil.copyfileobj(source, target, _BLOCK)
        yield path


def list_place(place: str, globs: tuple[str, ...], exclude: tuple[str, ...]) -> tuple[str, list[str]]:
    """The folder that names are relative to, and the files of a place in name order; links are left out.

    Args:
        place: a file, a folder of which `globs` chooses, or a glob; a path or a URL.
    Raises: MissingInput, ConfigError, ExternalServiceError.
    """
    base, found = _remote_files(place, globs, exclude) if is_url(place) else _local_files(place, globs, exclude)
    if not found:
        raise MissingInput(f"no file at {place} matches {list(globs)}")
    return base, sorted(found, key=lambda name: relative(name, base))


def files_below(base: Path, globs: tuple[str, ...], exclude: tuple[str, ...] = ()) -> set[str]:
    """Files of a local folder by globs."""
    left_out = {path for pattern in exclude for path in base.glob(pattern)}
    found = {path for pattern in globs for path in base.glob(pattern) if path.is_file() and not path.is_symlink()}
    return {str(path) for path in found - left_out}


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
    system, path = file_system(place)
    with _said(place):
        magic = re.search(r"\*", place) if place.startswith("http") else _MAGIC.search(place)  # ? begins a query there
        if magic:
            base, pattern = _split_glob(place, magic.start())
            return base, _matches(system, base, (pattern,)) - _matches(system, base, exclude)
        if not place.endswith("/") and system.isfile(path):
            return place.rpartition("/")[0], {place}
        base = place.rstrip("/")
        return base, _matches(system, base, globs) - _matches(system, base, exclude)


def _split_glob(place: str, magic: int) -> tuple[str, str]:
    """The folder above a glob's first magic character, and the rest."""
    cut = place.rfind("/", 0, magic)
    return place[:cut], place[cut + 1 :]


def _matches(system: Any, base: str, patterns: tuple[str, ...]) -> set[str]:
    """URLs of the files below `base` that match."""
    found: set[str] = set()
    root = system._strip_protocol(base)
    for pattern in patterns:
        for name, info in system.glob(join(root, pattern), detail=True).items():
            if info.get("type") == "file":
                found.add(join(base, name[len(root) :].lstrip("/")) if name.startswith(root) else system.unstrip_protocol(name))
    return found


def _info(name: str) -> dict[str, Any]:
    system, path = file_system(name)
    with _said(name):
        return system.info(path)


@contextlib.contextmanager
def _said(name: str) -> Iterator[None]:
    """What a store raises, in our words."""
    try:
        yield
    except FileNotFoundError as error:
        raise MissingInput(f"{name}: no such file ({_first(error)})") from error
    except (MissingInput, ConfigError):
        raise
    except Exception as error:
        raise ExternalServiceError(f"{name}: the store did not answer ({_first(error)}); run again") from error


def _first(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


class _Remote(io.RawIOBase):
    """A remote file that is opened again where it stopped when a read fails."""

    def __init__(self, name: str) -> None:
        self._name, self._at, self._file = name, 0, None
        self._size = size_of(name)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        view, left = memoryview(buffer), _TRIES
        while True:
            try:
                data = self._read(len(view))
                break
            except Exception as error:
                self._file, left = None, left - 1
                if not left:
                    raise ExternalServiceError(f"{self._name}@{self._at}: the store broke off ({_first(error)})") from error
                time.sleep(_TRIES - left)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _read(self, size: int) -> bytes:
        if self._file is None:
            system, path = file_system(self._name)
            self._file = system.open(path, "rb", block_size=_BLOCK, cache_type="readahead")
        if self._file.tell() != self._at:
            self._file.seek(self._at)
        return self._file.read(size)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        super().close()
