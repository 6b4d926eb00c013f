"""A document's life, on a real run of the stage and on decisions made by hand."""

import json
import random
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.audit.explain import explain, main, render
from corpus.audit.spans import LABELS, MarkedSpan, marked, text_spans
from corpus.stats.measure import COLUMN, measure
from corpus.storage.decisions import Decisions, open_decisions
from pipeline.errors import BadInput
from pipeline.runfile import RunFile, load_run
from tests.corpus.helpers.pages import html, make_pages, prose
from tests.corpus.helpers.sealed import make_rows, make_sealed, seal
from tests.corpus.test_stage import decisions as rows_of
from tests.corpus.test_stage import make, write_run

CALL = "電話は03-1234-5678、宛先はtaro@example.jpです。"
THIN = "ところが、その地図はもうどこにもありません。"


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> tuple[RunFile, Decisions, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("explained")
    make_pages(folder / "pages")
    lines = prose(random.Random(7), 60)
    long = "、".join(line.rstrip("。") for line in prose(random.Random(8), 12)) + "。"
    (folder / "pages" / "call.html").write_bytes(
        html([*lines[2:], *lines[:2], CALL, long, *prose(random.Random(9), 2), "それから…"])
    )
    (folder / "pages" / "thin.html").write_bytes(
        html(["彼は昨日、駅前の図書館で古い地図を何度も調べたと言っていました。", THIN])
    )
    path = write_run(folder, ("ja_web", "html", folder / "pages"))
    root = make(path, folder / "artifacts")
    return load_run(str(path), artifacts=str(folder / "artifacts")), open_decisions(root), rows_of(root)


def by_url(rows: list[dict[str, Any]], url: str) -> dict[str, Any]:
    return next(row for row in rows if row["url"] == url)


def test_a_kept_document_with_all_it_holds(real: tuple[RunFile, Decisions, list[dict[str, Any]]]) -> None:
    run, decisions, rows = real
    row = by_url(rows, "call.html")
    life = explain(run, decisions, row["doc_id"][:8])
    assert life.text_from == "source" and not life.text_problem
    assert len(life.text) == row["characters"]
    found = {(span.kind, life.text[span.begin : span.end]) for span in life.spans}
    assert ("personal", "taro@example.jp") in found and ("personal", "03-1234-5678") in found
    assert any(kind == "long_sentence" and len(text) > 200 for kind, text in found)
    assert {rule.name: rule.value for rule in life.rules} == {rule.name: row[rule.name] for rule in life.rules}
    assert all(rule.passed == (rule.margin is not None and rule.margin >= 0) for rule in life.rules)
    shown = render(life, colour=False)
    assert "判定: 採用" in shown and "【個人情報:email｜taro@example.jp】" in shown and row["doc_id"] in shown
    assert "\x1b[" in render(life, colour=True) and "\x1b" not in shown


def test_a_dropped_document_names_the_rule_and_its_margin(real: tuple[RunFile, Decisions, list[dict[str, Any]]]) -> None:
    run, decisions, _ = real
    life = explain(run, decisions, "thin.html")
    decisive = next(rule for rule in life.rules if rule.name == life.row["rule"])
    assert decisive.passed is False and decisive.margin is not None and decisive.value is not None
    assert decisive.margin == decisive.value - decisive.threshold < 0
    shown = render(life, colour=False)
    assert "← この規則で除外" in shown and "判定: 除外  段階: 品質" in shown and THIN in shown


def test_a_document_without_text(real: tuple[RunFile, Decisions, list[dict[str, Any]]]) -> None:
    run, decisions, _ = real
    shown = render(explain(run, decisions, "empty.html"), colour=False)
    assert "段階: 読み取り・抽出" in shown and "(本文なし)" in shown and "値なし" in shown


def test_a_copy_names_its_survivor_and_a_survivor_its_copies(real: tuple[RunFile, Decisions, list[dict[str, Any]]]) -> None:
    run, decisions, rows = real
    family = Counter(row["duplicate_of"] for row in rows if row["duplicate_of"])
    copy = next(row for row in rows if row["rule"] == "near")
    life = explain(run, decisions, copy["doc_id"])
    assert life.representative == copy["duplicate_of"] and life.member_count == family[life.representative]
    me = next(one for one in life.members if one.doc_id == copy["doc_id"])
    assert me.kind == "near" and me.similarity is not None and 0.8 <= me.similarity <= 1
    shown = render(life, colour=False)
    assert f"残った文書: {life.representative}" in shown and f"類似度 {me.similarity:.3f}" in shown
    assert "重複の代表: この文書" in render(explain(run, decisions, life.representative), colour=False)


def test_sources_that_are_gone_are_said_and_the_rest_is_shown(
    real: tuple[RunFile, Decisions, list[dict[str, Any]]], tmp_path: Path
) -> None:
    run, decisions, rows = real
    pages = run.path.parent / "pages"
    shutil.move(pages, tmp_path / "away")
    try:
        kept = explain(run, decisions, by_url(rows, "call.html")["doc_id"])
        dropped = explain(run, decisions, "thin.html")
    finally:
        shutil.move(tmp_path / "away", pages)
    assert kept.text_from == "documents" and CALL in kept.text and "pages" in kept.text_problem
    assert not dropped.text and dropped.rules
    shown = render(dropped, colour=False)
    assert "元の本文は読めません" in shown and "← この規則で除外" in shown


def test_command_prints_json(real: tuple[RunFile, Decisions, list[dict[str, Any]]], capsys: pytest.CaptureFixture[str]) -> None:
    run, _, rows = real
    row = by_url(rows, "call.html")
    main(["--run", str(run.path), "--artifacts", str(run.artifacts), "--doc", row["url"], "--json"])
    body = json.loads(capsys.readouterr().out)
    assert body["row"]["doc_id"] == row["doc_id"] and body["spans"] and body["rules"][0]["source"] is not None


def test_documents_that_cannot_be_named(tmp_path: Path) -> None:
    root, rows = make_sealed(tmp_path, count=10)
    decisions = open_decisions(root)
    for name in ("nowhere.html", "abcde", "f" * 32, "zzzzzz"):
        with pytest.raises(BadInput, match=r"no document of .* first 6 or more"):
            decisions.find(name)
    for row in rows[:5]:
        file, number = decisions.find(row["doc_id"][:10].upper())
        assert file.row(number)["url"] == row["url"] and decisions.find(row["url"]) == (file, number)


def test_an_ambiguous_beginning_lists_the_documents(tmp_path: Path) -> None:
    rows = make_rows(random.Random(1), "ja_web", 9)
    for number, row in enumerate(rows):
        row["doc_id"] = f"abcdef{number:026x}"
    root = seal(tmp_path, {"ja_web-00000": rows}, [])
    with pytest.raises(BadInput, match=r"DOC=abcdef: 9 documents .* give one of abcdef0+, ") as caught:
        open_decisions(root).find("abcdef")
    assert "\n" not in str(caught.value)


TEXTS = st.text(st.sampled_from("あいう。…・ 　\n\nx!.【】\x1b"), max_size=80)
SPANS = st.lists(st.tuples(st.sampled_from(sorted(LABELS)), st.integers(0, 80), st.integers(0, 80)), max_size=6)


@settings(deadline=None)
@given(text=TEXTS, places=SPANS)
def test_marks_neither_lose_nor_add_text(text: str, places: list[tuple[str, int, int]]) -> None:
    spans = [MarkedSpan(kind, min(a, b, len(text)), min(max(a, b), len(text))) for kind, a, b in places]
    plain = text.replace("\x1b", "\ufffd")
    assert re.sub(r"\x1b\[[\d;]*m", "", marked(text, spans, colour=True)) == plain
    shown = marked(text.replace("【", "").replace("】", ""), [], colour=False)
    assert shown == plain.replace("【", "").replace("】", "")
    unmarked = re.sub(r"【[^｜【】]*｜|】", "", marked(text.replace("【", "｛").replace("】", "｝"), spans, colour=False))
    assert unmarked == plain.replace("【", "｛").replace("】", "｝")


@settings(deadline=None)
@given(text=TEXTS)
def test_spans_agree_with_what_the_statistics_count(text: str) -> None:
    spans = text_spans(text)
    counted = measure([text])[0]
    kinds = Counter(span.kind for span in spans)
    assert kinds["ellipsis"] == counted[COLUMN["ellipsis_lines"]]
    assert kinds["repeated_line"] == counted[COLUMN["repeated_lines"]]


def test_long_sentences_are_those_of_the_statistics() -> None:
    text = "あ" * 200 + "。" + "い" * 300 + "！短い。\n" + "う" * 150 + "\n" + "え" * 250 + ". お"
    spans = [span for span in text_spans(text) if span.kind == "long_sentence"]
    visible = sum(len("".join(text[span.begin : span.end].split())) for span in spans)
    assert len(spans) == 3 and visible == measure([text])[0][COLUMN["long_sentence_characters"]]
