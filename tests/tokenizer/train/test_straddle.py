"""Straddling uses, counted piece by piece against looking at each token of each line."""

from collections import Counter

import pytest
import sentencepiece
from hypothesis import given, settings

from tests.helpers import instruction_texts
from tests.tokenizer.helpers.strategies import texts
from tokenizer.analyzer import DELIMITER, delimit, load_analyzer
from tokenizer.encode import Tokenizer
from tokenizer.model_file import without
from tokenizer.settings import TokenizerSettings
from tokenizer.train.sample import sentences
from tokenizer.train.straddle import count_straddling, find_straddlers, take_evenly
from tokenizer.train.trainer import train

ANALYZER = load_analyzer("mecab")
LINES = [delimit(sentence, ANALYZER) for text in instruction_texts() for sentence in sentences(text)]


@pytest.fixture(scope="module")
def raw() -> bytes:
    """Raw BPE, which straddles often."""
    plain = [line.replace(DELIMITER, "") for line in LINES]
    return train(plain, TokenizerSettings(1280, 10**6, character_coverage=0.98))


def by_hand(model: bytes, line: str) -> tuple[Counter[int], Counter[int]]:
    """Uses and straddling uses of learned pieces: a token is bad if it has characters of two words, one of them not wholly."""
    tokenizer, text = Tokenizer(model), line.replace(DELIMITER, "")
    word_of = [number for number, word in enumerate(line.split(DELIMITER)) for _ in word]
    ids, offsets = tokenizer.encode_with_offsets(text)
    uses, bad = Counter[int](), Counter[int]()
    for token, begin in zip(ids, offsets, strict=True):
        uses[token] += 1
        if not tokenizer.is_byte(token):
            end = begin + len(tokenizer.piece(token))
            inside, outside = set(word_of[begin:end]), {*word_of[:begin], *word_of[end:]}
            bad[token] += len(inside) > 1 and bool(inside & outside)
    return uses, bad


def test_counts_are_those_of_each_line(raw: bytes) -> None:
    uses, bad = Counter[int](), Counter[int]()
    for line in LINES[:300]:
        one, other = by_hand(raw, line)
        uses += one
        bad += other
    uses_V, bad_V = count_straddling(raw, LINES[:300])
    assert {token: count for token, count in enumerate(uses_V.tolist()) if count} == dict(uses)
    assert {token: count for token, count in enumerate(bad_V.tolist()) if count} == dict(bad)
    assert sum(bad.values()) > 100


@settings(max_examples=300)
@given(text=texts)
def test_any_text_can_be_counted(raw: bytes, text: str) -> None:
    uses_V, bad_V = count_straddling(raw, [delimit(text, ANALYZER), ""])
    assert (bad_V <= uses_V).all()
    assert uses_V.sum() == len(sentencepiece.SentencePieceProcessor(model_proto=raw).encode(text.replace(DELIMITER, "")))


def test_without_its_straddlers_a_vocabulary_straddles_less(raw: bytes) -> None:
    gone = find_straddlers(raw, LINES, 0.2)
    assert gone and all(len(text) > 1 for text in gone)
    assert find_straddlers(raw, LINES, 0.9) < gone
    before, after = (count_straddling(model, LINES)[1].sum() for model in (raw, without(raw, gone)))
    assert after < before / 2


def test_evenly() -> None:
    assert take_evenly(["ab"] * 10, 20) == ["ab"] * 10
    assert take_evenly([str(number) for number in range(10)], 5) == ["0", "2", "4", "6", "8"]
    assert take_evenly([], 5) == []
