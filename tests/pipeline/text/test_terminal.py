"""Text for a terminal: by Unicode's own properties nothing is left that controls it or reorders what is read."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from pipeline.text.terminal import REPLACEMENT, display_width, strip_control_chars

BIDIRECTIONAL = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
MARKS = {"\u061c", "\u200e", "\u200f"}  # ALM, LRM, RLM: of other classes, and invisible
TEXT = st.text(st.characters(codec=None) | st.sampled_from("\x1b\r\n\t\x9b\u202e\u2066\u2069\u200f\u2028\ud800あ"))


def is_harmless(character: str) -> bool:
    return (
        unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp")
        and unicodedata.bidirectional(character) not in BIDIRECTIONAL
        and character not in MARKS
    )


@given(TEXT)
def test_what_controls_a_terminal_is_replaced_one_for_one(text: str) -> None:
    stripped = strip_control_chars(text)
    assert len(stripped) == len(text)
    for before, after in zip(text, stripped, strict=True):
        if before == "\r":
            assert after == "\n"
        elif before in "\n\t" or is_harmless(before):
            assert after == before
        else:
            assert after == REPLACEMENT
    assert strip_control_chars(stripped) == stripped


@given(TEXT)
def test_one_line_is_one_line(text: str) -> None:
    line = strip_control_chars(text, one_line=True)
    assert len(line) == len(text) and all(is_harmless(character) for character in line)
    assert len(line.splitlines()) <= 1
    line.encode()


def test_what_people_write_is_kept() -> None:
    for text in ("源氏物語\n\t「春」", "か\u3099", "👨\u200d👩\u200d👧", "葛\U000e0100", "שלום", "é"):
        assert strip_control_chars(text) == text


def test_width_in_columns() -> None:
    assert [display_width(text) for text in ("", "abc", "源氏", "ｱa", "Ａ")] == [0, 3, 4, 2, 2]
