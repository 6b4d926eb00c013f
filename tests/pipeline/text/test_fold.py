"""The fold against a version written with the standard library over the whole text."""

import re
import unicodedata

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.text.fold import fold, fold_offsets, to_text

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


@given(JAPANESE)
@settings(max_examples=400, deadline=None)
def test_fold_is_the_documented_one(text: str) -> None:
    assert to_text(fold(text)) == fold_by_string_functions(text)


def test_every_code_point_folds_as_documented() -> None:
    points = [chr(p) for p in range(0x110000) if not 0xD800 <= p < 0xE000]
    folded, offsets = fold("".join(points)), fold_offsets("".join(points))
    assert to_text(folded) == fold_by_string_functions("".join(points))
    assert len(offsets) == len(folded) and (np.diff(offsets) >= 0).all()


@given(JAPANESE)
@settings(max_examples=200, deadline=None)
def test_each_folded_character_comes_from_its_offset(text: str) -> None:
    offsets = fold_offsets(text)
    assert len(offsets) == len(fold(text))
    for offset, point in zip(offsets, to_text(fold(text)), strict=True):
        own = fold_by_string_functions(text[offset])
        assert point in own or point in {unicodedata.normalize("NFC", c + m) for c in own for m in "\u3099\u309a"}
