"""The compiled encoder is SentencePiece to the id, on every text and on vocabularies of other shapes."""

import io
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.helpers import instruction_texts
from tests.tokenizer.strategies import texts
from tokenizer import kernels
from tokenizer.compiled import is_supported
from tokenizer.encode import MODEL_FILE, Tokenizer
from tokenizer.pieces import Piece, learned_pieces, with_learned
from tokenizer.symbols import SPACE_MARK

# Long enough for the heap, of few enough letters that most pairs merge.
long_texts = st.lists(
    st.sampled_from(["い", "す", "まで", "ファイル", "ください", "学習", "です", "a", " ", "  ", "\u30fc"]), max_size=300
)


@pytest.fixture(scope="module")
def model(tiny_tokenizer: Path) -> bytes:
    return (tiny_tokenizer / MODEL_FILE).read_bytes()


@pytest.fixture(scope="module")
def tokenizer(model: bytes) -> Tokenizer:
    return Tokenizer(model)


def same(tokenizer: Tokenizer, strings: list[str]) -> None:
    assert is_supported(tokenizer._model)
    arrays = tokenizer.encode_arrays(strings)
    assert [array.tolist() for array in arrays] == [tokenizer.encode(text) for text in strings]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(strings=st.lists(long_texts.map("".join), min_size=4, max_size=4), odd=st.lists(texts, max_size=8))
@example(strings=[" " * 17 + "あ", "あ" + " " * 33, " い  い "], odd=["", "", SPACE_MARK])
def test_ids_are_sentencepiece_s(tokenizer: Tokenizer, strings: list[str], odd: list[str]) -> None:
    same(tokenizer, strings + odd)


def test_real_text_whole_and_without_a_line_break(tokenizer: Tokenizer) -> None:
    joined = "".join(instruction_texts())
    assert len(joined) > 20_000
    same(tokenizer, [*instruction_texts(), joined, "".join(joined.split("、")), "ー" * 5000, "す" * 5000])


@pytest.mark.parametrize("step", [2, 50, 10_000])
def test_pieces_of_equal_score_merge_left_first(model: bytes, step: int) -> None:
    """`step` neighbours in the order of merges become equals."""
    learned = [Piece(piece.text, piece.score // step) for piece in learned_pieces(model)]
    same(Tokenizer(with_learned(model, learned)), [*instruction_texts()[:400], "ください" * 50])


def test_pieces_that_no_merge_leads_to_are_not_found(model: bytes) -> None:
    learned = [piece for piece in learned_pieces(model) if len(piece.text) != 2]
    same(Tokenizer(with_learned(model, learned)), instruction_texts()[:400])


@pytest.mark.parametrize("count", [1, 2, kernels.SHORT, kernels.SHORT + 1, kernels.SHORT + 2])
def test_on_both_sides_of_the_heap(tokenizer: Tokenizer, count: int) -> None:
    same(tokenizer, ["す" * count, ("です" * count)[:count], ("まです" * count)[-count:]])


def test_where_a_table_is_no_answer_sentencepiece_encodes(model: bytes) -> None:
    assert is_supported(model)
    others = {
        "unigram": {"model_type": "unigram"},
        "prefix": {"add_dummy_prefix": True},
        "spaces": {"remove_extra_whitespaces": True},
        "folded": {"normalization_rule_name": "nfkc"},
    }
    bare = {
        "model_type": "bpe",
        "normalization_rule_name": "identity",
        "add_dummy_prefix": False,
        "remove_extra_whitespaces": False,
    }
    for change in others.values():
        made = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(instruction_texts()), model_writer=made, vocab_size=2000, minloglevel=2, byte_fallback=True,
            **(bare | change),
        )  # fmt: skip
        assert not is_supported(made.getvalue())
        other = Tokenizer(made.getvalue())
        arrays = other.encode_arrays(["日本語。", " a  b "])
        assert [array.tolist() for array in arrays] == other.encode_batch(["日本語。", " a  b "])
        assert {array.dtype for array in arrays} == {np.dtype(np.int32)}


def test_a_character_that_is_only_part_of_pieces_is_left_to_sentencepiece(model: bytes) -> None:
    learned = [piece for piece in learned_pieces(model) if piece.text != "す"]
    assert not is_supported(with_learned(model, learned))
