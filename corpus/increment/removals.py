"""The base's files in the artifact that extends it: hard links, or files without the documents that are to go.

An entry of `[corpus.base] remove` is one of
    doc:<id>        a document by its name
    url:<url>       every capture of a page
    host:<host>     every page of a host; host:*.<domain>: of the domain and of all hosts below it
    file:<path>     one of the above a line; blank lines and lines that begin with # say nothing
It holds for the base only. What comes in anew is judged by the rules of its preset, which has host lists.

A removed document keeps its row in decisions/ (verdict dropped, stage "remove", rule "removed"), so that the account still
balances; its text, its keys, and the clusters it was the kept representative of are gone.
"""

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from corpus.dedup.base_corpus import BaseCorpus
from pipeline.artifact import Artifact
from pipeline.documents import source_of_shard
from pipeline.errors import BadInput, MissingInput
from pipeline.files import atomic_path, digest_json
from pipeline.shards import map_shards

STAGE, RULE = "remove", "removed"
# Folders of a corpus that hold a .parquet or .jsonl a shard.
FOLDERS = ("documents", "decisions", "clusters", "contamination")


@dataclass(frozen=True)
class Selection:
    """What is to go; picklable."""

    docs: frozenset[str] = frozenset()
    urls: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    domains: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.docs or self.urls or self.hosts or self.domains)

    @property
    def digest(self) -> str:
        """Of the entries, in whatever order and file they were given."""
        return digest_json([sorted(part) for part in (self.docs, self.urls, self.hosts, self.domains)])

    def of(self, doc_id: str, url: str, host: str) -> set[str]:
        """The entries that choose a document, as they were written."""
        result = {f"doc:{doc_id}"} if doc_id in self.docs else set[str]()
        result |= {f"url:{url}"} if url in self.urls else set()
        result |= {f"host:{host}"} if host in self.hosts else set()
        labels = host.split(".") if self.domains else []
        above = {".".join(labels[begin:]) for begin in range(len(labels))}
        return result | {f"host:*.{domain}" for domain in above & self.domains}

    def entries(self) -> list[str]:
        """All entries, in order."""
        parts = (("doc:", self.docs), ("url:", self.urls), ("host:", self.hosts), ("host:*.", self.domains))
        return sorted(f"{mark}{value}" for mark, values in parts for value in values)


@dataclass(frozen=True)
class SelectTask:
    """One shard of the base to look for what is to go."""

    decisions: Path
    selection: Selection
    out: Path  # the doc_ids of kept documents that go, one a line


@dataclass(frozen=True)
class MoveTask:
    """One shard of the base to link, or to write anew without what is to go."""

    base: Path  # its data folder
    data: Path  # ours
    name: str
    removed: Path | None  # of SelectTask
    all_removed: Path | None  # of all shards, sorted, one a line


def read_selection(entries: Iterable[str]) -> Selection:
    """The entries of `remove`, files read.

    Raises: MissingInput if a file is not there; BadInput if a line of one is no entry.
    """
    parts: dict[str, set[str]] = {"doc": set(), "url": set(), "host": set(), "domain": set()}
    for entry, where in _entries(entries):
        mark, _, value = entry.partition(":")
        value = value.strip()
        if mark not in ("doc", "url", "host") or not value:
            raise BadInput(f"{where}: {entry!r} is none of doc:<id>, url:<url>, host:<host>")
        if mark == "host":
            value = value.lower()
            mark, value = ("domain", value[2:]) if value.startswith("*.") else (mark, value)
        parts[mark].add(value.lower() if mark == "doc" else value)
    return Selection(*(frozenset(part) for part in parts.values()))


def host_of(url: str) -> str:
    """The host of a url in small letters, "" where it has none."""
    try:
        return (urlsplit(url).hostname or "") if "://" in url else ""
    except ValueError:  # a bracket that begins no IPv6 address
        return ""


def import_base(artifact: Artifact, base: BaseCorpus, selection: Selection) -> dict[str, dict[str, int]]:
    """Put the base's shards into the artifact, without what is to go.

    Returns: source -> "removed" documents, their "characters" and "bytes".
    Raises: BadInput if an entry chooses no document that ever came into the base.
    """
    removed, everything = {}, None
    if selection:
        select = {
            name: SelectTask(base.data / "decisions" / f"{name}.parquet", selection, artifact.work / "removed" / f"{name}.txt")
            for name in base.names
        }
        result = map_shards(select_removed, select, artifact, step="select", label="取り除く文書の検索")
        _check_known(selection, result, base)
        removed = {name: task.out for name, task in select.items()}
        everything = artifact.work / "removed.txt"
        ids = sorted(line for path in removed.values() for line in path.read_text("utf-8").split())
        with atomic_path(everything) as path:
            path.write_text("".join(f"{line}\n" for line in ids), "utf-8")
    moves = {name: MoveTask(base.data, artifact.data, name, removed.get(name), everything) for name in base.names}
    moved = map_shards(move_shard, moves, artifact, step="base", label="元のコーパスの引き継ぎ")
    totals: dict[str, dict[str, int]] = {}
    for name, stats in moved.items():
        total = totals.setdefault(source_of_shard(name), {"removed": 0, "characters": 0, "bytes": 0})
        for key in total:
            total[key] += stats[key]
    return totals


def account(base: Mapping[str, Mapping[str, Any]], removed: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, Any]]:
    """The base's account by source, what was removed counted as dropped."""
    accounts = {}
    for name, was in base.items():
        gone = removed.get(name, {"removed": 0, "characters": 0, "bytes": 0})
        dropped = dict(was["dropped"])
        if gone["removed"]:
            dropped[RULE] = dropped.get(RULE, 0) + gone["removed"]
        accounts[name] = {
            **was,
            "kept": was["kept"] - gone["removed"],
            "dropped": dict(sorted(dropped.items())),
            "characters": was["characters"] - gone["characters"],
            "bytes": was["bytes"] - gone["bytes"],
        }
    return accounts


def select_removed(task: SelectTask) -> dict[str, Any]:
    """Write the names of a shard's kept documents that go; returns which entries chose anything, dropped rows included."""
    import pyarrow.parquet as pq

    ids, seen = list[str](), set[str]()
    with pq.ParquetFile(task.decisions) as file:
        for batch in file.iter_batches(columns=["doc_id", "url", "verdict"]):
            for doc_id, url, verdict in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                if entries := task.selection.of(doc_id, url, host_of(url)):
                    seen |= entries
                    ids += [doc_id] if verdict == "kept" else []
    with atomic_path(task.out) as path:
        path.write_text("".join(f"{doc_id}\n" for doc_id in sorted(ids)), "utf-8")
    return {"removed": len(ids), "seen": sorted(seen)}


def move_shard(task: MoveTask) -> dict[str, int]:
    """Link a shard's files; write those anew that hold what is to go. Returns: documents, characters, bytes that went."""
    from corpus.increment.rewrite import rewrite_clusters, rewrite_decisions, rewrite_documents, rewrite_keys

    ids = frozenset(task.removed.read_text("utf-8").split()) if task.removed else frozenset[str]()
    representatives = frozenset(task.all_removed.read_text("utf-8").split()) if task.all_removed else frozenset[str]()
    gone = {"removed": 0, "characters": 0, "bytes": 0}
    for old in _files(task.base, task.name):
        new = task.data / old.relative_to(task.base)
        match old.relative_to(task.base).parts[0]:
            case "documents" if ids:
                gone, stays = rewrite_documents(old, new, ids)
                rewrite_keys(task.base / "keys" / task.name, task.data / "keys" / task.name, stays)
            case "decisions" if ids:
                rewrite_decisions(old, new, ids, STAGE, RULE)
            case "clusters" if representatives:
                if not rewrite_clusters(old, new, representatives):
                    link(old, new)
            case "keys" if ids:
                pass  # written with the documents, whose rows they name
            case _:
                link(old, new)
    assert gone["removed"] == len(ids), f"{task.name}: {len(ids)} kept decisions to remove, {gone['removed']} documents"
    return gone


def link(old: Path, new: Path) -> None:
    """The same file under another name, or a copy where the file system links no files; whole or not at all."""
    with atomic_path(new) as temporary:
        try:
            os.link(old, temporary)
        except OSError:  # another file system, or one without links
            shutil.copyfile(old, temporary)


def _files(data: Path, name: str) -> list[Path]:
    matches = [path for folder in FOLDERS for path in sorted((data / folder).glob(f"{name}.*"))]
    return matches + sorted((data / "keys" / name).iterdir())


def _check_known(selection: Selection, found: Mapping[str, Mapping[str, Any]], base: BaseCorpus) -> None:
    seen = {entry for stats in found.values() for entry in stats["seen"]}
    unknown = [entry for entry in selection.entries() if entry not in seen]
    if unknown:
        raise BadInput(
            f"[corpus.base] remove: {len(unknown)} of {len(selection.entries())} entries choose no document that ever came "
            f"into {base.data.parent}, first {unknown[0]!r}; take them out, or look with `python -m corpus.audit.holders`"
        )


def _entries(entries: Iterable[str]) -> Iterable[tuple[str, str]]:
    """Each entry and where it is."""
    for entry in entries:
        if not entry.startswith("file:"):
            yield entry, "[corpus.base] remove"
            continue
        path = Path(entry.removeprefix("file:").strip())
        if not path.is_file():
            raise MissingInput(f"[corpus.base] remove: {path}: no such file; expected one of doc:, url:, host: a line")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if line.strip() and not line.startswith("#"):
                yield line.strip(), f"{path}:{number}"
