"""The stage on a real crawl whose pages are labelled: languages told apart, copies found, no original lost to a stranger."""

from pathlib import Path

import pytest

from benchmarks.corpus import labels
from benchmarks.corpus.labels import Page

pytestmark = pytest.mark.sample


@pytest.fixture(scope="module")
def judged(sample_data: Path, tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> list[Page]:
    """Every labelled page as the default preset decides it."""
    rows, _ = labels.stage(sample_data, tmp_path_factory.mktemp("sample"), "")
    return labels.labelled(sample_data, rows)


def test_japanese_and_other_languages_are_told_apart(judged: list[Page]) -> None:
    """A label is the page's edition; pages of the Japanese edition that nobody has translated are English, and not counted."""
    wrong = [page for page in judged if page.is_japanese != (page.label["lang"] == "ja")]
    untranslated = [page for page in wrong if page.label["lang"] == "ja" and not labels.is_translated(page.text())]
    assert len(wrong) - len(untranslated) <= 0.01 * (len(judged) - len(untranslated))
    assert len(untranslated) < 200
    assert not [page for page in wrong if page.label["lang"] != "ja"]


@pytest.mark.parametrize(("kind", "share", "least"), [("exact copy", 1.0, 35), ("near copy", 0.95, 45)])
def test_copies_are_removed(judged: list[Page], kind: str, share: float, least: int) -> None:
    """Of a page and its copies one stays, whichever; which of several pages under one url it copies is not said.

    Copies that a rule dropped meet nothing; `benchmarks.corpus.labels` switches the rules off and finds all.
    """
    by_id = {page.row["doc_id"]: page for page in judged}
    found = []
    for page in judged:
        originals = [one for one in judged if one.label["url"] == page.original and one.row["stage"] in (None, "dedup")]
        if page.kind == kind and page.row["stage"] in (None, "dedup") and originals:
            end = labels.stays(page, by_id)
            found.append(end in [labels.stays(one, by_id) for one in originals])
    assert len(found) >= least and sum(found) >= share * len(found)


def test_no_original_is_lost_to_a_copy_of_another_page(judged: list[Page]) -> None:
    """An original may be dropped in favour of a near-equal one (editions of one specification), never of a mere copy."""
    by_id = {page.row["doc_id"]: page for page in judged}
    fell = [page for page in judged if page.kind == "original" and page.row["stage"] == "dedup"]
    assert len(fell) > 50
    for page in fell:
        survivor = by_id[page.row["duplicate_of"]]
        if survivor.family != page.family:
            assert survivor.kind in ("original", "legacy encoding")
            assert page.row["rule"] in ("exact", "near")
            assert labels.jaccard(page.text(), survivor.text()) >= 0.7  # a chain of versions, each .8 like the next
