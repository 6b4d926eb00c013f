"""What the report says of benchmarks: of each its items, how many a document held, the worst of them, and those documents.

Read from contamination.jsonl (a row for every benchmark text), contamination/<shard>.jsonl (a row for every text and
document) and, for the addresses, the rows of decisions/ of the documents that are shown.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corpus.output.account import ITEMS

# Items of a benchmark and documents of an item that are shown: what can be read, and looked at by `make explain`.
WORST, DOCUMENTS = 10, 5


@dataclass
class Holding:
    """A document that holds a text of an item."""

    doc_id: str
    share: float  # of the text's different n-grams
    url: str = ""


@dataclass
class ItemRow:
    """An item that documents hold; of several texts, the one that most documents hold."""

    item: str
    text: str  # the field of the benchmark that the text is in
    documents: int
    share: float  # the largest
    holdings: list[Holding] = field(default_factory=list)  # the clearest


@dataclass
class BenchmarkRow:
    """One benchmark file."""

    file: str
    items: int = 0
    unsought: int = 0  # items all of whose texts are too short to be sought
    hit: int = 0
    documents: int = 0  # different ones that hold any of its texts
    worst: list[ItemRow] = field(default_factory=list)


def read_benchmarks(data: Path) -> list[BenchmarkRow]:
    """One row for each benchmark of a corpus, in the order of the run file; none where none was given.

    Args:
        data: the corpus artifact's data folder.
    """
    if not (data / ITEMS).exists():
        return []
    rows: dict[str, BenchmarkRow] = {}
    texts: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for text in _rows(data / ITEMS):
        rows.setdefault(text["file"], BenchmarkRow(text["file"]))
        texts.setdefault((text["file"], text["item"]), []).append(text)
    for (file, item), mine in texts.items():
        row, worst = rows[file], max(mine, key=lambda text: (text["documents"], text["max_share"]))
        row.items += 1
        row.unsought += all(text["check"] == "too short" for text in mine)
        if worst["documents"]:
            row.hit += 1
            row.worst.append(ItemRow(item, worst["field"], worst["documents"], worst["max_share"]))
    for row in rows.values():
        row.worst = sorted(row.worst, key=lambda item: (-item.documents, -item.share, item.item))[:WORST]
    _add_documents(data, rows)
    return list(rows.values())


def _add_documents(data: Path, rows: dict[str, BenchmarkRow]) -> None:
    shown = {(row.file, item.item, item.text): item for row in rows.values() for item in row.worst}
    existing: dict[str, set[str]] = {file: set() for file in rows}
    shard_of: dict[str, str] = {}
    for path in sorted((data / "contamination").glob("*.jsonl")):
        matches: dict[tuple[str, str, str], dict[str, float]] = {}
        for hit in _rows(path):
            existing[hit["file"]].add(hit["doc_id"])
            key = hit["file"], hit["item"], hit["field"]
            if key in shown:
                shares = matches.setdefault(key, {})
                shares[hit["doc_id"]] = max(hit["share"], shares.get(hit["doc_id"], 0.0))
        for key, shares in matches.items():
            clearest = [*shown[key].holdings, *(Holding(doc_id, share) for doc_id, share in shares.items())]
            shown[key].holdings = sorted(clearest, key=lambda one: (-one.share, one.doc_id))[:DOCUMENTS]
            shard_of |= dict.fromkeys(shares, path.stem)
    for row in rows.values():
        row.documents = len(existing[row.file])
    holdings = [one for item in shown.values() for one in item.holdings]
    urls = _urls(data, {one.doc_id: shard_of[one.doc_id] for one in holdings})
    for one in holdings:
        one.url = urls.get(one.doc_id, "")


def _urls(data: Path, shard_of: dict[str, str]) -> dict[str, str]:
    """Addresses of documents, by the decisions of the shards that they came in."""
    import pyarrow.parquet as pq

    matches: dict[str, str] = {}
    for shard in sorted(set(shard_of.values())):
        ids = [doc_id for doc_id, of in shard_of.items() if of == shard]
        table = pq.read_table(
            data / "decisions" / f"{shard}.parquet", columns=["doc_id", "url"], filters=[("doc_id", "in", ids)]
        )
        matches |= dict(zip(table["doc_id"].to_pylist(), table["url"].to_pylist(), strict=True))
    return matches


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)
