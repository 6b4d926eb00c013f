"""New documents that are copies of documents of the base: keys looked up, candidates compared, by ranges as in `corpus.dedup`.

Candidates are compared by a task for each run of base shards, in the order of the base's documents, so that each row
group that holds a candidate is read once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from corpus.dedup import captures
from corpus.dedup.base_corpus import BaseCorpus, matches
from corpus.dedup.pairs import PAIRS_IN_MEMORY, JoinTask, ShingleSets, distinct, keep_pairs, living, write_runs
from corpus.dedup.settings import DedupSettings
from corpus.storage.judged import FIRST_BAND, TEXT_KEY, URL_KEY, Judged
from corpus.storage.references import BASE, is_base
from pipeline.artifact import Artifact
from pipeline.shards import map_shards
from pipeline.text import minhash


@dataclass(frozen=True)
class WithBase:
    """New documents and those of the base under one kind of reference; a document of the base ranks before any new one."""

    judged: Judged
    base: BaseCorpus

    def text(self, reference: int) -> str:
        """A document's text; of the base, as it was published."""
        return self.base.text(reference) if reference & BASE else self.judged.text(reference)

    def ranks(self, references_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `Judged.ranks`."""
        of_base = is_base(references_N)
        sizes_N, ids_N2 = np.empty(len(references_N), np.uint32), np.empty((len(references_N), 2), np.uint64)
        sizes_N[of_base], ids_N2[of_base] = self.base.ranks(references_N[of_base])
        sizes_N[~of_base], ids_N2[~of_base] = self.judged.ranks(references_N[~of_base])
        return sizes_N, ids_N2

    def order(self, groups_N: np.ndarray, references_N: np.ndarray) -> np.ndarray:
        """As `Judged.order`, documents of the base first."""
        sizes_N, ids_N2 = self.ranks(references_N)
        return np.lexsort((references_N, ids_N2[:, 1], ids_N2[:, 0], ~sizes_N, ~is_base(references_N), groups_N))


@dataclass(frozen=True)
class _Published(WithBase):
    """Texts as the base has or would have them: its personal data may be masked, and that of new documents is not yet."""

    def text(self, reference: int) -> str:
        text = WithBase.text(self, reference)
        return text if reference & BASE else self.base.as_published(text)


@dataclass(frozen=True)
class BaseJoinTask(JoinTask):
    """One range of one kind of the new documents' keys, to look up in the base's."""

    base: BaseCorpus


@dataclass(frozen=True)
class BaseCheckTask:
    """The candidates that base shards [begin, end) hold."""

    judged: Judged
    base: BaseCorpus
    kind: int
    begin: int
    end: int
    pairs: tuple[Path, ...]  # folders that join_base left
    settings: DedupSettings
    out: Path


def match_base(
    artifact: Artifact, both: WithBase, dropped: Path | None, kind: int, parts: int, settings: DedupSettings
) -> tuple[np.ndarray, int]:
    """Pairs of a new document and one of the base that are copies.

    Args:
        dropped: new documents that are out already, sorted.
        kind: URL_KEY, TEXT_KEY, or FIRST_BAND for all bands together.
        parts: ranges that the new keys are cut into.
    Returns: (P, 2) uint64, the new document first, sorted; and how many candidates were compared.
    """
    name = {URL_KEY: "url", TEXT_KEY: "exact", FIRST_BAND: "near"}[kind]
    label = {"url": "同じURL", "exact": "同じ本文", "near": "近い本文"}[name]
    kinds = range(kind, kind + settings.bands) if kind == FIRST_BAND else (kind,)
    work = artifact.work / "base" / name
    joins = {
        f"{one:03}-{part:05}": BaseJoinTask(
            judged=both.judged,
            dropped=dropped,
            kind=one,
            part=part,
            parts=parts,
            window=settings.window,
            out=work / "pairs" / f"{one:03}-{part:05}",
            base=both.base,
        )
        for one in kinds
        for part in range(parts)
    }
    map_shards(join_base, joins, artifact, step=f"base_{name}", label=f"元のコーパスとの照合（{label}の候補）")
    folders = tuple(task.out for task in joins.values())
    shards = len(both.base.names)
    tasks = min(shards, max(len(both.judged.names), 1))
    checks = {
        f"{number:05}": BaseCheckTask(
            judged=both.judged,
            base=both.base,
            kind=kind,
            begin=number * shards // tasks,
            end=(number + 1) * shards // tasks,
            pairs=folders,
            settings=settings,
            out=work / "edges" / f"{number:05}.npy",
        )
        for number in range(tasks)
    }
    stats = map_shards(check_base, checks, artifact, step=f"base_{name}_check", label=f"元のコーパスとの照合（{label}）")
    pairs = np.concatenate([np.load(task.out) for task in checks.values()])[:, ::-1]
    return distinct(pairs), sum(row["candidates"] for row in stats.values())


def duplicates_of_base(both: WithBase, pairs_P2: np.ndarray) -> np.ndarray:
    """Each new document once, with the document of the base that ranks first: (2, E), sorted by the new one."""
    order = both.order(pairs_P2[:, 0], pairs_P2[:, 1])
    ordered = pairs_P2[order]
    first = np.r_[True, ordered[1:, 0] != ordered[:-1, 0]] if len(ordered) else np.empty(0, bool)
    return ordered[first].T.copy()


def join_base(task: BaseJoinTask) -> dict[str, Any]:
    """Candidates of one range of new keys, as pairs of (base, new)."""
    return {"pairs": write_runs(task.out, _candidates(task))}


def _candidates(task: BaseJoinTask) -> Iterator[np.ndarray]:
    at_once = max(PAIRS_IN_MEMORY // task.window, 1)
    for keys, references in living(task):
        existing = task.base.lookup(task.kind, np.unique(keys))
        met = np.flatnonzero(np.isin(keys, existing[0]))
        for begin in range(0, len(met), at_once):
            piece = met[begin : begin + at_once]
            new = keys[piece], references[piece]
            sizes = (lambda some: task.base.ranks(some)[0]), (lambda some: task.judged.ranks(some)[0])
            yield matches(new, existing, task.window, *sizes)


def check_base(task: BaseCheckTask) -> dict[str, Any]:
    """Keep the candidates that are copies: captures of one page, equal texts, or sets of shingles that are similar enough."""
    both = _Published(task.judged, task.base)
    sets = ShingleSets(both.text, captures.SHINGLE if task.kind == URL_KEY else task.settings.shingle)

    def same_record(base: int, new: int) -> bool:
        one, other = both.ranks(np.array([base, new], np.uint64))[1].tolist()
        return one == other

    def is_copy(base: int, new: int) -> bool:
        if task.kind == URL_KEY:  # one record that came in twice is one page, whatever was cut from its text since
            return same_record(base, new) or captures.is_capture(sets[base], sets[new])
        if task.kind == TEXT_KEY:
            return task.base.text(base) == both.text(new)
        return minhash.jaccard(sets[base], sets[new]) >= task.settings.min_similarity

    candidates, copies = keep_pairs(task.out, task.pairs, BASE | task.begin << 32, BASE | task.end << 32, is_copy)
    return {"candidates": candidates, "copies": copies}
