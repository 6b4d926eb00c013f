"""Duplicates, in three passes: the same URL, the same text, similar texts; each pass sees what the one before kept.

Every pass joins sorted keys by ranges (`Judged.blocks`), so a task holds one range of one kind of key, never all of them.
Which documents are dropped is decided by their content alone, so neither the number of workers nor the order of input matters.
Edges (a duplicate and the document kept in its favour, or two similar documents) are on disk as (E, 2) references. The
process that started the run gathers those of one pass to sort them, 16 bytes a duplicate, and to find the clusters,
32 bytes a pair of similar documents and 16 a document among them (`find_clusters`): 3 GB for a hundred million pairs.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from corpus.dedup.base_join import WithBase, duplicates_of_base, match_base
from corpus.dedup.captures import same_pages
from corpus.dedup.pairs import PAIRS_IN_MEMORY, JoinTask, ShingleSets, keep_pairs, living, write_runs
from corpus.dedup.settings import DedupSettings
from corpus.storage.arrays import ArrayWriter, save_array
from corpus.storage.judged import FIRST_BAND, TEXT_KEY, URL_KEY, Judged
from corpus.storage.references import is_base
from pipeline.artifact import Artifact
from pipeline.files import atomic_path
from pipeline.shards import map_shards
from pipeline.text import minhash
from pipeline.text.clusters import Edges, find_clusters

STAGE = "dedup"
# Keys a task joins, a piece at a time (`corpus.dedup.pairs`).
KEYS_PER_TASK = 16_000_000
# A bucket of more documents than this pairs each with fewer neighbours, so that it makes at most 2^16 × window pairs.
CROWDED = 1 << 16


@dataclass(frozen=True)
class VerifyTask:
    """The candidate pairs whose first document is in one shard."""

    judged: Judged
    shard: int
    pairs: tuple[Path, ...]  # folders that join_band left
    settings: DedupSettings
    out: Path


def remove_copies(
    artifact: Artifact, judged: Judged, passed: int, settings: DedupSettings, with_base: WithBase | None = None
) -> dict[str, Any]:
    """Run the three passes.

    Args:
        passed: documents that passed the rules, for choosing how finely to cut the keys.
        with_base: `judged` together with the base that it is added to, whose documents always stay.
    Returns: counts; the outcome is in work/dropped/{url,exact,near}.npy, each (2, N) sorted by the first row:
        the duplicate, and the document that is kept in its favour.
    """
    parts = max(-(-passed // KEYS_PER_TASK), 1)
    dropped: Path | None = None
    counts, of_base = {}, 0
    for name, kind, task, label in (("url", URL_KEY, join_urls, "同じURL"), ("exact", TEXT_KEY, join_texts, "同じ本文")):
        existing = np.empty((2, 0), np.uint64)
        if with_base:
            existing = duplicates_of_base(
                with_base, match_base(artifact, with_base, dropped, kind=kind, parts=parts, settings=settings)[0]
            )
            dropped = _add_dropped(artifact, f"until_base_{name}", dropped, existing)
        tasks = {
            f"{part:05}": JoinTask(
                judged=judged,
                dropped=dropped,
                kind=kind,
                part=part,
                parts=parts,
                window=settings.window,
                out=artifact.work / name / f"{part:05}.npy",
            )
            for part in range(parts)
        }
        map_shards(task, tasks, artifact, step=name, label=f"重複除去（{label}）")
        edges = _gather([task.out for task in tasks.values()])
        dropped = _add_dropped(artifact, f"until_{name}", dropped, edges)
        edges = np.concatenate([existing, edges], axis=1)
        save_array(artifact.work / "dropped" / f"{name}.npy", edges[:, np.argsort(edges[0], kind="stable")])
        counts[name], of_base = edges.shape[1], of_base + existing.shape[1]
        del edges, existing
    near = _near(artifact=artifact, judged=judged, dropped=dropped, parts=parts, settings=settings, with_base=with_base)
    of_base += near.pop("of_base")
    return counts | near | ({"of_base": of_base} if with_base else {})


def _add_dropped(artifact: Artifact, name: str, dropped: Path | None, edges: Edges) -> Path:
    """A file of the references that were dropped so far and those that are dropped now."""
    before = np.load(dropped) if dropped else np.empty(0, np.uint64)
    path = artifact.work / "dropped" / f"{name}.npy"
    save_array(path, np.union1d(before, edges[0]))
    return path


def _near(
    artifact: Artifact,
    judged: Judged,
    dropped: Path | None,
    parts: int,
    settings: DedupSettings,
    with_base: WithBase | None,
) -> dict[str, Any]:
    bands = {
        f"{band:03}-{part:05}": JoinTask(
            judged=judged,
            dropped=dropped,
            kind=FIRST_BAND + band,
            part=part,
            parts=parts,
            window=settings.window,
            out=artifact.work / "pairs" / f"{band:03}-{part:05}",
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
    similar = _gather([task.out for task in checks.values()])
    compared = sum(row["candidates"] for row in stats.values())
    if with_base:
        pairs_of_base, more = match_base(artifact, with_base, dropped, kind=FIRST_BAND, parts=parts, settings=settings)
        similar, compared = np.concatenate([similar, pairs_of_base.T], axis=1), compared + more
    edges = find_clusters(similar, with_base.order if with_base else judged.order)
    edges = edges[:, ~is_base(edges[0])]  # of several documents of the base in one cluster, each stays
    save_array(artifact.work / "dropped" / "near.npy", edges)
    return {
        "near": edges.shape[1],
        "of_base": int(is_base(edges[1]).sum()),
        "candidate_pairs": compared,
        "similar_pairs": similar.shape[1],
        "clusters": len(np.unique(edges[1])),
    }


def join_urls(task: JoinTask) -> dict[str, Any]:
    """Captures of one page: the best stays. Pages of different text under one URL all stay."""
    return _write_duplicates(task, lambda groups, references: same_pages(task.judged, groups, references))


def join_texts(task: JoinTask) -> dict[str, Any]:
    """Equal texts: the best stays. 128 bits of each text are compared, so that equal keys of different texts cost nothing."""

    def refine(groups_N: np.ndarray, references_N: np.ndarray) -> np.ndarray:
        digests_N2 = np.empty((len(references_N), 2), np.uint64)
        for shard, indices in task.judged.by_shard(references_N):  # by ordinal: texts are read in the order of their file
            kept = task.judged.shard(shard)
            for index in indices.tolist():
                digest = xxhash.xxh3_128_intdigest(kept.raw(int(references_N[index]) & 0xFFFFFFFF))
                digests_N2[index] = digest >> 64, digest & 0xFFFFFFFFFFFFFFFF
        order = np.lexsort((digests_N2[:, 1], digests_N2[:, 0], groups_N))
        new = np.ones(len(order), np.int64)
        ordered_groups, ordered = groups_N[order], digests_N2[order]
        new[1:] = (ordered_groups[1:] != ordered_groups[:-1]) | (ordered[1:] != ordered[:-1]).any(axis=1)
        refined = np.empty(len(order), np.int64)
        refined[order] = np.cumsum(new)
        return refined

    return _write_duplicates(task, refine)


def join_band(task: JoinTask) -> dict[str, Any]:
    """Pairs that share a band's key: each document with the next `window` of its bucket, in the order of rank."""
    pieces = (pairs for groups, references in _groups(task) for pairs in _neighbours(groups, references, task))
    return {"pairs": write_runs(task.out, pieces)}


def _neighbours(groups_N: np.ndarray, references_N: np.ndarray, task: JoinTask) -> Iterator[np.ndarray]:
    """(P, 2) pairs of the documents of each group, by distance in the order of rank."""
    order = task.judged.order(groups_N, references_N)
    groups, references = groups_N[order], references_N[order]
    _, group_of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    reach = np.minimum(task.window, np.maximum(task.window * CROWDED // sizes, 1))[group_of]
    for distance in range(1, min(task.window, int(sizes.max()) - 1) + 1):
        met = np.flatnonzero((groups[distance:] == groups[:-distance]) & (reach[distance:] >= distance))
        pairs = np.stack([references[met], references[met + distance]], axis=1)
        pairs.sort(axis=1)
        for begin in range(0, len(pairs), PAIRS_IN_MEMORY):
            yield pairs[begin : begin + PAIRS_IN_MEMORY]


def verify(task: VerifyTask) -> dict[str, Any]:
    """Keep the candidate pairs whose shingle sets are similar enough."""
    sets = ShingleSets(task.judged.text, task.settings.shingle)

    def is_similar(one: int, other: int) -> bool:
        return minhash.jaccard(sets[one], sets[other]) >= task.settings.min_similarity

    candidates, similar = keep_pairs(task.out, task.pairs, task.shard << 32, (task.shard + 1) << 32, is_similar)
    return {"candidates": candidates, "similar": similar}


def _write_duplicates(task: JoinTask, refine: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> dict[str, Any]:
    """Write the duplicates in groups of equal keys.

    Args:
        refine: (groups, references) -> groups, which splits groups of different content.
    """
    with atomic_path(task.out) as path:
        writer = ArrayWriter(path, np.uint64, (2,))
        for keys, members in _groups(task):
            refined = refine(keys, members)
            order = task.judged.order(refined, members)
            groups, references = refined[order], members[order]
            first = np.r_[True, groups[1:] != groups[:-1]]
            representatives = references[np.flatnonzero(first)][np.cumsum(first) - 1]
            writer.add(np.stack([references[~first], representatives[~first]], axis=1))
        writer.close()
    return {"duplicates": writer.count}


def _groups(task: JoinTask) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(N,) keys in order and (N,) references that share a key, two or more, without those dropped before."""
    for keys, references in living(task):
        same = keys[1:] == keys[:-1]
        shared = np.r_[False, same] | np.r_[same, False] if len(keys) else np.empty(0, bool)
        if shared.any():
            yield keys[shared], references[shared]


def _gather(paths: list[Path]) -> Edges:
    """All edges of several files, sorted by the first row."""
    edges = np.concatenate([np.empty((0, 2), np.uint64), *(np.load(path, mmap_mode="r") for path in paths)])
    return edges[np.lexsort((edges[:, 1], edges[:, 0]))].T.copy()


REASONS = ("", "url", "exact", "near")


def duplicates_of_shard(work: Path, shard: int, kept: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of the `kept` documents of a shard are duplicates, and of which kept representatives.

    Returns: (kept,) uint8 index into REASONS, 0 where it stays; (kept,) uint64 reference of the kept representative.
    """
    low, high = np.array([shard << 32, (shard + 1) << 32], np.uint64)
    reasons, representatives = np.zeros(kept, np.uint8), np.zeros(kept, np.uint64)
    for code, reason in enumerate(REASONS[1:], 1):
        edges = np.load(work / "dropped" / f"{reason}.npy", mmap_mode="r")
        mine = edges[:, np.searchsorted(edges[0], low) : np.searchsorted(edges[0], high)]
        ordinals = (mine[0] & np.uint64(0xFFFFFFFF)).astype(np.int64)
        assert not reasons[ordinals].any(), f"{reason} removed a document of shard {shard} a second time"
        reasons[ordinals], representatives[ordinals] = code, mine[1]
    return reasons, representatives
