"""What other thresholds would gain and lose, judged from the decisions of a sealed corpus in seconds; no text is read.

`make retune RUN=demo SET="kana=0.1 kuten=off"`. Nothing is written: to have such a corpus, set the thresholds in the run file.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from corpus.audit.promote import Promoted, promoted
from corpus.audit.rejudge import RejudgedRows, rejudge
from corpus.storage.decisions import DecisionFile, Decisions, RuleRow, check_name, open_decisions
from pipeline import cli
from pipeline.errors import BadInput
from pipeline.progress import echo
from pipeline.runfile import load_run
from pipeline.text.terminal import strip_control_chars

if TYPE_CHECKING:
    import pyarrow as pa

# Examples shown for each rule in each direction, and hosts: what fits on a screen.
EXAMPLES, HOSTS = 5, 20
# Stands for the reason of a document that a stage after the rules dropped.
LATER = "(later)"
NOTE = (
    "増える文書は見込みの上限です。規則で落ちた文書には重複判定の署名がないため、別の文書の重複かもしれません。"
    "評価データの除去など、選別より後の段階も未適用です。減る文書は確実です。"
)


@dataclass
class Example:
    """A document near a threshold whose verdict changes."""

    doc_id: str
    url: str
    title: str
    characters: int
    value: float


@dataclass
class Side:
    """All documents that go one way."""

    documents: int = 0
    characters: int = 0
    by_source: dict[str, list[int]] = field(default_factory=dict)  # name -> [documents, characters]
    by_host: dict[str, list[int]] = field(default_factory=dict)
    by_reason: dict[str, list[int]] = field(default_factory=dict)  # lost: the rule that drops it then; gained: dropped it now
    examples: dict[str, list[Example]] = field(default_factory=dict)


@dataclass
class Retuned:
    """The answer."""

    changes: dict[str, float | None]
    rows: int
    kept: int
    kept_characters: int
    gained: Side
    lost: Side
    moved: dict[str, int]  # dropped before and after, "old -> new" reason
    promoted: Promoted
    note: str = NOTE

    @property
    def kept_after(self) -> int:
        """Documents afterwards, where nothing gained is a copy."""
        return self.kept - self.lost.documents + self.gained.documents + self.promoted.documents

    def as_dict(self) -> dict[str, Any]:
        """What `--json` prints."""
        return asdict(self) | {"kept_after": self.kept_after}


@dataclass(frozen=True)
class _Candidate:
    distance: float
    file: DecisionFile
    row: int
    value: float

    @property
    def order(self) -> tuple[float, str, int]:
        return self.distance, self.file.shard, self.row


def parse_changes(words: Sequence[str], decisions: Decisions) -> dict[str, float | None]:
    """`["kana=0.1 kuten=off"]` -> {"kana": 0.1, "kuten": None}.

    Raises: BadInput for an unknown rule or what is not a number.
    """
    changes: dict[str, float | None] = {}
    for word in " ".join(words).split():
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise BadInput(f"SET={word}: expected rule=number or rule=off; rules: {', '.join(decisions.rule_names)}")
        check_name(name, decisions.rule_names, f"SET={word}")
        try:
            changes[name] = None if value == "off" else float(value)
        except ValueError:
            raise BadInput(f"SET={word}: expected a number or 'off', got {value!r}") from None
        if value != "off" and not np.isfinite(float(value)):
            raise BadInput(f"SET={word}: expected a finite number, or 'off' to switch the rule off")
    if not changes:
        raise BadInput(f"SET: expected rule=number or rule=off; rules: {', '.join(decisions.rule_names)}")
    return changes


def retune(decisions: Decisions, changes: Mapping[str, float | None]) -> Retuned:
    """Judge every document again with other thresholds.

    Holds one piece of a file at a time, a byte for every document, and the doc_ids of what is lost.
    """
    tally = _Tally(changes)
    for file in decisions.files:
        for piece in rejudge(file, changes):
            tally.add(piece)
    result = Retuned(
        changes=dict(changes),
        rows=tally.rows,
        kept=tally.kept,
        kept_characters=tally.characters,
        gained=tally.gained,
        lost=tally.lost,
        moved={},
        promoted=Promoted(),
    )
    result.moved = dict(tally.moved.most_common())
    for side, matches in ((tally.gained, tally.near["gained"]), (tally.lost, tally.near["lost"])):
        side.by_source = _most(side.by_source)
        side.by_host = _most(side.by_host, HOSTS)
        side.by_reason = _most(side.by_reason)
        side.examples = {name: [_example(one, decisions) for one in rows] for name, rows in sorted(matches.items())}
    if tally.lost_ids:
        result.promoted = promoted(decisions, tally.lost_ids, tally.passing)
    return result


class _Tally:
    """Adds up pieces."""

    def __init__(self, changes: Mapping[str, float | None]) -> None:
        self.changes = changes
        self.rows = self.kept = self.characters = 0
        self.gained, self.lost = Side(), Side()
        self.moved = Counter[str]()
        self.near: dict[str, dict[str, list[_Candidate]]] = {"gained": {}, "lost": {}}
        self.lost_ids: list[pa.ChunkedArray] = []
        self.passing: dict[str, list[np.ndarray]] = defaultdict(
            list
        )  # shard -> (rows,) bool: a copy that still passes the rules

    def add(self, piece: RejudgedRows) -> None:
        """Count one piece."""
        last = len(piece.file.rules)
        self.rows += len(piece.before)
        self.kept += int(piece.kept.sum())
        self.characters += int(piece.characters[piece.kept].sum())
        self.passing[piece.file.shard].append(piece.copy & (piece.after == last))
        differs = piece.before != piece.after
        lost = differs & piece.kept
        gained = differs & (piece.after == last)
        moved = differs & ~lost & ~gained
        if moved.any():
            self._move(piece, moved)
        if not (lost | gained).any():
            return
        table = piece.file.read(piece.groups, ("doc_id", "source", "host"))
        names = np.array([rule.name for rule in piece.file.rules])
        for side, mask, index in ((self.gained, gained, piece.before), (self.lost, lost, piece.after)):
            rows = np.flatnonzero(mask)
            if not len(rows):
                continue
            side.documents += len(rows)
            side.characters += int(piece.characters[rows].sum())
            self._split(side, table.take(rows), names[index[rows]], piece.characters[rows])
            self._near("gained" if side is self.gained else "lost", piece, rows, index[rows])
        if lost.any():
            self.lost_ids.append(table["doc_id"].filter(lost))

    def _move(self, piece: RejudgedRows, moved: np.ndarray) -> None:
        names = [*(rule.name for rule in piece.file.rules), LATER]
        pairs, counts = np.unique(np.stack([piece.before[moved], piece.after[moved]]), axis=1, return_counts=True)
        for (old, new), count in zip(pairs.T.tolist(), counts.tolist(), strict=True):
            self.moved[f"{names[old]} -> {names[new]}"] += count

    def _split(self, side: Side, table: "pa.Table", reasons: np.ndarray, characters: np.ndarray) -> None:
        import pyarrow as pa

        for into, column in ((side.by_source, "source"), (side.by_host, "host"), (side.by_reason, None)):
            if column is not None and column not in table.column_names:
                continue
            keys = pa.chunked_array([pa.array(reasons)]) if column is None else table[column]
            grouped = pa.table({"key": keys, "characters": characters}).group_by("key")
            for row in grouped.aggregate([("characters", "count"), ("characters", "sum")]).to_pylist():
                have = into.setdefault(row["key"] or "", [0, 0])
                have[0] += row["characters_count"]
                have[1] += row["characters_sum"]

    def _near(self, way: str, piece: RejudgedRows, rows: np.ndarray, places: np.ndarray) -> None:
        """Keep the documents nearest to the threshold that decides about them."""
        for column, index in enumerate(piece.changed):
            rule = piece.file.rules[index]
            mine = rows[places == index]
            result = piece.changed_values[mine, column]
            distance = np.abs(result - _limit(rule, self.changes))
            order = np.argsort(distance, kind="stable")[:EXAMPLES]
            have = self.near[way].setdefault(rule.name, []) if len(order) else []
            have += [
                _Candidate(float(distance[i]), piece.file, piece.begin + int(mine[i]), float(result[i])) for i in order.tolist()
            ]
            have.sort(key=lambda one: one.order)
            del have[EXAMPLES:]


def _limit(rule: RuleRow, changes: Mapping[str, float | None]) -> float:
    wanted = changes.get(rule.name)
    return rule.threshold if wanted is None else wanted


def _most(counts: dict[str, list[int]], limit: int | None = None) -> dict[str, list[int]]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1][0], item[0]))[:limit])


def _example(one: _Candidate, decisions: Decisions) -> Example:
    row = one.file.row(one.row, ("doc_id", "url", "title", "characters"))
    title = row["title"] if "title" in row else _title(decisions, one.file.shard, row["doc_id"])
    return Example(row["doc_id"], row["url"] or "", title or "", row["characters"] or 0, one.value)


def _title(decisions: Decisions, shard: str, doc_id: str) -> str:
    """Title of a kept document, "" of any other."""
    import pyarrow.parquet as pq

    path = decisions.manifest.data / "documents" / f"{shard}.parquet"
    result = pq.read_table(path, columns=["title"], filters=[("doc_id", "=", doc_id)])["title"].to_pylist()
    return result[0] or "" if result else ""


def render(result: Retuned, labels: Mapping[str, str]) -> str:
    """The answer as people read it; `labels`: name of a reason -> what it is called."""
    head = "  ".join(f"{name}={'off' if value is None else f'{value:g}'}" for name, value in result.changes.items())
    lines = [f"再判定: {head}  ({result.rows:,} 文書、本文は読んでいません)", ""]
    lines.append(f"現在の採用  {result.kept:,} 文書  {result.kept_characters:,} 文字")
    lines.append(f"変更後      {result.kept_after:,} 文書 (見込み)")
    for title, side, reasons in (("増える文書", result.gained, "現在の理由"), ("減る文書", result.lost, "新しい理由")):
        lines += ["", f"■ {title}: {side.documents:,} 文書、{side.characters:,} 文字"]
        lines += _rows("出典", side.by_source) + _rows(reasons, {labels.get(k, k): v for k, v in side.by_reason.items()})
        lines += _rows(f"ホスト (上位{HOSTS})", side.by_host)
        for name, examples in side.examples.items():
            lines.append(f"  境界に近い例 ({labels.get(name, name)})")
            lines += [f"    {one.value:<10.5g} {one.doc_id}  {one.title or '(無題)'}  {one.url}" for one in examples]
    lines += _promoted_rows(result.promoted)
    if result.moved:
        lines += ["", "■ 除外のまま理由だけが変わる文書"]
        for change, count in result.moved.items():
            ends = [labels.get(name, name) for name in change.split(" -> ")]
            lines.append(f"    {' → '.join(ends)}: {count:,} 文書".replace(LATER, "重複など後の段階"))
    return "\n".join(strip_control_chars(line, one_line=True) for line in [*lines, "", f"注: {result.note}"])


def _rows(title: str, counts: Mapping[str, list[int]]) -> list[str]:
    if not counts:
        return []
    return [
        f"  {title}",
        *(f"    {name or '(なし)'}: {documents:,} 文書、{size:,} 文字" for name, (documents, size) in counts.items()),
    ]


def _promoted_rows(found: Promoted) -> list[str]:
    if not found.freed:
        return []
    head = f"■ 残るはずの文書が落ち、代わりに採用される重複: {found.documents:,} 文書、{found.characters:,} 文字"
    lines = ["", f"{head} (重複 {found.freed:,} 文書のうち。残りは除外のまま)"]
    for one in found.examples:
        like = f"類似度 {one.similarity:.3f}" if one.similarity is not None else one.kind
        lines.append(f"    {one.representative} → {one.doc_id} ({like}、{one.characters:,} 文字) {one.url}")
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    """Print what other thresholds would do."""
    parser = cli.run_parser(
        "corpus.audit.retune", __doc__ or "", set_metavar="RULE=VALUE", set_help="another threshold, or off"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    chosen = parser.parse_args(argv)
    run = load_run(chosen.run, data=chosen.data, artifacts=chosen.artifacts)
    decisions = open_decisions(run.root("corpus"))
    result = retune(decisions, parse_changes(chosen.set, decisions))
    echo(json.dumps(result.as_dict(), ensure_ascii=False, indent=1) if chosen.json else render(result, decisions.labels))


if __name__ == "__main__":
    cli.stage_main(main)
