"""Words are the line, cut; Japanese by the analyzer, the rest by pattern."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings

from pipeline.errors import BadInput, ConfigError, MissingInput
from tests.tokenizer.helpers.strategies import NASTY, texts
from tokenizer.analyzer import DELIMITER, WordAnalyzer, delimit, is_japanese, load_analyzer, words

MECAB = load_analyzer("mecab")


def halves(stretch: str) -> list[str]:
    """An analyzer of someone else: named in load_analyzer below."""
    middle = len(stretch) // 2
    return [part for part in (stretch[:middle], stretch[middle:]) if part]


@settings(max_examples=1000)
@given(line=texts)
@example(line="")
@example(line="".join(NASTY))
@example(line="　全角　の空白")
def test_words_are_the_line(line: str) -> None:
    for analyzer in (MECAB, load_analyzer("none")):
        starts = analyzer.starts(line)
        assert starts[0] == 0
        assert starts == sorted(set(starts))
        assert not line or starts[-1] < len(line)
        assert "".join(words(line, analyzer)) == line
        assert not any(word == "" for word in words(line, analyzer))
        # Japanese and other characters never share a word: no ▁ before Japanese.
        assert not any(is_japanese(word[0]) != is_japanese(word) for word in words(line, analyzer))
    assert delimit(line, MECAB).replace(DELIMITER, "") == line.replace(DELIMITER, "")


def test_japanese_is_cut_by_mecab() -> None:
    assert list(words("吾輩は猫である。名前はまだ無い。", MECAB)) == [
        "吾輩", "は", "猫", "で", "ある", "。", "名前", "は", "まだ", "無い", "。",
    ]  # fmt: skip
    assert list(words("すもももももももものうち", MECAB)) == ["すもも", "も", "もも", "も", "もも", "の", "うち"]
    # As MeCab itself says, asked without our pattern.
    import fugashi
    import unidic_lite

    tagger = fugashi.Tagger(f'-d "{unidic_lite.DICDIR}"')  # pyright: ignore[reportAttributeAccessIssue] # compiled
    sentence = "国境の長いトンネルを抜けると雪国であった。"
    assert list(words(sentence, MECAB)) == [node.surface for node in tagger(sentence)]


@pytest.mark.parametrize(
    ("line", "cut"),
    [
        ("The cat's name", ["The", " cat's", " name"]),
        ("def get_size(self) -> int:", ["def", " get_size", "(", "self", ")", " ->", " int", ":"]),
        ("    return x2", ["    ", "return", " x", "2"]),
        ("x = 2024", ["x", " =", " ", "2", "0", "2", "4"]),
        ("a\t\tb", ["a", "\t", "\t", "b"]),
        ("Apache は", ["Apache", " ", "は"]),
    ],
)
def test_other_text_is_cut_by_pattern(line: str, cut: list[str]) -> None:
    assert list(words(line, MECAB)) == cut


def test_none_leaves_japanese_whole() -> None:
    assert list(words("日本語のtextです。", load_analyzer("none"))) == ["日本語の", "text", "です。"]


def test_another_analyzer_by_name() -> None:
    analyzer = load_analyzer(f"{__name__}:halves")
    assert list(words("日本語だ ok", analyzer)) == ["日本", "語だ", " ok"]


def test_analyzers_that_cannot_be_used() -> None:
    with pytest.raises(ConfigError, match=r"analyzer = 'juman': expected 'mecab', 'none' or 'package.module:function'"):
        load_analyzer("juman")
    with pytest.raises(MissingInput, match="no module 'nowhere_at_all'; install it"):
        load_analyzer("nowhere_at_all:cut")
    with pytest.raises(ConfigError, match="json has no function 'words'"):
        load_analyzer("json:words")
    with pytest.raises(BadInput, match=r"word '語' at character 0 of '日本語' is not what stands there"):
        WordAnalyzer("odd", lambda stretch: list(reversed(stretch))).starts("a日本語")
    with pytest.raises(BadInput, match="words end before '日本語' does"):
        WordAnalyzer("odd", lambda stretch: [stretch[0]]).starts("日本語")


def test_a_missing_dictionary_is_one_line(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['fugashi'] = None\n"
        "from tokenizer.analyzer import load_analyzer\n"
        "from pipeline.errors import MissingInput\n"
        "try: load_analyzer('mecab')\n"
        "except MissingInput as error: print(error)"
    )
    root = Path(__file__).parents[2]
    said = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout
    assert said.startswith("[tokenizer] analyzer = 'mecab': fugashi is not installed; run `make setup`")
