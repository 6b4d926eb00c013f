"""The compiled encoder is SentencePiece to the id, on every text and on vocabularies of other shapes."""

import io
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.helpers import instruction_texts
from tests.tokenizer.helpers.strategies import texts
from tokenizer.encode import MODEL_FILE, Tokenizer
from tokenizer.fast.encoder import compile_encoder
from tokenizer.model_file import Piece, learned_pieces, merge_parts, order_parts_first, replace_learned
from tokenizer.symbols import SPACE_MARK

# Of few enough letters that most pairs merge.
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
    assert compile_encoder(tokenizer._model)
    arrays = tokenizer.encode_arrays(strings)
    assert [array.tolist() for array in arrays] == [tokenizer.encode(text) for text in strings]


@settings(max_examples=150)
@given(strings=st.lists(long_texts.map("".join), min_size=4, max_size=4), odd=st.lists(texts, max_size=8))
@example(strings=[" " * 17 + "あ", "あ" + " " * 33, " い  い "], odd=["", "", SPACE_MARK])
def test_ids_are_sentencepiece_s(tokenizer: Tokenizer, strings: list[str], odd: list[str]) -> None:
    same(tokenizer, strings + odd)


def test_real_text_whole_and_without_a_line_break(tokenizer: Tokenizer) -> None:
    joined = "".join(instruction_texts())
    assert len(joined) > 20_000
    same(tokenizer, [*instruction_texts(), joined, "".join(joined.split("、")), "ー" * 5000, "す" * 5000])


LETTERS = "いすで"


@settings(max_examples=150)
@given(
    pieces=st.lists(st.text(LETTERS, min_size=2, max_size=7), min_size=1, max_size=40, unique=True),
    strings=st.lists(st.text(LETTERS, max_size=60), min_size=20, max_size=20),
    equals=st.sampled_from([1, 2, 3]),
)
@example(pieces=["いい", "いいい", "いいいい"], strings=["い" * count for count in range(20)], equals=1)
def test_vocabularies_of_any_pieces(model: bytes, pieces: list[str], strings: list[str], equals: int) -> None:
    """Few letters and any pieces: many are never made, many places are given up, pieces of equal score merge left first."""
    ordered = order_parts_first(pieces)
    whole = {text: place // equals for place, text in enumerate(ordered)}
    nested = any(whole[text] <= whole.get(part, -1) for text, parts in merge_parts(whole).items() for part in parts)
    characters = [piece for piece in learned_pieces(model) if len(piece.text) == 1]
    made = replace_learned(model, [*(Piece(text, -float(rank)) for text, rank in whole.items()), *characters])
    if nested:  # a part of equal score: only for equals > 1
        assert equals > 1
        assert compile_encoder(made) is None
    else:
        same(Tokenizer(made), strings)


def test_parts_are_what_sentencepiece_makes_a_piece_of(model: bytes) -> None:
    """Without a piece, its own text is its two parts: where no other piece takes their place."""
    learned = learned_pieces(model)
    order = [piece.text for piece in learned if len(piece.text) > 1]
    parts = merge_parts({text: place for place, text in enumerate(order)})
    assert len(parts) > 250
    for text in order[:: len(order) // 50]:
        before = order[: order.index(text)]
        alone = replace_learned(model, [piece for piece in learned if len(piece.text) == 1 or piece.text in before])
        assert tuple(map(Tokenizer(alone).piece, Tokenizer(alone).encode(text.replace(SPACE_MARK, " ")))) == parts[text]


def test_a_piece_before_its_parts_is_put_off_until_behind_them() -> None:
    assert order_parts_first(["にと", "って", "にとって"]) == ["にと", "って", "にとって"]
    assert order_parts_first(["にとって", "って", "にと"]) == ["って", "にと", "にとって"]
    assert order_parts_first(["abc", "bc"]) == ["bc", "abc"]
    assert order_parts_first(["abc", "x"]) == ["abc", "x"], "a piece that is never made stays where it is"


def test_pieces_that_no_merge_leads_to_are_not_found(model: bytes) -> None:
    learned = [piece for piece in learned_pieces(model) if len(piece.text) != 2]
    same(Tokenizer(replace_learned(model, learned)), instruction_texts()[:400])


@pytest.mark.parametrize("count", [1, 2, 127, 128, 1000])
def test_chains_without_a_seam(tokenizer: Tokenizer, count: int) -> None:
    same(tokenizer, ["す" * count, ("です" * count)[:count], ("まです" * count)[-count:]])


def test_where_a_table_is_no_answer_sentencepiece_encodes(model: bytes) -> None:
    assert compile_encoder(model)
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
        assert compile_encoder(made.getvalue()) is None
        other = Tokenizer(made.getvalue())
        arrays = other.encode_arrays(["日本語。", " a  b "])
        assert [array.tolist() for array in arrays] == other.encode_batch(["日本語。", " a  b "])
        assert {array.dtype for array in arrays} == {np.dtype(np.int32)}


def test_a_character_that_is_only_part_of_pieces_is_left_to_sentencepiece(model: bytes) -> None:
    learned = [piece for piece in learned_pieces(model) if piece.text != "す"]
    assert compile_encoder(replace_learned(model, learned)) is None
