"""Which duplicate replaces a kept representative that is dropped: read from clusters/ and decisions/."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from corpus.storage.decisions import Decisions

if TYPE_CHECKING:
    import pyarrow as pa

# Clusters shown: what fits on a screen.
SHOWN = 10


@dataclass
class Heir:
    """A duplicate that replaces its kept representative."""

    representative: str
    doc_id: str
    kind: str
    similarity: float | None
    characters: int
    url: str


@dataclass
class Promoted:
    """All of them. That members of a cluster are copies of each other is taken over from the cluster."""

    freed: int = 0  # duplicates whose kept representative is dropped
    documents: int = 0  # of them promoted: one a cluster, where one passes the rules
    characters: int = 0
    examples: list[Heir] = field(default_factory=list)


@dataclass(frozen=True)
class _Copy:
    root: str  # the kept document at the end of its chain of kept representatives
    kind: str
    similarity: float | None


def promoted(decisions: Decisions, lost: "Sequence[pa.ChunkedArray]", passing: Mapping[str, list[np.ndarray]]) -> Promoted:
    """Who is promoted.

    Args:
        lost: doc_ids of kept documents that fall.
        passing: shard -> for each row whether it is a copy that passes the rules.
    """
    copies = _freed(decisions, lost)
    result = Promoted(freed=len(copies))
    best: dict[str, Heir] = {}
    for doc_id, characters, url in _passing_copies(decisions, copies, passing):
        copy = copies[doc_id]
        heir = Heir(
            representative=copy.root, doc_id=doc_id, kind=copy.kind, similarity=copy.similarity, characters=characters, url=url
        )
        have = best.get(copy.root)
        if have is None or (-heir.characters, heir.doc_id) < (-have.characters, have.doc_id):  # as `Judged.order` ranks
            best[copy.root] = heir
    result.documents, result.characters = len(best), sum(heir.characters for heir in best.values())
    result.examples = sorted(best.values(), key=lambda heir: (-heir.characters, heir.doc_id))[:SHOWN]
    return result


def _freed(decisions: Decisions, lost: "Sequence[pa.ChunkedArray]") -> dict[str, _Copy]:
    """Every duplicate whose chain of kept representatives ends in a lost document.

    The representative of one pass may be a duplicate in the next.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    copies: dict[str, _Copy] = {}
    wanted = pa.chunked_array([chunk for array in lost for chunk in array.chunks], pa.string())
    while len(wanted):
        matches: dict[str, _Copy] = {}
        for table in decisions.clusters():
            hit = pc.call_function("is_in", [table["survivor"]], pc.SetLookupOptions(wanted.combine_chunks()))
            for row in table.filter(hit).to_pylist():
                above = copies.get(row["survivor"])
                if row["doc_id"] not in copies:
                    root = above.root if above else row["survivor"]
                    matches[row["doc_id"]] = _Copy(root, row.get("kind", ""), row.get("similarity"))
        copies |= matches
        wanted = pa.chunked_array([pa.array(list(matches), pa.string())])
    return copies


def _passing_copies(
    decisions: Decisions, copies: Mapping[str, _Copy], passing: Mapping[str, list[np.ndarray]]
) -> list[tuple[str, int, str]]:
    """doc_id, characters and URL of every freed copy that passes the rules."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not copies:
        return []
    ids = pc.SetLookupOptions(pa.array(list(copies), pa.string()))
    matches = []
    for file in decisions.files:
        rows = np.concatenate(passing[file.shard]) if passing.get(file.shard) else np.empty(0, bool)
        if not rows.any():
            continue
        for begin, _, table in file.chunks(("doc_id", "characters", "url")):
            hit = pc.call_function("is_in", [table["doc_id"]], ids).to_numpy() & rows[begin : begin + table.num_rows]
            matches += [(row["doc_id"], row["characters"] or 0, row["url"] or "") for row in table.filter(hit).to_pylist()]
    return matches
