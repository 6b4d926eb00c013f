"""The stage on a real crawl whose pages are labelled: languages told apart, copies found."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from corpus.__main__ import main
from tests.corpus.test_stage import write_run

pytestmark = pytest.mark.sample
COPIES = {"url", "exact", "near"}


@pytest.fixture(scope="module")
def judged(
    sample_data: Path, tmp_path_factory: pytest.TempPathFactory, ray_session: None
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(label, decision) of every labelled page."""
    folder = tmp_path_factory.mktemp("sample")
    run = write_run(folder, ("ja_cc", "warc", sample_data / "web-ja.warc.gz"))
    main(["--run", str(run), "--artifacts", str(folder)])
    files = sorted((folder / "corpus" / "t" / "data" / "decisions").glob("*.parquet"))
    rows = {row["url"]: row for file in files for row in pq.read_table(file).to_pylist()}
    labels = [json.loads(line) for line in (sample_data / "web-ja.labels.jsonl").read_text("utf-8").splitlines()]
    return [(label, rows[label["url"]]) for label in labels]


def test_japanese_and_other_languages_are_told_apart(judged: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    seen = [(label, row) for label, row in judged if row["stage"] != "read"]
    wrong = [(label["url"], row["rule"]) for label, row in seen if (label["lang"] == "ja") == (row["stage"] == "language")]
    print(f"\nlanguage: {len(seen) - len(wrong)} of {len(seen)} right; wrong: {wrong[:10]}")
    assert len(wrong) <= 0.01 * len(seen)


def test_copies_are_removed(judged: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    """Of an original and its copies one stays, whichever; so a copy counts as found where it or its original fell."""
    fate = {label["url"]: row for label, row in judged}
    found: dict[str, Counter[bool]] = {"exact copy": Counter(), "near copy": Counter()}
    missed = []
    for label, row in judged:
        kind, _, original = label["kind"].partition(" of ")
        if kind not in found or {row["stage"], fate[original]["stage"]} & {"read", "language", "quality"}:
            continue
        fell = row["rule"] in COPIES or fate[original]["rule"] in COPIES
        found[kind][fell] += 1
        missed += [] if fell else [(label["url"], original)]
    print(f"\ncopies found: {found}; missed: {missed[:10]}")
    assert found["exact copy"][False] == 0 < found["exact copy"][True]
    assert found["near copy"][True] >= 0.95 * found["near copy"].total() > 0
