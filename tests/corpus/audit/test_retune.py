"""Judging again from the table: the same verdicts as plain Python over every row, copies freed, errors in one line."""

import json
import math
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.audit.rejudge import rejudge
from corpus.audit.retune import main, parse_changes, render, retune
from corpus.drop_reasons import REASONS, STAGES
from corpus.storage.decisions import open_decisions
from pipeline.errors import BadInput, CorruptArtifact, MissingInput
from tests.corpus.helpers.sealed import RULES, make_rows, make_sealed, seal, verdict

NAMES = [rule["name"] for rule in RULES]
BOUND = {rule["name"]: rule["bound"] for rule in RULES}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    return make_sealed(tmp_path_factory.mktemp("sealed"))


def limits(changes: dict[str, float | None]) -> dict[str, float]:
    off = {"least": -math.inf, "most": math.inf}
    return {name: off[BOUND[name]] if value is None else value for name, value in changes.items()}


VALUES = st.one_of(
    st.none(), st.sampled_from([0.0, 0.04, 0.05, 0.3, 0.31, 0.5, 100.0, 101.0, 250.0, 250.5]), st.floats(-1, 1000)
)


@settings(max_examples=60, deadline=None)
@given(changes=st.dictionaries(st.sampled_from(NAMES), VALUES, min_size=1), size=st.sampled_from([1, 20, 1 << 17]))
def test_every_verdict_is_that_of_plain_python(
    made: tuple[Path, list[dict[str, Any]]], changes: dict[str, float | None], size: int
) -> None:
    root, rows = made
    expected = {}
    for row in rows:
        before = None if row["stage"] == "dedup" else row["rule"]
        rule = verdict(row | {"rule": before}, limits(changes))
        expected[row["url"]] = rule
    found = {}
    for file in open_decisions(root).files:
        names = [*(rule.name for rule in file.rules), None, "no_text"]  # the last is UNJUDGED, -1
        for piece in rejudge(file, changes, size):
            urls = file.read(piece.groups, ["url"])["url"].to_pylist()
            found |= {url: names[after] for url, after in zip(urls, piece.after.tolist(), strict=True)}
    assert found == expected


def test_counts_are_those_of_plain_python(made: tuple[Path, list[dict[str, Any]]]) -> None:
    root, rows = made
    changes = {"length": 50.0, "kuten": None, "repeated": 0.05}
    result = retune(open_decisions(root), changes)
    gained: list[tuple[dict[str, Any], str]] = []
    lost: list[tuple[dict[str, Any], str]] = []
    for row in rows:
        dedup = row["stage"] == "dedup"
        after = verdict(row | {"rule": None if dedup else row["rule"]}, limits(changes))
        if row["verdict"] == "kept" and after:
            lost.append((row, after))
        elif row["verdict"] == "dropped" and not dedup and after is None:
            gained.append((row, row["rule"]))
    assert gained and lost
    for side, expected in ((result.gained, gained), (result.lost, lost)):
        assert side.documents == len(expected)
        assert side.characters == sum(row["characters"] for row, _ in expected)
        assert {name: n for name, (n, _) in side.by_reason.items()} == Counter(reason for _, reason in expected)
        assert {name: n for name, (n, _) in side.by_host.items()} == Counter(row["host"] for row, _ in expected)
        for source in ("ja_web", "ja_man"):
            assert side.by_source[source][1] == sum(row["characters"] for row, _ in expected if row["source"] == source)
        for name, examples in side.examples.items():
            of_rule = {row["doc_id"]: row for row, reason in expected if reason == name}
            limit = {"length": 50.0, "kuten": 250.0, "repeated": 0.05}[name]
            nearest = sorted(abs(row[name] - limit) for row in of_rule.values())[: len(examples)]
            assert [abs(one.value - limit) for one in examples] == nearest
            assert all(of_rule[one.doc_id]["url"] == one.url for one in examples)
    assert result.kept == sum(row["verdict"] == "kept" for row in rows)
    assert all(one.title.startswith("題") for examples in result.lost.examples.values() for one in examples)
    assert retune(open_decisions(root), changes) == result


def test_a_copy_takes_the_place_of_its_survivor(tmp_path: Path) -> None:
    """kept ← near ← exact: the kept one falls, so the longest copy that passes is promoted; nothing else is freed."""
    rng = random.Random(3)
    good = {"japanese": 0.9, "length": 900.0, "kuten": 10.0, "repeated": 0.1, "stage": None, "rule": None, "charset": "utf-8"}
    rows = [row | good | {"characters": 100} for row in make_rows(rng, "ja_web", 6)]
    kept, near, exact, other, other_copy, alone = rows
    kept |= {"repeated": 0.29, "characters": 500}
    alone |= {"repeated": 0.28}
    near |= {"stage": "dedup", "rule": "near", "characters": 450, "repeated": 0.27}
    exact |= {"stage": "dedup", "rule": "exact", "characters": 300}
    other_copy |= {"stage": "dedup", "rule": "url"}
    chain = [(near, kept, "near", 0.85), (exact, near, "exact", 1.0), (other_copy, other, "url", 0.1)]
    clusters = [{"doc_id": a["doc_id"], "survivor": b["doc_id"], "kind": kind, "similarity": s} for a, b, kind, s in chain]
    root = seal(tmp_path, {"ja_web-00000": rows[::2], "ja_web-00001": rows[1::2]}, clusters)

    found = retune(open_decisions(root), {"repeated": 0.275}).promoted
    assert (found.freed, found.documents, found.characters) == (2, 1, 450)
    assert [(heir.representative, heir.doc_id) for heir in found.examples] == [(kept["doc_id"], near["doc_id"])]
    found = retune(open_decisions(root), {"repeated": 0.2})  # now the near copy falls too
    assert [(heir.doc_id, heir.kind) for heir in found.promoted.examples] == [(exact["doc_id"], "exact")]
    assert found.lost.documents == 2 and found.kept_after == 3 - 2 + 1
    assert retune(open_decisions(root), {"repeated": 0.5}).promoted.freed == 0


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage not in {rule["stage"] for rule in RULES}])
def test_what_no_rule_dropped_is_never_regained(stage: str, tmp_path: Path) -> None:
    """Whatever its values and even where the reason is called like a rule; only what rules dropped comes back."""
    rows = [row for row in make_rows(random.Random(8), "ja_web", 120) if row["stage"] != "read"]
    kept = [row for row in rows if row["rule"] is None]
    fell = [row for row in rows if row["rule"] is not None]
    reasons = [*REASONS.get(stage, {}), *NAMES]
    for number, row in enumerate([*kept[::2], *fell[::2]]):
        row |= {"stage": stage, "rule": reasons[number % len(reasons)]}
    by_rules = [row for row in rows if row["rule"] is not None and row["stage"] != stage]
    decisions = open_decisions(seal(tmp_path, {"ja_web-00000": rows}, []))
    result = retune(decisions, dict.fromkeys(NAMES))
    assert len(by_rules) == result.gained.documents > 0 == result.lost.documents
    assert result.gained.characters == sum(row["characters"] for row in by_rules)
    assert result.kept == sum(row["verdict"] == "kept" for row in rows) and result.promoted.documents == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["kutn=3"], "SET=kutn=3: this run has no rule 'kutn'; did you mean 'kuten'?"),
        (["near=0.9"], "this run has no rule 'near'; known: japanese, length, kuten, repeated"),
        (["kuten"], "expected rule=number or rule=off"),
        (["kuten=many"], "expected a number or 'off', got 'many'"),
        (["kuten=nan"], "expected a finite number"),
        ([" "], "SET: expected rule=number"),
    ],
)
def test_what_a_user_can_mend(made: tuple[Path, list[dict[str, Any]]], words: list[str], message: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_changes(words, open_decisions(made[0]))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_command_prints_text_and_json(
    made: tuple[Path, list[dict[str, Any]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t.toml").write_text("[corpus]\n", "utf-8")
    words = ["--run", str(tmp_path / "t.toml"), "--artifacts", str(made[0].parents[1]), "--set", "length=50 kuten=off"]
    main(words)
    text = capsys.readouterr().out
    assert "増える文書" in text and "減る文書" in text and "見込みの上限" in text
    main([*words, "--json"])
    body = json.loads(capsys.readouterr().out)
    assert body["changes"] == {"length": 50.0, "kuten": None}
    assert body["gained"]["documents"] > 0 == body["lost"]["documents"]


def test_an_artifact_that_is_not_sealed_or_of_another_make(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="no sealed corpus artifact"):
        open_decisions(tmp_path / "corpus" / "t")
    root, _ = make_sealed(tmp_path, count=4)
    file = next((root / "data" / "decisions").glob("*.parquet"))
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(CorruptArtifact):
        open_decisions(root)


def test_titles_of_the_web_do_not_steer_the_terminal(tmp_path: Path) -> None:
    rows = make_rows(random.Random(1), "ja_web", 50)
    for row in rows:
        row["url"] += "\x1b[2J"
    decisions = open_decisions(seal(tmp_path, {"ja_web-00000": rows}, []))
    shown = render(retune(decisions, {"length": 50.0}), decisions.labels)
    assert "\ufffd[2J" in shown and "\x1b" not in shown
