"""Reasons and stages of a drop, gathered from the code that sets them: each has a Japanese name wherever people read it."""

import ast
import random
import re
from collections import Counter
from html import unescape
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import get_args, get_type_hints

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from corpus import drop_reasons, judge
from corpus.dedup import boilerplate, passes
from corpus.filters.rules import Rule, load_preset, preset_names
from corpus.increment import removals
from corpus.output import account
from corpus.output.write import WriteTask, write_shard
from corpus.readers import DROP_REASONS, Shard, SourceSettings
from corpus.report.data import ReportData
from corpus.report.page import render
from corpus.report.speed import Speed
from corpus.settings import CorpusSettings
from corpus.storage.arrays import save_array
from corpus.storage.decisions import DecisionFile, Decisions, RuleRow
from corpus.storage.judged import Judged
from pipeline.artifact import Manifest
from tests.corpus.helpers.pages import html, prose

CORPUS = Path(drop_reasons.__file__).parent
JAPANESE = re.compile("[ぁ-んァ-ヶ一-龠]")


def modules() -> list[tuple[ModuleType, ast.Module]]:
    paths = [path for path in sorted(CORPUS.rglob("*.py")) if not path.stem.startswith("__")]
    names = [".".join(path.relative_to(CORPUS.parent).with_suffix("").parts) for path in paths]
    return [(import_module(name), ast.parse(path.read_text("utf-8"))) for name, path in zip(names, paths, strict=True)]


def value(module: ModuleType, node: ast.expr) -> str | None:
    """What a literal or a constant of the module says; None of anything else."""
    found = node.value if isinstance(node, ast.Constant) else None
    if isinstance(node, ast.Name):
        found = getattr(module, node.id, None)
    return found if isinstance(found, str) else None


def pairs(node: ast.AST) -> list[tuple[ast.expr, ast.expr]]:
    """Targets and values of an assignment, those of tuples one by one."""
    if not isinstance(node, ast.Assign):
        return []
    target, given = node.targets[0], node.value
    if isinstance(target, ast.Tuple) and isinstance(given, ast.Tuple):
        return list(zip(target.elts, given.elts, strict=True))
    return [(target, given)]


def set_in_code(column: str) -> set[str]:
    """Constants that are written into a column of decisions: `<columns>[column][row] = …` and `.fail(row, stage, rule)`."""
    found = set[str | None]()
    for module, tree in modules():
        for node in ast.walk(tree):
            for target, given in pairs(node):
                cell = target.value if isinstance(target, ast.Subscript) else None
                if isinstance(cell, ast.Subscript) and value(module, cell.slice) == column:
                    found.add(value(module, given))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "fail":
                found.add(value(module, node.args[1 if column == "stage" else 2]))
    return {one for one in found if one is not None}


def every_rule() -> list[Rule]:
    return [rule for name in preset_names() for rule in load_preset(name).rules]


def every_reason() -> set[tuple[str, str]]:
    """Stage and name of every reason but those of the code's constants, which `set_in_code` finds."""
    found = {(judge.READ, reason) for reason in DROP_REASONS} | {(passes.STAGE, kind) for kind in passes.REASONS[1:]}
    found |= {(boilerplate.STAGE, boilerplate.RULE), (removals.STAGE, removals.RULE), (judge.CLEAN, "empty")}
    return found | {("decontaminate", "benchmark")} | {(rule.stage, rule.name) for rule in every_rule()}


def decisions_of(rules: list[Rule]) -> Decisions:
    rows = tuple(RuleRow(r.name, r.stage, r.bound, r.threshold, r.above, r.below, r.source, r.label) for r in rules)
    file = DecisionFile(Path("ja-00000.parquet"), 0, frozenset(), "all", rows, {})
    return Decisions(Manifest(Path("corpus/t"), {"digest": "sha256:0", "stats": {}}), (file,))


def test_what_the_code_sets_is_gathered_here() -> None:
    of_code, stages_of_code = set_in_code("rule"), set_in_code("stage")
    assert {"benchmark", "empty", "boilerplate"} <= of_code <= {reason for _, reason in every_reason()}
    assert {"dedup", "decontaminate", "clean", "boilerplate"} <= stages_of_code <= drop_reasons.STAGES.keys()


def test_no_rule_is_called_like_another_reason() -> None:
    others = {reason for named in drop_reasons.REASONS.values() for reason in named}
    assert others.isdisjoint(rule.name for rule in every_rule())
    assert len(others) == sum(map(len, drop_reasons.REASONS.values()))


def test_every_stage_has_a_name_and_every_name_a_stage() -> None:
    of_rules = set(get_args(get_type_hints(Rule)["stage"]))
    ours = {judge.READ, judge.CLEAN, boilerplate.STAGE, passes.STAGE, removals.STAGE} | set_in_code("stage")
    assert set(drop_reasons.STAGES) == of_rules | ours
    assert set(drop_reasons.REASONS) == ours  # what a rule drops is called as the rule's label says
    assert all(JAPANESE.search(name) for name in drop_reasons.STAGES.values())


def test_every_reason_is_called_in_japanese_where_people_read_it() -> None:
    reasons = every_reason()
    assert {(stage, name) for stage, named in drop_reasons.REASONS.items() for name in named} <= reasons
    decisions = decisions_of(every_rule())
    labels = decisions.labels
    assert {reason for _, reason in reasons} == labels.keys()
    assert not [reason for reason, label in labels.items() if not JAPANESE.search(label)]

    dropped = {reason: 1 for _, reason in reasons}
    printed = account.table({"ja": {"in": 1, "kept": 0, "characters": 0, "dropped": dropped}}, labels).splitlines()
    assert [line.split("(")[-1].split(")")[0] for line in printed if "除外" in line] == list(labels)  # in order
    assert all(any(f"除外 {label} ({reason})" in line for line in printed) for reason, label in labels.items())

    data = ReportData({"ja": Counter(dict.fromkeys(reasons, 1))}, {"ja": Counter()}, {"ja": [1, 1]})
    page = unescape(render(decisions, data, Speed((), ())))
    (picture,) = re.findall(r"<h3>除外の理由</h3>(<svg.*?</svg>)", page, re.DOTALL)
    assert not [label for label in labels.values() if label not in picture]
    assert not [name for name in drop_reasons.STAGES.values() if f'<th scope="col">{name}</th>' not in page]


def test_a_stage_that_has_no_name_is_never_written(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    for number in range(2):
        (tmp_path / "pages" / f"{number}.html").write_bytes(html(prose(random.Random(number), 20)))
    source = SourceSettings("ja", "html", "CC0", "test", path=str(tmp_path / "pages"))
    files = tuple(str(path) for path in sorted((tmp_path / "pages").iterdir()))
    shard, settings, preset = Shard("ja-00000", source, files, source.path), CorpusSettings((source,)), load_preset("minamoto")
    judge.judge_shard(judge.JudgeTask(shard, preset, settings.dedup, tmp_path / "judged"))
    for kind in passes.REASONS[1:]:
        save_array(tmp_path / "work" / "dropped" / f"{kind}.npy", np.empty((2, 0), np.uint64))
    judged = Judged(tmp_path / "judged", ("ja-00000",))
    task = WriteTask(judged, 0, preset, settings, tmp_path / "work", tmp_path / "data")
    assert write_shard(task)["kept"] == 2

    rows = pq.read_table(tmp_path / "judged" / "ja-00000" / "rows.parquet")
    place = rows.schema.get_field_index("stage")
    odd = pc.call_function("if_else", [pa.array([True, False]), "elsewhere", rows["stage"]])
    pq.write_table(rows.set_column(place, rows.schema.field("stage"), odd), tmp_path / "judged" / "ja-00000" / "rows.parquet")
    with pytest.raises(AssertionError, match="unknown stage"):
        write_shard(task)
