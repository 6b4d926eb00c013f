"""What an index holds at one moment: the sealed index, what was added to it since, and what was removed.

A sealed index never changes. What is added is a sealed artifact of its own; what is removed is named. Both are in one
small file beside the index, replaced whole: a reader sees the state before a change or the state after it.

    artifacts/index/<run>/catalog.json   {"format", "index": digest, "added": [{"folder", "digest"}], "removed": {doc_id: why}}
"""

import fcntl
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.artifact import Manifest, open_sealed
from pipeline.errors import CorruptArtifact
from pipeline.files import digest_json, short_digest, write_json

CATALOG, FORMAT = "catalog.json", 1


@dataclass(frozen=True)
class Part:
    """One shard of the index or of an addition."""

    data: Path
    name: str
    passages: int


@dataclass(frozen=True)
class Catalog:
    """One state of an index."""

    index: Manifest
    added: tuple[Manifest, ...] = ()
    removed: Mapping[str, str] = field(default_factory=dict)  # doc_id -> why

    @property
    def digest(self) -> str:
        """Identifies all that is searched, so that an answer can be repeated; the sealed index's own where nothing changed."""
        if not self.added and not self.removed:
            return self.index.digest
        return digest_json([self.index.digest, [manifest.digest for manifest in self.added], sorted(self.removed)])

    def parts(self) -> Iterator[Part]:
        """Every shard, those of the index first."""
        for manifest in (self.index, *self.added):
            for name, row in sorted(manifest.stats["shards"].items()):
                yield Part(manifest.data, name, row["passages"])


def catalog_path(index: Path) -> Path:
    """Path of an index artifact's catalog; the file exists once anything was added or removed."""
    return index / CATALOG


def open_catalog(index: Manifest) -> Catalog:
    """The present state of a sealed index.

    Raises: CorruptArtifact if the catalog is damaged or of another index, or what it names is missing, damaged, or another.
    """
    path = catalog_path(index.root)
    try:
        body: dict[str, Any] = json.loads(path.read_text("utf-8"))
        format_, digest, rows, removed = body["format"], body["index"], body["added"], dict(body["removed"])
    except FileNotFoundError:
        return Catalog(index)
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptArtifact(f"{path}: not a catalog ({error!r}); remove it and add again what was added") from error
    if format_ != FORMAT:
        raise CorruptArtifact(f"{path}: format {format_}, this code reads {FORMAT}; remove it and add again what was added")
    if digest != index.digest:
        raise CorruptArtifact(
            f"{path}: of index {short_digest(digest)}, {index.root} is {index.short}; remove it and add again what was added"
        )
    return Catalog(index, tuple(_open_addition(index.root.parent.parent, row) for row in rows), removed)


def _open_addition(artifacts: Path, row: Mapping[str, str]) -> Manifest:
    manifest = open_sealed(artifacts / row["folder"])
    if manifest.digest != row["digest"]:
        raise CorruptArtifact(
            f"{manifest.root}: {manifest.short}, the catalog names {short_digest(row['digest'])}; put back what was added"
        )
    return manifest


def add(index: Manifest, addition: Manifest) -> Catalog:
    """Include a sealed addition in all later searches; does nothing where it is included already."""
    with _locked(index) as catalog:
        if addition.digest in {manifest.digest for manifest in catalog.added}:
            return catalog
        return _write(replace(catalog, added=(*catalog.added, addition)))


def remove(index: Manifest, doc_ids: Iterable[str], why: str) -> Catalog:
    """Leave some documents out of all later searches."""
    with _locked(index) as catalog:
        return _write(replace(catalog, removed=dict.fromkeys(doc_ids, why) | dict(catalog.removed)))


def _write(catalog: Catalog) -> Catalog:
    artifacts = catalog.index.root.parent.parent
    rows = [{"folder": m.root.relative_to(artifacts).as_posix(), "digest": m.digest} for m in catalog.added]
    body = {"format": FORMAT, "index": catalog.index.digest, "added": rows, "removed": dict(sorted(catalog.removed.items()))}
    write_json(catalog_path(catalog.index.root), body)
    return catalog


@contextmanager
def _locked(index: Manifest) -> Iterator[Catalog]:
    """The present state, while no other process changes it."""
    with (index.root / f".{CATALOG}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield open_catalog(index)
