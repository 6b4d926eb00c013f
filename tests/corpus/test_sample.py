"""The stage on a real crawl whose pages are labelled: languages told apart, copies found."""

import json
from collections import Counter, defaultdict, deque
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from corpus.__main__ import main
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


def test_japanese_and_other_languages_are_told_apart(judged: Pages) -> None:
    wrong = [
        (label["lang"], label["url"], row["rule"])
        for label, row in judged
        if (label["lang"] == "ja") == (row["stage"] in ("read", "language"))
    ]
    print(f"\nlanguage: {len(judged) - len(wrong)} of {len(judged)} right; wrong: {wrong}")
    assert len(wrong) <= 0.01 * len(judged)


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
