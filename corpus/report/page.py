"""The report of a corpus: one HTML file beside the manifest, with its pictures inside and nothing from the network.

`make report RUN=demo`. All of it but the section on speed follows from the artifact alone: the same artifact gives the
same bytes. It is not part of the artifact's digest.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from corpus.drop_reasons import STAGES
from corpus.report.charts import Bar, Histogram, bars, histogram, printable
from corpus.report.data import LENGTHS, SIMILARITIES, ReportData, RuleValues, collect
from corpus.report.speed import Speed, in_mb, measure_speed
from corpus.storage.decisions import Decisions, open_decisions
from pipeline.files import write_text

TEMPLATE = Path(__file__).parent / "page.html.jinja"
NAME = "report.html"
# Rows of a picture: what can be read without scrolling past it.
TOP = 20
_CLUSTERS = ((2, 2), (3, 3), (4, 5), (6, 10), (11, 30), (31, 100), (101, 1000), (1001, 10**12))


def write_report(root: Path, *, check: bool = False) -> Path:
    """Write report.html beside the manifest of a sealed corpus artifact.

    Args:
        root: artifacts/corpus/<run>.
        check: compare every file with the manifest first; the stage that has just sealed it need not.
    Returns: the file's path.
    Raises: MissingInput if it is not sealed; CorruptArtifact if its decisions cannot be read as such.
    """
    decisions = open_decisions(root, check=check)
    path = root / NAME
    write_text(path, render(decisions, collect(decisions), measure_speed(root)))
    return path


def render(decisions: Decisions, data: ReportData, speed: Speed) -> str:
    """The page; everything that is not a picture of ours is escaped by the template."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["printable"] = printable
    body = decisions.manifest.body
    came = {source: kept[0] + data.fates[source].total() for source, kept in data.kept.items()}
    return environment.from_string(TEMPLATE.read_text("utf-8")).render(
        run=decisions.manifest.root.name,
        digest=decisions.manifest.digest,
        made=body.get("made", {}),
        came=sum(came.values()),
        kept=sum(kept for kept, _ in data.kept.values()),
        characters=sum(size for _, size in data.kept.values()),
        funnels=_funnels(data, came),
        table=_table(decisions, data, came),
        reasons=_reasons(decisions, data),
        rules=[_rule(values) for values in data.rules.values()],
        hosts=_hosts(data),
        hidden=data.hosts.hidden,
        languages=_languages(decisions, data),
        charsets=_counted("文字コード", data.charsets),
        flags=_counted("文字コードの印", data.flags),
        lengths=_lengths(data),
        copies=_copies(decisions, data),
        masked=_masked(decisions, data),
        benchmarks=data.benchmarks,
        benchmark_hits=sum(n for f in data.fates.values() for (offset, _), n in f.items() if offset == "decontaminate"),
        speed=_speed(speed),
        bounds=[(bound.name, in_mb(bound.rate)) for bound in speed.bounds],
    )


def _share(part: float, whole: float) -> str:
    return f"{part:,.0f} ({part / whole:.1%})" if whole else f"{part:,.0f}"


def _funnels(data: ReportData, came: Mapping[str, int]) -> list[str]:
    """What is left after each stage, in documents and in characters, over all sources."""
    dropped = {stage: sum(n for f in data.fates.values() for (at, _), n in f.items() if at == stage) for stage in data.stages}
    sizes = {stage: sum(counts[stage] for counts in data.sizes.values()) for stage in data.stages}
    total = sum(came.values())
    characters = sum(sizes.values()) + sum(size for _, size in data.kept.values())
    pictures = []
    for unit, counts, whole in (("文書数", dropped, total), ("文字数", sizes, characters)):
        rows, left = list[Bar](), whole
        if unit == "文書数":
            rows.append(Bar("入力", (left, 0), _share(left, whole)))
        for stage in data.stages:
            if unit == "文字数" and stage == "read":
                rows.append(Bar("本文あり", (left, 0), _share(left, whole)))
                continue
            left -= counts[stage]
            rows.append(Bar(f"→ {STAGES.get(stage, stage)}", (left, counts[stage]), _share(left, whole)))
        rows.append(Bar("採用", (left, 0), _share(left, whole)))
        pictures.append(bars(f"各段階の後に残る{unit}", rows, ("残る", "この段階で除外")))
    return pictures


def _table(decisions: Decisions, data: ReportData, came: Mapping[str, int]) -> dict[str, Any]:
    """The account, a row a source."""
    stages = data.stages
    heads = ["出典", "入力", *(STAGES.get(stage, stage) for stage in stages), "採用", "採用率", "採用した文字数"]
    rows = []
    for source in sorted(data.kept):
        kept, size = data.kept[source]
        dropped = [sum(n for (offset, _), n in data.fates[source].items() if offset == stage) for stage in stages]
        cells = [came[source], *dropped, kept]
        rows.append([source, *(f"{n:,}" for n in cells), f"{kept / max(came[source], 1):.1%}", f"{size:,}"])
    presets = sorted({(file.source, file.preset) for file in decisions.files})
    return {"heads": heads, "rows": rows, "presets": "、".join(f"{source}: {preset}" for source, preset in presets)}


def _reasons(decisions: Decisions, data: ReportData) -> str:
    """How many documents each reason dropped, in the order of judging."""
    labels = decisions.labels
    order = {name: index for index, name in enumerate(decisions.rule_names)}
    total: dict[tuple[str, str], int] = {}
    for fates in data.fates.values():
        for key, count in fates.items():
            total[key] = total.get(key, 0) + count
    stages = data.stages
    keys = sorted(total, key=lambda key: (stages.index(key[0]) if key[0] in stages else 99, order.get(key[1], 999), key))
    came = sum(kept for kept, _ in data.kept.values()) + sum(total.values())
    rows = [Bar(labels.get(rule, rule) or "?", (total[stage, rule],), _share(total[stage, rule], came)) for stage, rule in keys]
    return bars("除外の理由", rows, first_class=1) if rows else ""


def _rule(values: RuleValues) -> dict[str, Any]:
    """One rule: its picture and its figures."""
    rule = values.rule
    beyond = "left" if rule.bound == "least" else "right"
    picture = Histogram(
        edges=values.edges, counts=(values.counts,), names=("文書",), log=values.log, threshold=rule.threshold, beyond=beyond
    )
    return {
        "name": rule.name,
        "label": rule.label,
        "preset": values.preset,
        "formula": " + ".join(rule.above) + (f" ÷ ({' + '.join(rule.below)})" if rule.below else ""),
        "bound": f"{'≥' if rule.bound == 'least' else '≤'} {rule.threshold:g}",
        "source": rule.source,
        "range": f"{values.low:.4g} – {values.high:.4g}",
        "fails": _share(values.fails, values.judged),
        "first": f"{values.first:,}",
        "sole": f"{values.sole:,}",
        "picture": histogram(f"{rule.name} の値の分布", picture) if values.judged else "",
    }


def _hosts(data: ReportData) -> str:
    rows = [
        Bar(host, (kept, dropped), f"採用 {kept:,} / {kept + dropped:,}") for host, kept, dropped in data.hosts.top(TOP) if host
    ]
    return bars("文書の多いホスト", rows, ("採用", "除外")) if rows else ""


def _languages(decisions: Decisions, data: ReportData) -> str:
    """Judged as Japanese enough, dropped by a rule on language, turned away before parsing."""
    labels = decisions.labels
    total: dict[str, int] = {}
    for fates in data.fates.values():
        for (stage, rule), count in fates.items():
            if stage == "language" or rule == "foreign_page":
                total[rule] = total.get(rule, 0) + count
    passed = sum(kept for kept, _ in data.kept.values()) + sum(
        n for f in data.fates.values() for (stage, rule), n in f.items() if stage not in ("read", "host", "language")
    )
    rows = [Bar("言語の規則を通過", (passed, 0), f"{passed:,}")]
    rows += [Bar(labels.get(rule, rule), (0, count), f"{count:,}") for rule, count in sorted(total.items())]
    rows += [Bar(f"  {detail}", (0, count), f"{count:,}") for detail, count in _most(data.foreign.items(), 10)]
    return bars("言語の判定", rows, ("通過", "除外"))


def _lengths(data: ReportData) -> str:
    counts = (data.lengths_kept, data.lengths_dropped)
    if not sum(int(layer.sum()) for layer in counts):
        return ""
    used = np.flatnonzero(counts[0] + counts[1])
    first, last = max(int(used[0]) - 1, 0), min(int(used[-1]) + 2, len(LENGTHS) - 1)
    cut = tuple(layer[first:last] for layer in counts)
    return histogram("文書の長さ (文字数、対数)", Histogram(LENGTHS[first : last + 1], cut, ("採用", "除外"), log=True))


def _copies(decisions: Decisions, data: ReportData) -> dict[str, Any]:
    labels = decisions.labels
    kinds = [Bar(labels.get(kind, kind or "?"), (count,), f"{count:,} 文書") for kind, count in sorted(data.kinds.items())]
    sizes = []
    for low, high in _CLUSTERS:
        count = sum(n for size, n in data.cluster_sizes.items() if low <= size <= high) * data.sampled
        if count:
            name = f"{low}" if low == high else f"{low}–{high}" if high < 10**12 else f"{low}以上"
            sizes.append(Bar(f"{name} 文書", (count,), f"{count:,} 組"))
    near = Histogram(SIMILARITIES, (data.similarities,), ("重複",))
    return {
        "kinds": bars("重複の種類", kinds, first_class=3) if kinds else "",
        "sizes": bars("重複の組の大きさ (代表を含む)", sizes, first_class=3) if sizes else "",
        "similarities": histogram("代表との類似度 (シングルのJaccard係数)", near) if data.similarities.sum() else "",
        "sampled": data.sampled,
    }


def _masked(decisions: Decisions, data: ReportData) -> dict[str, Any]:
    """Personal data by kind from the account of the manifest; in how many documents from the decisions."""
    total: dict[str, int] = {}
    for account in decisions.manifest.stats.get("sources", {}).values():
        for kind, count in (account.get("masked") or {}).items():
            total[kind] = total.get(kind, 0) + count
    rows = [Bar(kind, (count,), f"{count:,} 件") for kind, count in sorted(total.items())]
    picture = bars("伏せた個人情報", rows, first_class=4) if rows else ""
    return {"picture": picture, "items": data.masked_items, "documents": data.masked_documents}


def _counted(title: str, counts: Mapping[str, int]) -> str:
    rows = [Bar(name, (count,), f"{count:,}") for name, count in _most(counts.items(), TOP)]
    return bars(f"{title} (上位{TOP})", rows) if rows else ""


def _most(items: Iterable[tuple[str, int]], count: int) -> list[tuple[str, int]]:
    return sorted(items, key=lambda item: (-item[1], item[0]))[:count]


def _speed(speed: Speed) -> dict[str, Any]:
    """Seconds of every phase as a picture; rates and shares of the bounds as a table."""
    rows = [Bar(f"{phase.step}: {phase.name}", (phase.seconds,), f"{phase.seconds:,.2f} 秒") for phase in speed.phases]
    table = []
    for phase in speed.phases:
        shares = [speed.of_bound(phase, bound.name) for bound in speed.bounds]
        cells = ["–" if share is None else f"{share:.3g}" for share in shares]
        table.append([f"{phase.step}: {phase.name}", f"{phase.seconds:,.2f}", in_mb(phase.rate), *cells])
    return {"picture": bars("各処理の時間 (全作業の合計)", rows, first_class=4) if rows else "", "rows": table}
