"""Passages: they are the document, whole sentences, and neither too long nor needlessly short."""

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.index.passages import cut_passages
from tests.tokenizer.helpers.strategies import nasty

MARKS = ("。", "！", "？", "」", "「", "、", "\n", "\n\n", "あ", "漢字", "カナ", " ", "a", "か\u3099", "👨‍👩‍👧")
japanese = st.lists(st.sampled_from(MARKS), max_size=150).map("".join)


def passages(text: str, least: int, most: int) -> list[str]:
    return [text[begin:end] for begin, end in cut_passages(text, least=least, most=most)]


@given(st.one_of(japanese, nasty), st.integers(1, 20), st.integers(0, 40))
def test_they_partition_the_document(text: str, least: int, more: int) -> None:
    made = passages(text, least, least + more)
    assert "".join(made) == text
    assert all(1 <= len(passage) <= least + more for passage in made)


@given(japanese, st.integers(1, 20), st.integers(0, 40))
def test_a_short_one_could_not_have_taken_its_neighbour(text: str, least: int, more: int) -> None:
    """Only the last may be short, or one whose next sentence would have made it too long."""
    most = least + more
    made = passages(text, least, most)
    for passage, following in pairwise(made):
        if len(passage) < least:
            first_sentence = min((i for i, c in enumerate(following, 1) if c in "。！？\n"), default=len(following))
            assert len(passage) + first_sentence > most or len(following) == most or len(passage) + len(following) > most


def test_sentences_stay_whole_with_their_closing_brackets() -> None:
    text = "彼は「もう帰る。」と言った。次の文！？\n\n三つ目の文です。『終わり。』"
    assert passages(text, 8, 20) == ["彼は「もう帰る。」", "と言った。次の文！？\n\n", "三つ目の文です。『終わり。』"]
    assert passages(text, 8, 13) == ["彼は「もう帰る。」", "と言った。次の文！？\n\n", "三つ目の文です。", "『終わり。』"]


def test_a_long_sentence_is_cut_at_a_pause() -> None:
    assert passages("ああああああ、いいいいいいいいい", 5, 10) == ["ああああああ、", "いいいいいいいいい"]


@pytest.mark.parametrize("joined", ["か\u3099", "👨‍👩‍👧", "e\u0301\u0323", "葛\U000e0100"])
def test_a_cut_never_parts_what_a_reader_sees_as_one(joined: str) -> None:
    for shift in range(12):
        for passage in passages("x" * shift + joined * 30, 5, 12):
            assert not unicodedata.category(passage[0]).startswith("M") and "\u200d" not in (passage[0], passage[-1])


def test_an_endless_run_of_marks_is_cut_all_the_same() -> None:
    assert passages("\u0301" * 25, 5, 10) == ["\u0301" * 10, "\u0301" * 10, "\u0301" * 5]
