"""Texts that `corpus.extract.plain` calls plain against what extraction makes of them."""

import sys
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corpus.extract.document import Extracted, extract
from corpus.extract.plain import are_plain
from corpus.readers import RawDocument

# Letters of prose, and what extraction has an opinion of: line ends, spaces, controls, combining marks, half width, mojibake.
ALPHABET = st.one_of(
    st.sampled_from("あア亜漢。、ab1 \u3000\n\n\r\t\x0b\x85\xa0\xad\u200b\u2028\ufeff\u3099がﾊﾟ縺繧繝ã¤¥é가ᅡᆨ𠮷😀\ud800"),
    st.characters(),
)


def unchanged(text: str, title: str = "") -> bool:
    """Whether extraction keeps a row's text and title, and has nothing to flag."""
    got = extract(RawDocument("s", "u", text.encode("utf-8", "surrogatepass"), "text", "utf-8", title, text=text))
    return isinstance(got, Extracted) and (got.text, got.title, got.flags) == (text, " ".join(title.split()), ())


@given(st.lists(st.text(ALPHABET, max_size=30), min_size=1, max_size=6))
@example(["", "あ", "\u3000あ", "あ\u3000", "あ \nい", "\nあ", "あ\n\nい", "あ\n\n\nい", "あ\n \nい", "か\u3099", "縺" * 9])
@settings(max_examples=500, deadline=None)
def test_what_is_plain_comes_out_of_extraction_as_it_went_in(texts: list[str]) -> None:
    for text, plain in zip(texts, are_plain(texts), strict=True):
        if plain:
            assert text and unchanged(text) and unchanged("本文", text), repr(text)


@pytest.mark.parametrize(
    "text", ["日本語の文章です。", "　字下げ。\n\n次の段落 a b\n 三行目", "カタカナとEnglish、１２３。", "𠮷野家😀", "vin café"]
)
def test_prose_is_plain(text: str) -> None:
    assert are_plain([text]).tolist() == [True] and unchanged(text)


def test_every_character_after_every_kind_of_letter() -> None:
    """All of Unicode: alone between letters, and after one that it might join."""
    for before in "aか가ᄀ":
        texts = [f"{before}{chr(point)}い" for point in range(sys.maxunicode + 1)]
        for text in [text for text, plain in zip(texts, are_plain(texts).tolist(), strict=True) if plain]:
            assert unicodedata.is_normalized("NFC", text), repr(text)
    texts = [f"あ{chr(point)}い" for point in range(0x10000)]
    odd = [text for text, plain in zip(texts, are_plain(texts).tolist(), strict=True) if plain and not unchanged(text)]
    assert not odd
