"""Reading the decisions of a sealed corpus: what every rule said of every document that came in, a bounded piece at a time."""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from corpus import drop_reasons
from pipeline.artifact import Manifest, open_sealed
from pipeline.documents import source_of_shard
from pipeline.errors import BadInput, CorruptArtifact, MissingInput

if TYPE_CHECKING:
    import pyarrow as pa

# Key of the Parquet metadata: JSON of the preset, its rules with their thresholds, and the settings of dedup.
RULES_KEY = b"minamoto.rules"
# Rows taken into memory together: 40 columns of 8 bytes are 40 MB; a row group may be far smaller than that.
CHUNK_ROWS = 1 << 17
# Hex digits of a doc_id, and the fewest that a person may type: 6 tell one of 16 million apart.
ID_DIGITS, ID_SHORTEST = 32, 6


@dataclass(frozen=True)
class RuleRow:
    """A rule as a decisions file states it."""

    name: str
    stage: str
    bound: str  # "least" or "most"
    threshold: float
    above: tuple[str, ...] = ()
    below: tuple[str, ...] = ()
    source: str = ""  # where the threshold comes from
    label: str = ""  # what its drops are called to people

    def fails(self, values: np.ndarray, threshold: float | None = None) -> np.ndarray:
        """Which values break the rule, (N,) bool; NaN (never judged) breaks nothing."""
        limit = self.threshold if threshold is None else threshold
        return values < limit if self.bound == "least" else values > limit

    @property
    def off(self) -> float:
        """The threshold that every document passes."""
        return -np.inf if self.bound == "least" else np.inf


@dataclass(frozen=True)
class DecisionFile:
    """One file of decisions/, and how its documents were judged."""

    path: Path
    rows: int
    columns: frozenset[str]
    preset: str
    rules: tuple[RuleRow, ...]  # in the order of judging: the first that fails is the verdict
    dedup: Mapping[str, Any]

    @property
    def shard(self) -> str:
        """Name of the shard, which is the name of the file."""
        return self.path.stem

    @property
    def source(self) -> str:
        """Name of the source that the shard belongs to."""
        return source_of_shard(self.path.stem)

    def chunks(self, columns: Sequence[str], size: int = CHUNK_ROWS) -> Iterator[tuple[int, list[int], "pa.Table"]]:
        """The table in pieces of whole row groups with about `size` rows.

        Args:
            columns: those that the file does not have are left out.
        Yields: row at which the piece begins, row groups it is made of, the piece.
        """
        import pyarrow.parquet as pq

        wanted = [name for name in columns if name in self.columns]
        with pq.ParquetFile(self.path) as file:
            begin, rows, groups = 0, 0, []
            for group in range(file.num_row_groups):
                groups.append(group)
                rows += file.metadata.row_group(group).num_rows
                if rows >= size or group == file.num_row_groups - 1:
                    yield begin, groups, file.read_row_groups(groups, columns=wanted)
                    begin, rows, groups = begin + rows, 0, []

    def read(self, groups: Sequence[int], columns: Sequence[str]) -> "pa.Table":
        """Some columns of some row groups."""
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.path) as file:
            return file.read_row_groups(list(groups), columns=[name for name in columns if name in self.columns])

    def row(self, number: int, columns: Sequence[str] | None = None) -> dict[str, Any]:
        """One row, by its place in the file."""
        import pyarrow.parquet as pq

        wanted = sorted(self.columns) if columns is None else [name for name in columns if name in self.columns]
        with pq.ParquetFile(self.path) as file:
            first = 0
            for group in range(file.num_row_groups):
                size = file.metadata.row_group(group).num_rows
                if number < first + size:
                    table = file.read_row_group(group, columns=wanted)
                    return table.slice(number - first, 1).to_pylist()[0]
                first += size
        raise IndexError(f"{self.path}: row {number} of {self.rows}")


@dataclass(frozen=True)
class Decisions:
    """All decisions of a sealed corpus."""

    manifest: Manifest
    files: tuple[DecisionFile, ...]

    @property
    def rule_names(self) -> list[str]:
        """Rules of all presets of the run, in the order of judging."""
        return list(dict.fromkeys(rule.name for file in self.files for rule in file.rules))

    @property
    def labels(self) -> dict[str, str]:
        """What people read for the reason of a drop, by its name, in the order in which reasons apply."""
        return drop_reasons.labels((rule.stage, rule.name, rule.label) for file in self.files for rule in file.rules)

    def clusters(self, columns: Sequence[str] = ("doc_id", "survivor", "kind", "similarity")) -> Iterator["pa.Table"]:
        """The rows of clusters/, a bounded piece at a time: every copy, for whom it fell, how, how like they are."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        for path in sorted((self.manifest.data / "clusters").glob("*.parquet")):
            with pq.ParquetFile(path) as file:
                wanted = [name for name in columns if name in file.schema_arrow.names]
                for batch in file.iter_batches(CHUNK_ROWS, columns=wanted):
                    yield pa.Table.from_batches([batch])

    def find(self, name: str) -> tuple[DecisionFile, int]:
        """The file and the row of a document.

        Args:
            name: a doc_id, an unambiguous beginning of one (6 hex digits or more), or a URL.
        Raises: BadInput if no document, or more than one, is called so.
        """
        result = self._matches(name)
        if len(result) == 1:
            return result[0][0], result[0][1]
        if result:
            ids = ", ".join(doc_id for _, _, doc_id in result[:5]) + (", …" if len(result) > 5 else "")
            raise BadInput(f"DOC={name}: {len(result)} documents of {self.manifest.root} are called so; give one of {ids}")
        raise BadInput(
            f"DOC={name}: no document of {self.manifest.root} has this doc_id or URL; expected a doc_id of {ID_DIGITS} hex "
            f"digits, its first {ID_SHORTEST} or more, or the URL as decisions/ has it"
        )

    def _matches(self, name: str) -> list[tuple[DecisionFile, int, str]]:
        import pyarrow.compute as pc

        digits = name.lower()
        is_prefix = ID_SHORTEST <= len(digits) <= ID_DIGITS and not set(digits) - set("0123456789abcdef")
        matches = []
        for file in self.files:
            for begin, _, table in file.chunks(("doc_id", "url")):
                hit = pc.call_function("equal", [table["url"], name])
                if is_prefix:
                    prefix = pc.call_function("starts_with", [table["doc_id"]], pc.MatchSubstringOptions(digits))
                    hit = pc.call_function("or_kleene", [hit, prefix])
                indices = np.flatnonzero(hit.fill_null(False).to_numpy())
                ids = table["doc_id"]
                matches += [(file, begin + int(index), ids[int(index)].as_py()) for index in indices]
        return matches


def open_decisions(root: Path, *, check: bool = True) -> Decisions:
    """Open the decisions of a corpus artifact.

    Args:
        root: artifacts/corpus/<run>.
        check: compare the files with the manifest (the stage that has just sealed it need not).
    Raises: MissingInput if it is not sealed; CorruptArtifact if a file is not what was sealed, or states no rules.
    """
    manifest = open_sealed(root) if check else _manifest(root)
    paths = sorted((manifest.data / "decisions").glob("*.parquet"))
    if not paths:
        raise MissingInput(f"{manifest.data}: no decisions/*.parquet; expected a corpus artifact")
    return Decisions(manifest, tuple(map(_open, paths)))


def check_name(name: str, known: Sequence[str], where: str) -> None:
    """Raise BadInput where no rule is called so, with the one that was probably meant."""
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        raise BadInput(f"{where}: this run has no rule {name!r}; {hint}")


def _manifest(root: Path) -> Manifest:
    path = root / "manifest.json"
    if not path.exists():
        raise MissingInput(f"{root}: no sealed corpus artifact; make it with `make corpus RUN={root.name}`")
    return Manifest(root, json.loads(path.read_text("utf-8")))


def _open(path: Path) -> DecisionFile:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        schema, rows = file.schema_arrow, file.metadata.num_rows
    stated = (schema.metadata or {}).get(RULES_KEY)
    if stated is None:
        raise CorruptArtifact(
            f"{path}: its metadata has no {RULES_KEY.decode()}; made by another version: make the corpus again"
        )
    body = json.loads(stated)
    rules = tuple(
        RuleRow(
            name=row["name"],
            stage=row["stage"],
            bound=row["bound"],
            threshold=float(row["threshold"]),
            above=tuple(row.get("above", ())),
            below=tuple(row.get("below", ())),
            source=row.get("source", ""),
            label=row.get("label", ""),
        )
        for row in body["rules"]
    )
    return DecisionFile(
        path=path,
        rows=rows,
        columns=frozenset(schema.names),
        preset=body.get("preset", ""),
        rules=rules,
        dedup=body.get("dedup") or {},
    )


def values(table: "pa.Table", names: Sequence[str]) -> np.ndarray:
    """Columns of numbers as (rows, len(names)) float64; null becomes NaN."""
    results = np.empty((table.num_rows, len(names)))
    for index, name in enumerate(names):
        results[:, index] = table[name].to_numpy()
    return results


def codes(column: "pa.ChunkedArray", names: Sequence[str]) -> np.ndarray:
    """Places of strings in `names`, (rows,) int64; -1 for any other string and for null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    result = pc.call_function("index_in", [column], pc.SetLookupOptions(pa.array(names, pa.string())))
    return result.fill_null(-1).to_numpy().astype(np.int64)
