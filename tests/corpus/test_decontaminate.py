"""Benchmark items found in documents: against a fold written otherwise, and substring search over folded text."""

import dataclasses
import gzip
import json
import random
import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.decontaminate import Benchmarks, DecontaminateSettings, contamination_rows, item_table
from pipeline.errors import BadInput, ConfigError, MissingInput
from pipeline.text import ngrams
from pipeline.text.benchmark_files import read_passages
from pipeline.text.fold import fold, fold_offsets, shown
from pipeline.text.ngrams import NgramIndex

QUESTIONS = (
    "日本で梅雨がないのは北海道とどこの諸島であるか。",
    "「サーバー」と「クライアント」を結ぶプロトコルの名前は何ですか？",
    "株式会社みなもとが２０２４年にガーナで発表した製品の名称は？",
    "ヴァイオリンとピアノのために書かれた最も有名なソナタは何か。",
)
SHORT, TOO_SHORT = "田んぼの風景は何か？", "首都は？"
FILLER = "川のほとりに古い水車小屋があって、秋になると近くの村の人が米を運んできた。\n朝の光が窓に射している。\n"
JAPANESE = st.text(
    st.one_of(
        st.characters(min_codepoint=0x3000, max_codepoint=0x30FF),
        st.characters(min_codepoint=0xFF00, max_codepoint=0xFFEF, exclude_categories=("Cs",)),
        st.sampled_from("ｶﾞﾊﾟ㍿㌔①Ⅳﬁéİßの森。、 \n\u3099\u309a゛゜ー～ﷺ한𠮷𝐀"),
        st.characters(exclude_categories=("Cs",)),
    ),
    max_size=60,
)


def fold_by_string_functions(text: str) -> str:
    """The fold of the module's docstring, with the standard library over the whole text."""
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    letters = (
        c for c in text if unicodedata.category(c)[0] in "LN" or "\U00020000" <= c <= "\U0003ffff" or c in "\u3099\u309a"
    )
    text = "".join(c for c in letters if c not in "ー\U0001aff0")
    text = re.sub("[ァ-ヶヽヾ]", lambda match: chr(ord(match[0]) - 0x60), text)
    out: list[str] = []
    for c in text:
        if c not in "\u3099\u309a":
            out.append(c)
        elif out and "ぁ" <= out[-1] <= "ゟ" and len(joined := unicodedata.normalize("NFC", out[-1] + c)) == 1:
            out[-1] = joined
    return "".join(out)


def write_jsonl(path: Path, *texts: str) -> Path:
    path.write_text("".join(json.dumps({"id": f"q{i}", "question": t}) + "\n" for i, t in enumerate(texts)), "utf-8")
    return path


@pytest.fixture(scope="module")
def benchmarks(tmp_path_factory: pytest.TempPathFactory) -> Benchmarks:
    path = write_jsonl(tmp_path_factory.mktemp("benchmarks") / "questions.jsonl", *QUESTIONS, SHORT, TOO_SHORT)
    return Benchmarks.load(DecontaminateSettings((path,), shortest=8))


@given(JAPANESE)
@settings(max_examples=400, deadline=None)
def test_fold_is_the_documented_one(text: str) -> None:
    assert shown(fold(text)) == fold_by_string_functions(text)


def test_every_code_point_folds_as_documented() -> None:
    points = [chr(p) for p in range(0x110000) if not 0xD800 <= p < 0xE000]
    folded, offsets = fold("".join(points)), fold_offsets("".join(points))
    assert shown(folded) == fold_by_string_functions("".join(points))
    assert len(offsets) == len(folded) and (np.diff(offsets) >= 0).all()


@given(JAPANESE)
@settings(max_examples=200, deadline=None)
def test_each_folded_character_comes_from_its_offset(text: str) -> None:
    offsets = fold_offsets(text)
    assert len(offsets) == len(fold(text))
    for offset, point in zip(offsets, shown(fold(text)), strict=True):
        own = fold_by_string_functions(text[offset])
        assert point in own or point in {unicodedata.normalize("NFC", c + m) for c in own for m in "\u3099\u309a"}


@given(st.lists(st.text("あいう", min_size=3, max_size=9), min_size=1, max_size=6), st.text("あいうえ", max_size=80))
@settings(max_examples=200, deadline=None)
def test_index_finds_what_substring_search_finds(texts: list[str], document: str) -> None:
    index = NgramIndex.build([fold(text) for text in texts], 3)
    positions, grams = index.find(fold(document))
    expected = [at for at in range(len(document) - 2) if any(document[at : at + 3] in text for text in texts)]
    assert positions.tolist() == expected
    for at, gram in zip(positions, grams, strict=True):
        window = document[at : at + 3]
        assert index.texts_of(np.array([gram])).tolist() == [i for i, text in enumerate(texts) if window in text]
    for i, text in enumerate(texts):
        own = {shown(index.points[index.places[g] : index.places[g] + 3]) for g in index.grams_of(i)}
        assert own == {text[k : k + 3] for k in range(len(text) - 2)}


def test_a_hash_collision_is_no_hit(monkeypatch: pytest.MonkeyPatch) -> None:
    index = NgramIndex.build([fold("あいうえおかきくけこ")], 3)
    liar = dataclasses.replace(index, points=fold("かきくけこさしすせそ"))  # same hashes, other texts behind them
    assert len(index.find(fold("まあいうえま"))[0]) == 2
    assert len(liar.find(fold("まあいうえま"))[0]) == 0
    # x * 1**2 + y * 1 + z: with base 1 every permutation collides, so building must go on to the next base
    monkeypatch.setattr(ngrams, "_BASES", (1, 0x9E3779B97F4A7C15))
    assert NgramIndex.build([fold("あいうあえ"), fold("ういあ")], 3).base != 1


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
def test_a_planted_item_is_found_in_any_dress(benchmarks: Benchmarks, item: str, seed: int, at: int) -> None:
    planted = disguise(item, seed)
    document = FILLER[:at] + "\n" + planted + "\n" + FILLER[at:]
    (hit,) = benchmarks.hits(document)
    assert (hit.item, hit.share) == (f"q{[*QUESTIONS, SHORT].index(item)}", 1.0)
    found = fold_by_string_functions(document[hit.begin : hit.end])
    assert found == fold_by_string_functions(item)


@given(st.text("川の古い水車小屋があって、梅雨がない。首都は？\n", max_size=200), st.data())
@settings(max_examples=150, deadline=None)
def test_hits_equal_substring_search_over_folded_text(benchmarks: Benchmarks, text: str, data: st.DataObject) -> None:
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


def test_too_short_items_are_listed_and_never_sought(benchmarks: Benchmarks) -> None:
    assert [item.check for item in benchmarks.items] == ["ngrams"] * 4 + ["whole", "too short"]
    assert benchmarks.hits(FILLER + TOO_SHORT) == []


def test_settings_decide_the_digest(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", *QUESTIONS)
    one = Benchmarks.load(DecontaminateSettings((path,)))
    assert Benchmarks.load(DecontaminateSettings((path,))) is one
    assert Benchmarks.load(DecontaminateSettings((path,), ngram=15)).digest != one.digest
    assert Benchmarks.load(DecontaminateSettings((write_jsonl(tmp_path / "b.jsonl", SHORT),))).digest != one.digest


@pytest.mark.parametrize(
    "wrong",
    [{"ngram": 5}, {"min_share": 0.0}, {"min_share": 1.1}, {"fields": ("text",)}, {"files": (Path("a/x"), Path("b/x"))}],
)
def test_settings_refuse_nonsense(wrong: dict) -> None:
    with pytest.raises(ValueError, match=r"expected|without files"):
        DecontaminateSettings(**wrong)


def test_layouts(tmp_path: Path) -> None:
    answers = [{"text": "小笠原"}, {"text": "小笠原"}, {"text": "奄美"}]
    squad = {
        "data": [
            {
                "title": "梅雨",
                "paragraphs": [{"context": "雨。", "qas": [{"id": "a0", "question": "何？", "answers": answers}]}],
            }
        ]
    }
    (tmp_path / "squad.json").write_text(json.dumps(squad), "utf-8")
    (tmp_path / "eval.json").write_text(json.dumps({"samples": [{"input": "問い", "output": "答え"}]}), "utf-8")
    (tmp_path / "turns.jsonl.gz").write_bytes(gzip.compress(b'{"question_id": 81, "turns": ["one", "two"]}\n\n{"turns": []}\n'))
    assert read_passages(tmp_path / "squad.json") == [
        ("squad.json", "梅雨 0", "context", "雨。"),
        ("squad.json", "a0", "question", "何？"),
    ]
    assert [p.text for p in read_passages(tmp_path / "squad.json", ("answers",))] == ["小笠原", "奄美"]
    assert [p[1:] for p in read_passages(tmp_path / "eval.json")] == [("row 0", "input", "問い")]
    assert [p[1:] for p in read_passages(tmp_path / "turns.jsonl.gz")] == [("81", "turns", "one"), ("81", "turns", "two")]


def test_unusable_files_say_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"foo": "bar"}\n{"foo": \n', "utf-8")
    with pytest.raises(MissingInput, match=r"no such benchmark file; corpus\.decontaminate\.files"):
        read_passages(tmp_path / "none.json")
    with pytest.raises(BadInput, match=r"x\.jsonl:2: not JSON"):
        read_passages(tmp_path / "x.jsonl")
    (tmp_path / "x.jsonl").write_text('{"foo": "bar"}\n', "utf-8")
    with pytest.raises(ConfigError, match=r"\['foo'\], none of \['baz'\]"):
        read_passages(tmp_path / "x.jsonl", ("baz",))
    (tmp_path / "x.gz").write_bytes(b"\x1f\x8bnonsense")
    with pytest.raises(BadInput, match="not readable"):
        read_passages(tmp_path / "x.gz")


def test_table_of_items_does_not_depend_on_order(benchmarks: Benchmarks) -> None:
    documents = {"d1": FILLER + QUESTIONS[0][:22], "d2": QUESTIONS[0] + QUESTIONS[1], "d0": QUESTIONS[0], "d3": FILLER}
    rows = [row for doc_id, text in documents.items() for row in contamination_rows(doc_id, benchmarks.hits(text))]
    table = item_table(benchmarks.items, rows)
    assert table == item_table(benchmarks.items, rows[::-1])
    assert [(row["documents"], row["max_share"], row["doc_id"]) for row in table[:3]] == [
        (3, 1.0, "d0"),
        (1, 1.0, "d2"),
        (0, 0.0, None),
    ]
    assert table[-1]["check"] == "too short"


@pytest.mark.sample
def test_real_benchmark_items_are_found_and_real_prose_is_clean(sample_data: Path) -> None:
    files = (sample_data / "jglue-jsquad-valid.json", sample_data / "jglue-jsts-valid.json")
    benchmarks = Benchmarks.load(DecontaminateSettings(files))
    passages = [p for path in files for p in read_passages(path)]
    for item, passage in list(zip(benchmarks.items, passages, strict=True))[::40]:
        held = {hit[:3] for hit in benchmarks.hits(FILLER + passage.text + FILLER)}
        assert (item[:3] in held) == (item.check != "too short")
    with gzip.open(sample_data / "wikipedia-ja.jsonl.gz", "rt", encoding="utf-8") as lines:
        assert not [hit for line in lines for hit in benchmarks.hits(json.loads(line)["text"])]
