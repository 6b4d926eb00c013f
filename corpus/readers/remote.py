"""Files at URLs, by fsspec (s3://, https://, memory://): what is known of them, reading, copying, in bounded tries.

A request that fails is tried again, a read from where it stopped, TRIES times in all; then the task ends as
ExternalServiceError. The network's failures are never taken for damage of the input, nor for a file that is not there.
"""

import contextlib
import io
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import IO, Any, TypeVar

from pipeline.errors import ConfigError, ExternalServiceError, MissingInput

TRIES = 3
PAUSE = 1.0  # seconds before the second try, twice as many before the third
_BLOCK = 8 << 20  # bytes of a remote read; object stores answer slowly and send fast
# Seconds without a byte, or without a connection, after which a server is taken for gone. aiohttp's own limit of 300 for a
# whole answer cuts a crawl's file of 1 GB off on any line below 3.4 MB/s.
_SILENCE = 60
# What file systems call the checksum of a file's content: S3 and HTTP, Azure, Google, others.
_CHECKSUMS = ("ETag", "etag", "Content-MD5", "content_md5", "md5Hash", "md5", "crc32c", "sha256", "Digest")
_GONE = (404, 410)
_PASSING = (408, 425, 429)  # of the 4xx, those that ask to come again
_Got = TypeVar("_Got")


class _NoRanges(Exception):
    """The server gives a file only as a whole, or does not say how large it is."""


def is_url(place: str) -> bool:
    """Whether a place is for fsspec to find."""
    return "://" in place


def file_system(place: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the URL as that system names it.

    Raises: ConfigError if its package is not installed or there is no such protocol.
    """
    from fsspec.core import url_to_fs

    try:
        return url_to_fs(place, **_http_options() if is_http(place) else {})
    except ImportError as error:  # "Install s3fs to access S3"
        raise ConfigError(f"{place}: {error}; `pip install` that package beside fsspec") from error
    except ValueError as error:
        raise ConfigError(f"{place}: {error}") from error


def is_http(place: str) -> bool:
    """Whether a web server gives it: those list no folders, and not all of them give parts of a file."""
    return place.startswith(("http://", "https://"))


def _http_options() -> dict[str, Any]:
    """Files as they are: a server that calls a .gz file's compression the transport's would have it undone twice."""
    import aiohttp

    silence = aiohttp.ClientTimeout(total=None, sock_connect=_SILENCE, sock_read=_SILENCE)
    plain = {"Accept-Encoding": "identity"}
    return {"client_kwargs": {"auto_decompress": False, "headers": plain, "timeout": silence}}


def info_of(name: str) -> dict[str, Any]:
    """What a store says of a file: "type", "size" (None unknown), checksums.

    Raises: MissingInput, ExternalServiceError, ConfigError.
    """
    system, path = file_system(name)
    return tried(name, lambda: system.info(path))


def size_of(name: str) -> int | None:
    """Bytes of a remote file, None where its server does not say.

    Raises: as `info_of`.
    """
    size = info_of(name).get("size")
    return None if size is None else int(size)


def is_file(name: str) -> bool:
    """Whether there is such a file. Raises: ExternalServiceError, ConfigError."""
    try:
        return info_of(name).get("type") == "file"
    except MissingInput:
        return False


def checksum_of(name: str) -> str:
    """Checksum and size that the store of a remote file gives, or "" where it gives none."""
    info = info_of(name)
    result = next((str(info[key]) for key in _CHECKSUMS if info.get(key)), "")
    return f"{result.strip(chr(34))} {info.get('size')}" if result else ""


def tried(name: str, work: Callable[[], _Got]) -> _Got:
    """What `work` returns, in one of TRIES tries.

    Raises: MissingInput, ExternalServiceError, and the pipeline's own errors that `work` raises.
    """
    for number in range(1, TRIES + 1):
        try:
            return work()
        except (MissingInput, ConfigError, ExternalServiceError, _NoRanges):
            raise
        except Exception as error:
            if _is_missing(error):
                raise MissingInput(f"{name}: no such file ({_first(error)})") from error
            if number == TRIES or not _may_pass(error):
                tries = f"in {number} tries" if number > 1 else "and will not"
                raise ExternalServiceError(
                    f"{name}: expected an answer, found none {tries} ({_first(error)}); run again, finished shards stay"
                ) from error
            time.sleep(number * PAUSE)
    raise AssertionError


def copy_to(name: str, target: IO[bytes]) -> None:
    """Copy a remote file; where its server gives parts of files, a copy that breaks off goes on where it stopped.

    Raises: MissingInput, ExternalServiceError, ConfigError.
    """
    size = size_of(name)
    try:
        with io.BufferedReader(_Ranges(name, size), 1 << 20) as source:
            shutil.copyfileobj(source, target, _BLOCK)
    except _NoRanges:
        tried(name, lambda: _copy_whole(name, size, target))


def _copy_whole(name: str, size: int | None, target: IO[bytes]) -> None:
    """Copy a file in one request, from its beginning."""
    target.seek(0)
    target.truncate()
    system, path = file_system(name)
    with system.open(path, "rb", block_size=0) as source:
        while part := source.read(1 << 20):
            target.write(part)
    if size is not None and target.tell() != size:
        raise OSError(f"{size} bytes announced, {target.tell()} sent")


@contextlib.contextmanager
def open_url(name: str) -> Iterator[IO[bytes]]:
    """A seekable, buffered stream of a remote file. Of a server that gives whole files alone, a temporary copy is read.

    Raises: MissingInput, ExternalServiceError, ConfigError; on reading, too.
    """
    size = size_of(name)
    with io.BufferedReader(_Ranges(name, size, copies=True), 1 << 20) as file:
        yield file


class _Ranges(io.RawIOBase):
    """A remote file read in parts; it is opened again where it stopped when a read fails."""

    def __init__(self, name: str, size: int | None, *, copies: bool = False) -> None:
        self._name, self._copies, self._at = name, copies, 0
        self._file: Any = None
        self._copied = False
        self._size = self._copy(None) if size is None else size

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
        view = memoryview(buffer)
        data = self._read(len(view))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _read(self, size: int) -> bytes:
        """At most `size` bytes. Raises: ExternalServiceError, MissingInput; _NoRanges where there may be no copy."""
        for number in range(1, TRIES + 1):
            try:
                return self._part(size)
            except _NoRanges:
                self._size = self._copy(self._size)
                return self._part(size)
            except Exception as error:
                self._forget()
                if number == TRIES or not _may_pass(error):
                    raise ExternalServiceError(
                        f"{self._name}: expected {self._size} bytes, found {self._at} in {number} tries "
                        f"({_first(error)}); run again, finished shards stay"
                    ) from error
                time.sleep(number * PAUSE)
        raise AssertionError

    def _part(self, size: int) -> bytes:
        if self._at >= self._size:
            return b""
        if self._file is None:
            system, path = file_system(self._name)
            known = {"size": self._size} if is_http(self._name) else {}  # or it would be asked for again
            self._file = system.open(path, "rb", block_size=_BLOCK, cache_type="readahead", **known)
        try:
            self._file.seek(self._at)
            data = self._file.read(size)
        except ValueError as error:  # what fsspec raises where an answer is the whole file
            if self._copied or not is_http(self._name):
                raise
            raise _NoRanges from error
        if not data:
            raise OSError(f"nothing sent from byte {self._at} on")
        return data

    def _copy(self, size: int | None) -> int:
        """Read a temporary copy from now on. Returns: its size. Raises: _NoRanges where that is not wanted."""
        if not self._copies:
            raise _NoRanges
        self._forget()
        copy = tempfile.TemporaryFile(prefix="minamoto-")  # noqa: SIM115  closed with this object
        try:
            tried(self._name, lambda: _copy_whole(self._name, size, copy))
        except BaseException:
            copy.close()
            raise
        self._file, self._copied = copy, True
        return copy.tell()

    def _forget(self) -> None:
        file, self._file, self._copied = self._file, None, False
        if file is not None:
            file.close()

    def close(self) -> None:
        self._forget()
        super().close()


def _is_missing(error: Exception) -> bool:
    """fsspec's HTTP says FileNotFoundError of every failure; the cause tells."""
    behind = error.__cause__ if isinstance(error, FileNotFoundError) else error
    return behind is None or getattr(behind, "status", 0) in _GONE


def _may_pass(error: Exception) -> bool:
    """Whether another try may help: not where a server refuses."""
    status = getattr(error.__cause__ or error, "status", 0)
    return not 400 <= status < 500 or status in _PASSING


def _first(error: Exception) -> str:
    behind = error.__cause__ if isinstance(error, FileNotFoundError) and isinstance(error.__cause__, Exception) else error
    status = getattr(behind, "status", 0)
    said = str(behind).strip().partition("\n")[0] or type(behind).__name__
    return f"status {status}" if status and "://" in said else said
