"""Documents that hold texts of evaluation benchmarks are dropped; `pipeline.text.benchmark_match` says what "hold" means."""

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.text.benchmark_files import read_passages
from pipeline.text.benchmark_match import BenchmarkHit, BenchmarkIndex, BenchmarkText, MatchSettings


@dataclass(frozen=True)
class DecontaminateSettings:
    """`[corpus.decontaminate]`: benchmark files whose texts no kept document may hold; no files: switched off."""

    files: tuple[Path, ...] = ()  # any format that `pipeline.text.benchmark_files` reads
    fields: tuple[str, ...] = ()  # fields of the texts; (): those of the known layouts
    ngram: int = MatchSettings.ngram
    min_share: float = MatchSettings.min_share
    shortest: int = MatchSettings.shortest

    def __post_init__(self) -> None:
        self.match()
        names = [path.name for path in self.files]
        if len(set(names)) != len(names) or len(set(self.fields)) != len(self.fields):
            raise ValueError(f"files = {names}, fields = {list(self.fields)}: expected different names")
        if self.fields and not self.files:
            raise ValueError("fields has no effect without files")

    def match(self) -> MatchSettings:
        """Return the settings that decide whether a document holds a text."""
        return MatchSettings(self.ngram, self.min_share, self.shortest)


@functools.lru_cache(maxsize=2)
def load_benchmarks(settings: DecontaminateSettings) -> BenchmarkIndex:
    """Read and index the benchmark files; once a process for the same settings.

    Raises: MissingInput, BadInput, ConfigError as `read_passages`.
    """
    passages = [passage for path in settings.files for passage in read_passages(path, settings.fields)]
    return BenchmarkIndex.build(passages, settings.match())


def contamination_rows(doc_id: str, hits: Iterable[BenchmarkHit]) -> list[dict[str, Any]]:
    """Return a document's rows of data/contamination/<shard>.jsonl."""
    return [{"doc_id": doc_id, **hit._asdict()} for hit in hits]


def item_table(texts: Iterable[BenchmarkText], rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one row for each benchmark text: how it was searched for, how many documents hold it, the clearest of them.

    Args:
        texts: `BenchmarkIndex.texts`.
        rows: `contamination_rows` of all shards, in any order.
    Returns: {file, item, field, characters, check, documents, max_share, doc_id}; doc_id None if no document holds it.
    """
    table = {text[:3]: {**text._asdict(), "documents": 0, "max_share": 0.0, "doc_id": None} for text in texts}
    documents: dict[tuple[str, str, str], dict[str, float]] = {}
    for row in rows:
        shares = documents.setdefault((row["file"], row["item"], row["field"]), {})
        shares[row["doc_id"]] = max(row["share"], shares.get(row["doc_id"], 0.0))
    for key, shares in documents.items():
        clearest = min(shares, key=lambda doc_id: (-shares[doc_id], doc_id))
        table[key] |= {"documents": len(shares), "max_share": shares[clearest], "doc_id": clearest}
    return list(table.values())
