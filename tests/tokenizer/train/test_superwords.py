"""Runs of whole words: which words join, and that any size of vocabulary has room for its words."""

import itertools

import pytest

from tests.helpers import instruction_texts
from tokenizer.analyzer import DELIMITER, delimit, is_japanese, load_analyzer, words
from tokenizer.model_file import NUM_FIXED_PIECES, Piece, learned_pieces, read_pieces, replace_learned
from tokenizer.settings import TokenizerSettings
from tokenizer.symbols import SPACE_MARK
from tokenizer.train.sample import sentences
from tokenizer.train.superwords import can_join, find_superwords
from tokenizer.train.trainer import train_delimited

SETTINGS = TokenizerSettings(1000, 10**6, character_coverage=0.98, max_piece_characters=10)
ENGLISH = ["the end of the list", "all of the 12 files", "return self.value_of(x)", "the list の中に 12月 of the 3年"] * 20
ANALYZER = load_analyzer("mecab")
LINES = [delimit(line, ANALYZER) for text in [*instruction_texts(), *ENGLISH] for line in sentences(text)]


@pytest.fixture(scope="module")
def inside() -> bytes:
    return train_delimited(LINES, SETTINGS)


def found(model: bytes, runs: str) -> list[str]:
    return find_superwords(LINES, model, TokenizerSettings(1000, 10**6, max_piece_characters=10, runs=runs), 400)


def test_runs_are_words_that_stand_together(inside: bytes) -> None:
    seen = {
        "".join(line[begin:end])
        for line in (text.split(DELIMITER) for text in LINES)
        for begin, end in itertools.combinations(range(len(line) + 1), 2)
        if 2 <= end - begin <= 8
    }
    pieces = {piece.text.replace(SPACE_MARK, " ") for piece in learned_pieces(inside)}
    for run in found(inside, "all"):
        text = run.replace(SPACE_MARK, " ")
        assert text in seen
        assert len(text) <= 10
        assert not any(character.isdigit() for character in text)
    assert {"です。", "▁of▁the"} <= set(found(inside, "all"))
    assert all(word in pieces for word in ("です", "。", " of", " the"))


def test_which_words_join(inside: bytes) -> None:
    japanese, everything = found(inside, "ja"), found(inside, "all")
    assert len(japanese) > 100
    assert all(is_japanese(run) for run in japanese)
    assert [run for run in everything if not is_japanese(run)]
    # Never a piece of both, so never a space before Japanese.
    assert not [run for run in everything if len({is_japanese(character) for character in run}) > 1]
    assert found(inside, "none") == []
    assert [can_join(word, "ja") for word in ("は", "\u3000", " of", "三", "３", "")] == [True, True, False, True, False, False]
    assert [can_join(word, "all") for word in (" of", "は", "2", "x2", SPACE_MARK)] == [True, True, False, False, False]


def test_the_most_frequent_run_is_first(inside: bytes) -> None:
    codes = {piece.text.replace(SPACE_MARK, " ") for piece in learned_pieces(inside)}
    pairs = [
        (one + other)
        for line in LINES
        for one, other in itertools.pairwise(line.split(DELIMITER))
        if one in codes and other in codes and can_join(one, "ja") and can_join(other, "ja")
    ]
    most = max(map(pairs.count, set(pairs)))
    assert pairs.count(found(inside, "ja")[0]) == most


def test_threads_do_not_change_the_runs(inside: bytes) -> None:
    one, two = (
        find_superwords(LINES, inside, TokenizerSettings(1000, 10**6, runs="all", threads=threads), 300) for threads in (1, 2)
    )
    assert one == two


def test_a_large_vocabulary_has_room(inside: bytes) -> None:
    """Words whose ids pass 65,535 and every bound of the planes near it make runs like any other."""
    syllables = [chr(code) for code in range(0x4E00, 0x4E00 + 450)]
    filler = ["".join(pair) for pair in itertools.islice(itertools.product(syllables, syllables), 200_000)]
    known = {piece.text for piece in read_pieces(inside)}
    kept = [text for text in filler if text not in known]
    texts = [*[piece.text for piece in learned_pieces(inside)], *kept]
    large = replace_learned(inside, [Piece(text, -float(place)) for place, text in enumerate(texts)])
    last = NUM_FIXED_PIECES + len(texts) - 1
    assert last > 190_000
    rare = kept[-70_000::10_000]
    for one, other in itertools.pairwise(rare):
        assert f"{one}{other}" in find_superwords([f"{one}{DELIMITER}{other}"] * 9, large, SETTINGS, 3)


def test_nothing_to_find(inside: bytes) -> None:
    assert find_superwords([], inside, SETTINGS, 10) == []
    assert find_superwords(["です", "", f"2{DELIMITER}4"], inside, SETTINGS, 10) == []
    assert find_superwords(LINES, inside, SETTINGS, 0) == []
    assert "".join(words("です。", ANALYZER)) == "です。"
