"""Benchmark texts found in documents: against substring search over text that is folded by the standard library."""

import gzip
import json
import random
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.decontaminate import DecontaminateSettings, contamination_rows, item_table, load_benchmarks
from pipeline.text.benchmark_files import read_passages
from pipeline.text.benchmark_match import BenchmarkIndex
from tests.pipeline.text.test_fold import fold_by_string_functions

QUESTIONS = (
    "日本で梅雨がないのは北海道とどこの諸島であるか。",
    "「サーバー」と「クライアント」を結ぶプロトコルの名前は何ですか？",
    "株式会社みなもとが２０２４年にガーナで発表した製品の名称は？",
    "ヴァイオリンとピアノのために書かれた最も有名なソナタは何か。",
)
SHORT, TOO_SHORT = "田んぼの風景は何か？", "首都は？"
FILLER = "川のほとりに古い水車小屋があって、秋になると近くの村の人が米を運んできた。\n朝の光が窓に射している。\n"


def write_jsonl(path: Path, *texts: str) -> Path:
    path.write_text("".join(json.dumps({"id": f"q{i}", "question": t}) + "\n" for i, t in enumerate(texts)), "utf-8")
    return path


@pytest.fixture(scope="module")
def benchmarks(tmp_path_factory: pytest.TempPathFactory) -> BenchmarkIndex:
    path = write_jsonl(tmp_path_factory.mktemp("benchmarks") / "questions.jsonl", *QUESTIONS, SHORT, TOO_SHORT)
    return load_benchmarks(DecontaminateSettings((path,), shortest=8))


def disguise(text: str, seed: int) -> str:
    """Other width, kana, case, voicing marks, punctuation, spaces and line ends."""
    draw, out = random.Random(seed), []
    for c in text:
        kind = draw.random()
        if "ぁ" <= c <= "ゖ" and kind < 0.3:
            c = chr(ord(c) + 0x60)
        elif "ァ" <= c <= "ヶ" and kind < 0.3:
            c = chr(ord(c) - 0x60)
        elif c.isascii() and c >= "!" and kind < 0.5:
            c = chr(ord(c) + 0xFEE0)
        if draw.random() < 0.2:
            c = unicodedata.normalize("NFD", c)
        out.append(c + draw.choice(["", "", "", "", "\n", " ", "　", "、", "・", "〜"]))
    return "".join(out)


@given(st.sampled_from([*QUESTIONS, SHORT]), st.integers(0, 10**6), st.integers(0, len(FILLER)))
@settings(max_examples=150, deadline=None)
def test_a_planted_item_is_found_in_any_dress(benchmarks: BenchmarkIndex, item: str, seed: int, at: int) -> None:
    planted = disguise(item, seed)
    document = FILLER[:at] + "\n" + planted + "\n" + FILLER[at:]
    (hit,) = benchmarks.hits(document)
    assert (hit.item, hit.share) == (f"q{[*QUESTIONS, SHORT].index(item)}", 1.0)
    found = fold_by_string_functions(document[hit.begin : hit.end])
    assert found == fold_by_string_functions(item)


@given(st.text("川の古い水車小屋があって、梅雨がない。首都は？\n", max_size=200), st.data())
@settings(max_examples=150, deadline=None)
def test_hits_equal_substring_search_over_folded_text(benchmarks: BenchmarkIndex, text: str, data: st.DataObject) -> None:
    for question in data.draw(st.lists(st.sampled_from(QUESTIONS), max_size=3)):
        begin = data.draw(st.integers(0, len(question)))
        at = data.draw(st.integers(0, len(text)))
        text = text[:at] + question[begin : data.draw(st.integers(begin, len(question)))] + text[at:]
    folded = fold_by_string_functions(text)
    expected = {}
    for i, question in enumerate(QUESTIONS):
        whole = fold_by_string_functions(question)
        grams = {whole[k : k + 13] for k in range(len(whole) - 12)}
        share = sum(gram in folded for gram in grams) / len(grams)
        if share >= 0.6:
            expected[f"q{i}"] = share
    if fold_by_string_functions(SHORT) in folded:
        expected["q4"] = 1.0
    assert {hit.item: hit.share for hit in benchmarks.hits(text)} == expected


def test_too_short_items_are_listed_and_never_sought(benchmarks: BenchmarkIndex) -> None:
    assert [item.check for item in benchmarks.texts] == ["ngrams"] * 4 + ["whole", "too short"]
    assert benchmarks.hits(FILLER + TOO_SHORT) == []


def test_settings_decide_the_digest(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", *QUESTIONS)
    one = load_benchmarks(DecontaminateSettings((path,)))
    assert load_benchmarks(DecontaminateSettings((path,))) is one
    assert load_benchmarks(DecontaminateSettings((path,), ngram=15)).digest != one.digest
    assert load_benchmarks(DecontaminateSettings((write_jsonl(tmp_path / "b.jsonl", SHORT),))).digest != one.digest


@pytest.mark.parametrize(
    "wrong",
    [{"ngram": 5}, {"min_share": 0.0}, {"min_share": 1.1}, {"fields": ("text",)}, {"files": (Path("a/x"), Path("b/x"))}],
)
def test_settings_refuse_nonsense(wrong: dict) -> None:
    with pytest.raises(ValueError, match=r"expected|without files"):
        DecontaminateSettings(**wrong)


def test_table_of_items_does_not_depend_on_order(benchmarks: BenchmarkIndex) -> None:
    documents = {"d1": FILLER + QUESTIONS[0][:22], "d2": QUESTIONS[0] + QUESTIONS[1], "d0": QUESTIONS[0], "d3": FILLER}
    rows = [row for doc_id, text in documents.items() for row in contamination_rows(doc_id, benchmarks.hits(text))]
    table = item_table(benchmarks.texts, rows)
    assert table == item_table(benchmarks.texts, rows[::-1])
    assert [(row["documents"], row["max_share"], row["doc_id"]) for row in table[:3]] == [
        (3, 1.0, "d0"),
        (1, 1.0, "d2"),
        (0, 0.0, None),
    ]
    assert table[-1]["check"] == "too short"


@pytest.mark.sample
def test_real_benchmark_items_are_found_and_real_prose_is_clean(sample_data: Path) -> None:
    files = (sample_data / "jglue-jsquad-valid.json", sample_data / "jglue-jsts-valid.json")
    benchmarks = load_benchmarks(DecontaminateSettings(files))
    passages = [p for path in files for p in read_passages(path)]
    for item, passage in list(zip(benchmarks.texts, passages, strict=True))[::40]:
        held = {hit[:3] for hit in benchmarks.hits(FILLER + passage.text + FILLER)}
        assert (item[:3] in held) == (item.check != "too short")
    with gzip.open(sample_data / "wikipedia-ja.jsonl.gz", "rt", encoding="utf-8") as lines:
        assert not [hit for line in lines for hit in benchmarks.hits(json.loads(line)["text"])]
