"""The stage on a real crawl whose pages are labelled: languages told apart, copies found."""

import json
import re
from collections import Counter, defaultdict, deque
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from corpus.__main__ import main
from corpus.extract import Extracted, extract
from corpus.readers import RawDocument, SourceSettings, plan_shards, read_shard
from tests.corpus.test_stage import write_run

pytestmark = pytest.mark.sample
Pages = list[tuple[dict[str, Any], dict[str, Any]]]  # (label, decision)


@pytest.fixture(scope="module")
def judged(sample_data: Path, tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Pages:
    """Every labelled page; pages that share a url come in one order in both files."""
    folder = tmp_path_factory.mktemp("sample")
    run = write_run(folder, ("ja_cc", "warc", sample_data / "web-ja.warc.gz"))
    main(["--run", str(run), "--artifacts", str(folder)])
    rows: dict[str, deque[dict[str, Any]]] = defaultdict(deque)
    for file in sorted((folder / "corpus" / "t" / "data" / "decisions").glob("*.parquet")):
        for row in pq.read_table(file).to_pylist():
            if row["rule"] not in ("http_status", "content_type"):
                rows[row["url"]].append(row)
    labels = [json.loads(line) for line in (sample_data / "web-ja.labels.jsonl").read_text("utf-8").splitlines()]
    pages = [(label, rows[label["url"]].popleft()) for label in labels]
    assert not any(rows.values()), "pages without a label"
    return pages


def kana_lines(text: str) -> float:
    """Share of a text's characters that stand in lines with kana."""
    lines = text.split("\n")
    return sum(len(line) for line in lines if re.search("[ぁ-んァ-ヺ]", line)) / sum(map(len, lines))


def test_japanese_and_other_languages_are_told_apart(judged: Pages, sample_data: Path) -> None:
    """A label is the page's edition; pages of the Japanese edition that nobody has translated are English, and not counted."""
    passed = [(label, row) for label, row in judged if row["stage"] != "language"]
    dropped = {row["doc_id"]: label for label, row in judged if row["stage"] == "language"}
    wrong = [row["url"] for label, row in passed if label["lang"] != "ja" and row["rule"] != "no_text"]
    source = SourceSettings("ja_cc", "warc", "", "", sample_data / "web-ja.warc.gz")
    untranslated = 0
    for page in (page for shard in plan_shards(source) for page in read_shard(shard)):
        if isinstance(page, RawDocument) and (label := dropped.pop(page.doc_id, None)) and label["lang"] == "ja":
            found = extract(page)
            assert isinstance(found, Extracted)
            if kana_lines(found.text) < 0.2:
                untranslated += 1
            else:
                wrong.append(page.url)
    counted = len(judged) - untranslated
    print(f"\nlanguage: {counted - len(wrong)} of {counted} right, {untranslated} untranslated not counted; wrong: {wrong}")
    assert not dropped
    assert len(wrong) <= 0.01 * counted


def test_copies_are_removed(judged: Pages) -> None:
    """Of an original and its copies one stays, whichever; so a copy is found where it or its original fell as a copy."""
    fates: dict[str, list[str | None]] = defaultdict(list)
    for label, row in judged:
        fates[label["url"]].append(row["rule"])
    found: dict[str, Counter[bool]] = {"exact copy": Counter(), "near copy": Counter()}
    missed = []
    for label, row in judged:
        kind, _, original = label["kind"].partition(" of ")
        if kind not in found or len(fates[original]) > 1:  # which of them it copies is not said
            continue
        ends = {row["rule"], fates[original][0]}
        if ends <= {None, "exact", "near"}:
            found[kind][ends != {None}] += 1
            missed += [(label["url"], row)] if ends == {None} else []
    print(f"\ncopies found: {found}; missed: {missed}")
    assert found["exact copy"][True] > 0 == found["exact copy"][False]
    assert found["near copy"][True] >= 0.95 * found["near copy"].total() > 0
