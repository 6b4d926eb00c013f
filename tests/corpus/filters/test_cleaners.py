"""Cleaners against LLM-jp's own substitutions (with `regex`, carried on until nothing changes) and against Unicode."""

import pytest
import regex
from hypothesis import example, given
from hypothesis import strategies as st

from corpus.filters.cleaners import CLEANERS, clean, empty_parentheses, japanese_lines, wikipedia_footnotes

PIECES = [
    "（", "）", "(", ")", " ", "　", "、", ",", "，", ";", "；", "\n", "。", "あ", "カ", "ー", "漢", "a", "x" * 60, "https://",
    "https://x.jp/a?b=1 ", "http", "脚注", "\n出典\n", "関連項目 \n", "\nReferences\n", "\u2028", "\u00a0", "\r", "😀",
]  # fmt: skip
TEXT = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


def theirs_brackets(text: str) -> str:
    """LLM-jp's remove_empty_parenthesis until nothing changes; [^\\S\\n] where theirs has \\s."""
    space = r"[^\S\n]"
    while True:
        before = text
        text = regex.sub(rf"（(?:{space}|[,，、;；])*", "（", text)
        text = regex.sub(rf"(?:{space}|[,，、;；])*）", "）", text)
        text = regex.sub("（）", "", text)
        text = regex.sub(rf"\((?:{space}|[,;])*", "(", text)
        text = regex.sub(rf"(?:{space}|[,;])*\)", ")", text)
        text = regex.sub(rf"{space}?\(\)", "", text)
        if text == before:
            return text


def theirs_lines(text: str) -> str:
    """LLM-jp's extract_japanese_text, word for word in what it does."""
    kept = ""
    for line in text.split("\n"):
        if regex.search(r"[\p{Script=Hiragana}\p{Script=Katakana}ー]+", line):
            line = regex.sub(r"https?://[\w/:%#\$&\?\(\)~\.=\+\-]+", "", line)
            kept += regex.sub(r"[\u0000-\u007F]{100,}", "", line)
    return kept


@given(TEXT)
@example("（（））")
@example("（（）、あ）")
@example("a ( () )")
def test_brackets_as_llm_jp_carried_on_to_the_end(text: str) -> None:
    assert empty_parentheses(text) == theirs_brackets(text)


@given(TEXT)
@example("https://x.jp/を漢")
def test_lines_are_those_of_llm_jp_but_for_line_ends(text: str) -> None:
    """Where a line's only kana was in an address, theirs keeps the rest of it, which a second pass would drop."""
    ours = "".join(line for line in japanese_lines(text).split("\n") if line.strip())
    theirs = "".join(line for line in map(theirs_lines, text.split("\n")) if theirs_lines(line))
    assert ours == theirs


def test_kana_are_unicode_s_scripts() -> None:
    pattern = regex.compile(r"[\p{Script=Hiragana}\p{Script=Katakana}ー]")
    points = [chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    assert [c for c in points if bool(pattern.match(c)) != bool(japanese_lines(c))] == []


@pytest.mark.parametrize("name", sorted(CLEANERS))
@given(text=st.one_of(TEXT, st.text(max_size=80)))
def test_cleaning_is_idempotent_takes_only_away_and_never_joins_lines(name: str, text: str) -> None:
    cleaned = clean(text, (name,))
    assert clean(cleaned, (name,)) == cleaned
    cleaned.encode()  # valid UTF-8
    rest = iter(text)
    assert all(c in rest for c in cleaned)  # a subsequence of the text
    lines = text.split("\n")
    rest_of_lines = iter(lines)
    for line in cleaned.split("\n"):  # every line is made of one line of the text, in order
        assert line == "" or any(_is_made_of(line, candidate) for candidate in rest_of_lines)


def _is_made_of(line: str, candidate: str) -> bool:
    rest = iter(candidate)
    return all(c in rest for c in line)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("本文である。\n脚注\n1. 某", "本文である。"),
        ("本文。\n出典・脚注　\n某", "本文。"),
        ("本文。\n脚注", "本文。"),
        ("脚注の多い本。\n関連項目を見よ。", "脚注の多い本。\n関連項目を見よ。"),
        ("Text.\nSee also\nOther", "Text."),
    ],
)
def test_footnotes(text: str, expected: str) -> None:
    assert wikipedia_footnotes(text) == expected


def test_deep_brackets_cost_no_more_than_their_length() -> None:
    assert empty_parentheses("あ" + "（" * 200_000 + " 、" * 1000 + "）" * 200_000) == "あ"
    assert empty_parentheses("（" + " " * 200_000 + "あ" + " " * 200_000 + "い）") == "（あ" + " " * 200_000 + "い）"


def test_paragraphs_stay_apart() -> None:
    assert japanese_lines("\n\nこれ。\nMENU\n\n\nそれ。\n© 2024\n") == "これ。\n\nそれ。"
