"""Scripts of characters, classes and lengths of pieces, told by hand."""

import pytest

from tokenizer.report.scripts import is_spaced_japanese, length_column, piece_class, script


@pytest.mark.parametrize(
    ("characters", "name"),
    [
        ("あんゝゞ゙ゟ", "hiragana"), ("アンーヽｱﾞﾟヶ", "katakana"), ("漢々〆〇𠮷﨑", "kanji"), ("azéＡＺ", "latin"),
        ("09１２①Ⅳ", "digit"), (" \n\t\u3000\u00a0", "space"), ("。、・「」!=€🙂～", "symbol"), ("Яя한ا\0\u200d", "other"),
    ],
)  # fmt: skip
def test_scripts_of_characters(characters: str, name: str) -> None:
    assert [script(character) for character in characters] == [name] * len(characters)


@pytest.mark.parametrize(
    ("piece", "name"),
    [
        ("東京", "kanji"), (" 東京", "kanji"), ("東京は", "japanese"), ("カタかな", "japanese"), (" the", "latin"),
        ("a1", "mixed"), ("です。", "mixed"), ("    ", "space"), ("\n", "space"), (" ", "space"), ("", "control"),
        ("==", "symbol"),
    ],
)  # fmt: skip
def test_classes_of_pieces(piece: str, name: str) -> None:
    assert piece_class(piece.encode()) == name


def test_pieces_that_are_no_text_and_lengths() -> None:
    assert piece_class(b"\xe3\x81") == "byte"
    assert [length_column(b"a" * size) for size in (1, 2, 3, 4, 5, 8, 9, 16, 17, 40)] == [0, 1, 2, 3, 4, 4, 5, 5, 6, 6]
    assert [is_spaced_japanese(piece.encode()) for piece in (" 東", " the", "東", " ", "  東")] == [
        True,
        False,
        False,
        False,
        False,
    ]
