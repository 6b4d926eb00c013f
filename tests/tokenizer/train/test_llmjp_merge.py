"""Scores of a merged vocabulary: expected counts against counting every segmentation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from tests.helpers import instruction_texts
from tokenizer.encode import Tokenizer
from tokenizer.model_file import NUM_FIXED_PIECES, learned_pieces
from tokenizer.settings import TokenizerSettings
from tokenizer.train.llmjp_merge import UNKNOWN_PENALTY, Trie, expected_counts, group_sentences, reestimate_scores, train_merged
from tokenizer.train.sample import Sample, sentences


def by_hand(scores: dict[str, float], line: str) -> tuple[dict[str, float], float]:
    """Expected uses of each piece and the line's probability, from every way to cut it; unknown characters alone."""
    unknown = min(scores.values()) - UNKNOWN_PENALTY

    def ways(rest: str) -> list[list[str]]:
        if not rest:
            return [[]]
        return [
            [rest[:end], *more]
            for end in range(1, len(rest) + 1)
            if rest[:end] in scores or end == 1
            for more in ways(rest[end:])
        ]

    expected, total = dict.fromkeys(scores, 0.0), 0.0
    for way in ways(line):
        weight = math.exp(sum(scores.get(piece, unknown) for piece in way))
        total += weight
        for piece in way:
            if piece in expected:
                expected[piece] += weight
    return {piece: count / total for piece, count in expected.items()}, total


vocabularies = st.dictionaries(st.text("あいう", min_size=1, max_size=4), st.floats(-6, 0), min_size=1, max_size=12)


@settings(max_examples=300)
@given(scores=vocabularies, lines=st.lists(st.text("あいうx", min_size=1, max_size=7), min_size=1, max_size=3))
def test_expected_counts_are_those_of_all_segmentations(scores: dict[str, float], lines: list[str]) -> None:
    texts = sorted(scores)
    codes = np.array([ord(character) for line in lines for character in line], np.int64)
    ends = np.cumsum([len(line) for line in lines])
    found = expected_counts(Trie.of(texts), np.array([scores[text] for text in texts]), codes, ends)
    wanted = [sum(by_hand(scores, line)[0][text] for line in lines) for text in texts]
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


def test_every_round_makes_the_text_more_probable() -> None:
    lines = ["あいあい", "あいう", "うあい", "いい"] * 20  # often enough that no piece falls to MIN_COUNT
    scores = {text: math.log(1 / 6) for text in ("あ", "い", "う", "あい", "いう", "いあ")}
    probabilities = []
    for _ in range(4):
        probabilities.append(sum(math.log(by_hand(scores, line)[1]) for line in lines))
        scores = reestimate_scores(scores, lines, 1)
        assert len(scores) == 6
        assert sum(map(math.exp, scores.values())) == pytest.approx(1)
    assert probabilities == sorted(probabilities)
    assert probabilities[-1] > probabilities[0] + 1


def test_sources_have_groups() -> None:
    lines = {"wiki": ["日本語の文。"], "manual": ["English text"], "python": ["def f(): pass"], "none": []}
    assert group_sentences(lines, {"python": "code"}) == {
        "ja": ["日本語の文。"], "en": ["English text"], "code": ["def f(): pass"],
    }  # fmt: skip


def sample() -> Sample:
    japanese = [sentence for text in instruction_texts() for sentence in sentences(text)]
    english = ["the name of the file is in the list of names", "a list of the files that are here", "read the name"] * 30
    return Sample({"ja": japanese, "en": english})


def test_a_merged_vocabulary_reads_both_languages() -> None:
    model = train_merged(sample(), TokenizerSettings(1100, 10**6, character_coverage=0.98, max_piece_characters=8))
    tokenizer, texts = Tokenizer(model), {piece.text for piece in learned_pieces(model)}
    assert tokenizer.vocab_size == 1100 == NUM_FIXED_PIECES + len(texts)
    assert {"ます", "▁name"} <= texts
    scores = [piece.score for piece in learned_pieces(model)]
    assert scores == sorted(scores, reverse=True)
    line = "日本語の the name です🙂"
    assert tokenizer.decode(tokenizer.encode(line)) == line


def test_too_large_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"vocab_size = 90000: the text yields \d+ pieces only"):
        train_merged(sample(), TokenizerSettings(90_000, 10**6, character_coverage=0.98))
