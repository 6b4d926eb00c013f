"""The life of one document: where it came from, what every rule said, what became of it, and its text with what was seen.

`make explain RUN=demo DOC=…` takes a doc_id, the first 6 or more of its hex digits, or a URL.
"""

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from corpus.audit.spans import MarkedSpan, legend, marked, text_spans
from corpus.drop_reasons import STAGES
from corpus.storage.decisions import DecisionFile, Decisions, open_decisions
from pipeline import cli
from pipeline.artifact import open_sealed
from pipeline.errors import PipelineError
from pipeline.runfile import RunFile
from pipeline.text.terminal import strip_control_chars

# Members of a cluster shown: what fits on a screen.
MEMBERS = 20


@dataclass
class RuleLine:
    """What one rule said."""

    name: str
    stage: str
    value: float | None
    bound: str
    threshold: float
    passed: bool | None  # None: never judged
    margin: float | None  # distance to the threshold; negative: it failed by that much
    formula: str
    source: str


@dataclass
class Member:
    """A document of the same cluster."""

    doc_id: str
    kind: str
    similarity: float | None


@dataclass
class Life:
    """All that is known."""

    row: dict[str, Any]
    shard: str
    preset: str
    rules: list[RuleLine]
    labels: dict[str, str] = field(default_factory=dict)  # reason -> what it is called
    representative: str = ""  # whose copy it is, or itself where it has copies
    representative_url: str = ""
    members: list[Member] = field(default_factory=list)
    member_count: int = 0
    text: str = ""
    text_from: str = ""  # "source", "documents" or ""
    text_problem: str = ""  # why there is none, or not from its source
    spans: list[MarkedSpan] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {key: value for key, value in asdict(self).items() if key != "labels"}


def explain(run: RunFile, decisions: Decisions, name: str) -> Life:
    """Everything about one document.

    Args:
        name: see `Decisions.find`.
    Raises: BadInput if no document, or more than one, is called so.
    """
    file, number = decisions.find(name)
    row = file.row(number)
    life = Life(row, file.shard, file.preset, rule_lines(file, row), decisions.labels)
    for rule in file.rules:
        row.pop(rule.name, None)
    _add_cluster(life, decisions)
    try:
        life.text = text_from_source(run, file, row["doc_id"])
        life.text_from = "source"
    except PipelineError as error:
        life.text_problem = str(error)
    except (OSError, ImportError) as error:  # a file, a share or a library for it that is no longer there
        life.text_problem = f"{type(error).__name__}: {error}"
    if not life.text and row["verdict"] == "kept":
        life.text, life.text_from = _kept_text(decisions, file, row["doc_id"]), "documents"
    if life.text:
        life.spans = find_spans(run, life)
    return life


def rule_lines(file: DecisionFile, row: dict[str, Any]) -> list[RuleLine]:
    """Every rule's value beside its threshold."""
    lines = []
    for rule in file.rules:
        value = row.get(rule.name)
        margin = None
        if value is not None:
            margin = value - rule.threshold if rule.bound == "least" else rule.threshold - value
        formula = "+".join(rule.above) + (f" / {'+'.join(rule.below)}" if rule.below else "")
        passed = None if margin is None else margin >= 0
        lines.append(
            RuleLine(
                name=rule.name,
                stage=rule.stage,
                value=value,
                bound=rule.bound,
                threshold=rule.threshold,
                passed=passed,
                margin=margin,
                formula=formula,
                source=rule.source,
            )
        )
    return lines


def text_from_source(run: RunFile, file: DecisionFile, doc_id: str) -> str:
    """Read a document again from its source and extract its text, as it was before the rules.

    Raises: PipelineError, OSError if the source can no longer be read or has another content.
    """
    from corpus.extract.document import Extracted, extract
    from corpus.filters.rules import load_preset
    from corpus.readers import RawDocument, needs_fetch, plan_shards, read_shard
    from corpus.settings import CorpusSettings
    from pipeline.errors import MissingInput

    settings = run.settings("corpus", CorpusSettings)
    source = next((one for one in settings.sources if one.name == file.source), None)
    if source is None:
        raise MissingInput(f"{run.path}: no [[corpus.sources]] named {file.source!r} any more")
    fetched = open_sealed(run.root("fetch")).data if needs_fetch([source]) else None
    shard = next((one for one in plan_shards(source, fetched) if one.name == file.shard), None)
    if shard is None:
        raise MissingInput(f"source {source.name!r} has no shard {file.shard} any more: its files have changed")
    preset = load_preset(source.preset or settings.preset, settings.rules)
    for record in read_shard(shard):
        if record.doc_id == doc_id:
            got = extract(record, preset.language, preset.least_kana) if isinstance(record, RawDocument) else record
            if isinstance(got, Extracted):
                return got.text
            raise MissingInput(f"it has no text: {got.reason} {got.detail}".rstrip())
    raise MissingInput(f"shard {file.shard} of source {source.name!r} no longer holds this document: its files have changed")


def find_spans(run: RunFile, life: Life) -> list[MarkedSpan]:
    """All that is marked in the text of a document."""
    from corpus.decontaminate import load_benchmarks
    from corpus.pii import mask
    from corpus.settings import CorpusSettings
    from corpus.stats.word_lists import LISTS, WordLists

    text = life.text
    lists = {column.removeprefix("words_") for rule in life.rules for column in re.split(r"[+ /]+", rule.formula)}
    words = WordLists.load(tuple(name for name in LISTS if name in lists))
    spans = [MarkedSpan("words", begin, end, name) for name in words.names for begin, end in words.spans(text, name)]
    spans += [MarkedSpan("personal", one.begin, one.end, one.kind) for one in mask.find(text, mask.KINDS)]
    try:
        wanted = run.settings("corpus", CorpusSettings).decontaminate
        if wanted.files:
            spans += [MarkedSpan("benchmark", hit.begin, hit.end, hit.detail) for hit in load_benchmarks(wanted).hits(text)]
    except PipelineError as error:
        life.text_problem = f"{life.text_problem}; {error}".removeprefix("; ")
    return sorted([*spans, *text_spans(text)], key=lambda span: (span.begin, span.end, span.kind, span.detail))


def _add_cluster(life: Life, decisions: Decisions) -> None:
    """The kept representative, and the other documents that were dropped in its favour."""
    import pyarrow.compute as pc

    doc_id = life.row["doc_id"]
    life.representative = life.row.get("duplicate_of") or doc_id
    for table in decisions.clusters():
        for row in table.filter(pc.call_function("equal", [table["survivor"], life.representative])).to_pylist():
            life.member_count += 1
            if len(life.members) < MEMBERS or row["doc_id"] == doc_id:
                life.members.append(Member(row["doc_id"], row.get("kind", ""), row.get("similarity")))
    if not life.member_count and life.representative == doc_id:
        life.representative = ""
    if life.representative and life.representative != doc_id:
        try:
            file, number = decisions.find(life.representative)
            life.representative_url = file.row(number, ("url",))["url"] or ""
        except PipelineError:  # a document of the corpus that this one grew from
            life.representative_url = "元になったコーパスの文書"


def _kept_text(decisions: Decisions, file: DecisionFile, doc_id: str) -> str:
    import pyarrow.parquet as pq

    path = decisions.manifest.data / "documents" / f"{file.shard}.parquet"
    result = pq.read_table(path, columns=["text"], filters=[("doc_id", "=", doc_id)])["text"].to_pylist()
    return result[0] if result else ""


def render(life: Life, *, colour: bool) -> str:
    """A document's life as people read it."""
    row = life.row
    lines = [f"文書 {row['doc_id']}"]
    for title, key in (("出典", "source"), ("URL", "url"), ("ホスト", "host"), ("題", "title"), ("日付", "date")):
        if row.get(key):
            lines.append(f"  {title}: {row[key]}")
    lines.append(f"  文字コード: {row.get('charset') or '不明'}  印: {row.get('flags') or 'なし'}  シャード: {life.shard}")
    size = row.get("characters")
    masked = f"  伏せた個人情報: {row['masked']}" if row.get("masked") else ""
    lines += [f"  文字数: {f'{size:,}' if size is not None else '(本文なし)'}{masked}", "", f"規則 (プリセット {life.preset})"]
    lines += [_rule_text(rule, life) for rule in life.rules]
    lines += ["", f"判定: {_verdict(life)}", *_cluster_text(life)]
    lines = [strip_control_chars(line, one_line=True) for line in lines]
    if life.text_problem:
        lines.append(strip_control_chars(f"元の本文は読めません: {life.text_problem}", one_line=True))
    if life.text:
        origin = "元データから再抽出した、判定時の本文" if life.text_from == "source" else "コーパスに保存された本文"
        lines += ["", f"本文 ({origin})", *legend(life.spans, colour=colour), marked(life.text, life.spans, colour=colour)]
    return "\n".join(lines)


def _rule_text(rule: RuleLine, life: Life) -> str:
    sign = "≥" if rule.bound == "least" else "≤"
    if rule.value is None or rule.margin is None:
        return f"  ・ {rule.name:<20} 値なし      {sign} {rule.threshold:g}"
    mark = "○" if rule.passed else "×"
    decisive = "  ← この規則で除外" if life.row.get("rule") == rule.name else ""
    name = life.labels.get(rule.name, rule.name)
    head = f"  {mark} {rule.name:<20} {rule.value:<11.5g} {sign} {rule.threshold:<8g}"
    return f"{head} 余裕 {rule.margin:+.4g}  {'' if rule.passed else name + ' '}[{rule.formula}]{decisive}"


def _verdict(life: Life) -> str:
    row = life.row
    if row["verdict"] == "kept":
        return "採用"
    stage = STAGES.get(row.get("stage") or "", row.get("stage") or "")
    detail = f" ({row['detail']})" if row.get("detail") else ""
    return f"除外  段階: {stage}  理由: {life.labels.get(row['rule'], row['rule'])} ({row['rule']}){detail}"


def _cluster_text(life: Life) -> list[str]:
    if not life.representative:
        return []
    own = life.representative == life.row["doc_id"]
    me = next((one for one in life.members if one.doc_id == life.row["doc_id"]), None)
    lines = [
        "重複の代表: この文書" if own else f"残った文書: {life.representative}  {life.representative_url}{_like(me)}",
        f"同じ代表の重複: {life.member_count:,} 文書",
    ]
    return lines + [f"    {one.doc_id}  {life.labels.get(one.kind, one.kind)}{_like(one)}" for one in life.members[:MEMBERS]]


def _like(member: Member | None) -> str:
    return f"  類似度 {member.similarity:.3f}" if member and member.similarity is not None else ""


def main(argv: Sequence[str] | None = None) -> None:
    """Print the life of one document."""
    parser = cli.run_parser("corpus.audit.explain", __doc__ or "")
    parser.add_argument("--doc", required=True, help="doc_id, its first 6 or more hex digits, or URL")
    parser.add_argument("--json", action="store_true", help="print JSON")
    chosen = parser.parse_args(argv)
    run = cli.open_run(chosen)
    life = explain(run, open_decisions(run.root("corpus")), chosen.doc)
    print(json.dumps(life.as_dict(), ensure_ascii=False, indent=1) if chosen.json else render(life, colour=sys.stdout.isatty()))


if __name__ == "__main__":
    cli.stage_main(main)
