"""Copies, in three passes: of a page by URL, of a text, and near-copies; each pass sees the survivors of the one before.

Every pass joins sorted keys by ranges (`Judged.keys`), so a task holds one range of one kind of key, never all of them.
Which documents fall is decided by their content alone, so neither the number of workers nor the order of input matters.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from corpus import minhash
from corpus.scratch import FIRST_BAND, TEXT_KEY, URL_KEY, Judged, save_array
from corpus.settings import DedupSettings
from pipeline.artifact import Artifact
from pipeline.shards import map_shards

STAGE = "dedup"
# Keys one task sorts at a time: 16 bytes each and twice that while sorting, about 0.75 GB.
KEYS_IN_MEMORY = 16_000_000
# Shingle sets kept at hand while verifying: at 8 bytes a character, a few hundred documents of 10,000 are 30 MB.
_SETS_AT_HAND = 512
Edges = np.ndarray  # (2, E) uint64 references: one who falls or is like, the other it is like


@dataclass(frozen=True)
class JoinTask:
    """One range of one kind of key."""

    judged: Judged
    fallen: Path | None  # references that earlier passes removed, sorted
    kind: int
    part: int
    parts: int
    window: int
    out: Path


@dataclass(frozen=True)
class VerifyTask:
    """The candidate pairs whose first document lies in one shard."""

    judged: Judged
    shard: int
    pairs: tuple[Path, ...]
    settings: DedupSettings
    out: Path


def copy_keys(pages: Sequence[tuple[str, str]], texts: Sequence[str], settings: DedupSettings) -> np.ndarray:
    """Hashes by which copies meet: (2 + bands, documents) uint64, rows as `corpus.scratch` names them.

    Args:
        pages: source and url; a url that is only a file's path is a name inside its source.
    """
    keys_KN = np.empty((FIRST_BAND + settings.bands, len(texts)), np.uint64)
    for place, ((source, url), text) in enumerate(zip(pages, texts, strict=True)):
        keys_KN[URL_KEY, place] = xxhash.xxh3_64_intdigest((url if "://" in url else f"{source} {url}").encode())
        keys_KN[TEXT_KEY, place] = xxhash.xxh3_64_intdigest(text.encode())
        signature = minhash.signature(minhash.shingles(text, settings.shingle), settings.bands * settings.rows)
        keys_KN[FIRST_BAND:, place] = minhash.band_keys(signature, settings.bands, settings.rows)
    return keys_KN


def remove_copies(artifact: Artifact, judged: Judged, passed: int, settings: DedupSettings) -> dict[str, Any]:
    """Run the three passes.

    Args:
        passed: documents that passed the rules, for choosing how finely to cut the keys.
    Returns: counts; the outcome lies in work/fallen/{url,exact,near}.npy, each (2, N) sorted by the first row:
        who falls, and for whom.
    """
    parts = max(-(-passed // KEYS_IN_MEMORY), 1)
    fallen: Path | None = None
    counts = {}
    for name, kind, task, label in (("url", URL_KEY, join_urls, "同じURL"), ("exact", TEXT_KEY, join_texts, "同じ本文")):
        tasks = {
            f"{part:05}": JoinTask(judged, fallen, kind, part, parts, settings.window, artifact.work / name / f"{part:05}.npy")
            for part in range(parts)
        }
        map_shards(task, tasks, artifact, step=name, label=f"重複除去（{label}）")
        edges = _gather([task.out for task in tasks.values()])
        counts[name] = edges.shape[1]
        save_array(artifact.work / "fallen" / f"{name}.npy", edges)
        before = np.load(fallen) if fallen else np.empty(0, np.uint64)
        fallen = artifact.work / "fallen" / f"until_{name}.npy"
        save_array(fallen, np.union1d(before, edges[0]))
    return counts | _near(artifact, judged, fallen, parts, settings)


def _near(artifact: Artifact, judged: Judged, fallen: Path | None, parts: int, settings: DedupSettings) -> dict[str, Any]:
    bands = {
        f"{band:03}-{part:05}": JoinTask(
            judged,
            fallen,
            FIRST_BAND + band,
            part,
            parts,
            settings.window,
            artifact.work / "pairs" / f"{band:03}-{part:05}.npy",
        )
        for band in range(settings.bands)
        for part in range(parts)
    }
    map_shards(join_band, bands, artifact, step="bands", label="重複除去（近い本文の候補）")
    pairs = tuple(task.out for task in bands.values())
    checks = {
        name: VerifyTask(judged, shard, pairs, settings, artifact.work / "edges" / f"{name}.npy")
        for shard, name in enumerate(judged.names)
    }
    stats = map_shards(verify, checks, artifact, step="verify", label="重複除去（候補の照合）")
    edges = clusters(_gather([task.out for task in checks.values()]), judged.rank)
    save_array(artifact.work / "fallen" / "near.npy", edges)
    return {
        "near": edges.shape[1],
        "candidate_pairs": sum(row["candidates"] for row in stats.values()),
        "similar_pairs": sum(row["similar"] for row in stats.values()),
        "clusters": len(np.unique(edges[1])),
    }


def join_urls(task: JoinTask) -> dict[str, Any]:
    """Captures of one URL: the best stays."""
    return _fell(task, lambda members: [members])


def join_texts(task: JoinTask) -> dict[str, Any]:
    """Equal texts: the best stays. Texts are compared, so that equal hashes of different texts cost no document."""

    def equal(members: list[int]) -> list[list[int]]:
        texts: dict[str, list[int]] = {}
        for reference in members:
            texts.setdefault(task.judged.text(reference), []).append(reference)
        return list(texts.values())

    return _fell(task, equal)


def join_band(task: JoinTask) -> dict[str, Any]:
    """Pairs that share a band's key: each document with the next `window` of its bucket, in the order of `rank`."""
    pairs: set[tuple[int, int]] = set()
    for members in _groups(task):
        ranked = sorted(members, key=task.judged.rank)
        for place, one in enumerate(ranked):
            pairs.update((min(one, other), max(one, other)) for other in ranked[place + 1 : place + 1 + task.window])
    save_array(task.out, _edges(sorted(pairs)))
    return {"pairs": len(pairs)}


def verify(task: VerifyTask) -> dict[str, Any]:
    """Keep the candidate pairs whose shingle sets are similar enough."""
    low, high = np.uint64(task.shard << 32), np.uint64((task.shard << 32) + 0xFFFFFFFF)
    mine = [np.empty((2, 0), np.uint64)]
    for path in task.pairs:
        edges = np.load(path, mmap_mode="r")
        mine.append(edges[:, np.searchsorted(edges[0], low, "left") : np.searchsorted(edges[0], high, "right")])
    candidates = np.unique(np.concatenate(mine, axis=1), axis=1)
    sets: dict[int, np.ndarray] = {}

    def shingle_set(reference: int) -> np.ndarray:
        if reference not in sets:
            if len(sets) >= _SETS_AT_HAND:
                sets.pop(next(iter(sets)))
            sets[reference] = np.unique(minhash.shingles(task.judged.text(reference), task.settings.shingle))
        return sets[reference]

    similar = [
        (one, other)
        for one, other in candidates.T.tolist()
        if minhash.jaccard(shingle_set(one), shingle_set(other)) >= task.settings.min_similarity
    ]
    save_array(task.out, _edges(similar))
    return {"candidates": candidates.shape[1], "similar": len(similar)}


def clusters(similar: Edges, rank: Callable[[int], Any]) -> Edges:
    """Who falls for whom: all members of a connected component for the one of least rank; sorted by who falls.

    Holds the edges only (two references a similar pair), whatever the size of the corpus.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    nodes, ends = np.unique(similar, return_inverse=True)
    if not len(nodes):
        return np.empty((2, 0), np.uint64)
    ends = ends.reshape(similar.shape)
    graph = coo_array((np.ones(similar.shape[1], np.int8), (ends[0], ends[1])), shape=(len(nodes), len(nodes)))
    _, component = connected_components(graph, directed=False)
    best: dict[int, tuple[Any, int]] = {}
    for node, label in zip(nodes.tolist(), component.tolist(), strict=True):
        candidate = (rank(node), node)
        best[label] = min(best.get(label, candidate), candidate)
    survivors = np.array([best[label][1] for label in component.tolist()], np.uint64)
    falls = nodes != survivors
    return np.stack([nodes[falls], survivors[falls]])


def _fell(task: JoinTask, divide: Callable[[list[int]], list[list[int]]]) -> dict[str, Any]:
    """Write who falls in groups of equal keys, after `divide` has split each group into true copies."""
    rows = []
    for members in _groups(task):
        for copies in divide(members):
            survivor = min(copies, key=task.judged.rank)
            rows += [(reference, survivor) for reference in copies if reference != survivor]
    save_array(task.out, _edges(sorted(rows)))
    return {"fell": len(rows)}


def _groups(task: JoinTask) -> Iterator[list[int]]:
    """References that share a key, two or more, without those that fell before."""
    keys, references = task.judged.keys(task.kind, task.part, task.parts)
    if task.fallen:
        fallen = np.load(task.fallen, mmap_mode="r")
        alive = np.isin(references, fallen, assume_unique=True, invert=True)
        keys, references = keys[alive], references[alive]
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]]) if len(keys) else np.empty(0, np.int64)
    ends = np.r_[starts[1:], len(keys)]
    for begin, end in zip(starts[ends - starts > 1], ends[ends - starts > 1], strict=True):
        yield references[begin:end].tolist()


def _edges(rows: list[tuple[int, int]]) -> Edges:
    return np.array(rows, np.uint64).reshape(-1, 2).T.copy()


def _gather(paths: list[Path]) -> Edges:
    """All edges of several files, sorted by the first row."""
    edges = np.concatenate([np.empty((2, 0), np.uint64), *(np.load(path) for path in paths)], axis=1)
    return edges[:, np.lexsort((edges[1], edges[0]))]


def fallen_of_shard(work: Path, shard: int) -> Mapping[int, tuple[str, int]]:
    """Ordinal -> (url | exact | near, reference of the survivor) of every document of a shard that fell."""
    low, high = np.uint64(shard << 32), np.uint64((shard << 32) + 0xFFFFFFFF)
    found: dict[int, tuple[str, int]] = {}
    for reason in ("url", "exact", "near"):
        edges = np.load(work / "fallen" / f"{reason}.npy", mmap_mode="r")
        for one, survivor in edges[:, np.searchsorted(edges[0], low) : np.searchsorted(edges[0], high, "right")].T.tolist():
            assert (one & 0xFFFFFFFF) not in found, f"{reason} removed document {one:#x} a second time"
            found[one & 0xFFFFFFFF] = (reason, survivor)
    return found
