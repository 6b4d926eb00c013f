"""The normalized view against a scan of folded texts, document by document."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import CorruptArtifact, RecipeDrift
from search.normalized.fold import fold, fold_query
from search.normalized.view import RULES, NormalView, build
from tests.search.normalized.test_fold import ALPHABET

DOCUMENTS = st.lists(st.text(st.sampled_from("かカｶゝ゛国國aＡ…。" + ALPHABET[-30:]), max_size=30), min_size=1, max_size=5)


def made(texts: list[str], folder: Path, removed: list[int] | None = None) -> NormalView:
    data = b"".join(text.encode() + b"\xff" for text in texts)
    build(np.frombuffer(bytearray(data), np.uint8), folder)
    bounds = np.cumsum([0, *(len(text.encode()) + 1 for text in texts)])
    gone = np.array([[bounds[number], bounds[number + 1]] for number in removed or []], np.int64).reshape(-1, 2)
    return NormalView(folder, len(data), gone)


def scan(texts: list[str], query: str, removed: list[int]) -> tuple[int, list[list[int]]]:
    """Occurrences in the folded texts, and the distinct spans that they come from."""
    count, found, before = 0, [], 0
    for number, text in enumerate(texts):
        begins = np.cumsum([0, *(len(character.encode()) for character in text)])
        result, origins = fold(text)
        for place in range(len(result)):
            if number not in removed and result.startswith(fold_query(query), place):
                first, last = origins[place, 0], origins[place + len(fold_query(query)) - 1, 1]
                count += 1
                span = [before + int(begins[first]), before + int(begins[last])]
                found += [span] if span not in found else []
        before += int(begins[-1]) + 1
    return count, found


@settings(deadline=None)
@given(DOCUMENTS, st.data())
def test_a_query_finds_what_a_scan_finds(texts: list[str], data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from(texts))
    begin = data.draw(st.integers(0, len(whole)))
    query = whole[begin : data.draw(st.integers(begin, len(whole)))].swapcase()
    removed = sorted(data.draw(st.sets(st.integers(0, len(texts) - 1), max_size=2)))
    if not fold_query(query) or not any(map(fold_query, texts)):
        return
    with tempfile.TemporaryDirectory() as folder:
        view = made(texts, Path(folder), removed)
        wanted = scan(texts, query, removed)
        assert (view.count(query), view.spans(query).tolist()) == wanted


def test_spans_are_whole_characters_of_the_text(tmp_path: Path) -> None:
    texts = ["大學の國語……", "こゝろとｶﾞﾗｽ", "心"]
    view = made(texts, tmp_path)
    data = "\0".join(texts).encode()
    found = {query: [data[a:b].decode() for a, b in view.spans(query)] for query in ("国語", "ガラス", "ころ", "..", "ない")}
    assert found == {"国語": ["國語"], "ガラス": ["ｶﾞﾗｽ"], "ころ": ["こゝろ"], "..": ["…", "……", "…"], "ない": []}
    assert view.count("..") == 5


def test_a_view_by_other_rules_is_refused(tmp_path: Path) -> None:
    made(["國語"], tmp_path)
    (tmp_path / RULES).write_text("0\n")
    with pytest.raises(RecipeDrift, match="folded by rules 0"):
        NormalView(tmp_path, 7)
    (tmp_path / RULES).unlink()
    with pytest.raises(CorruptArtifact, match=r"rules\.txt"):
        NormalView(tmp_path, 7)
