"""A model file as data, against SentencePiece's own reading of it."""

import random

import pytest
import sentencepiece

from tests.helpers import instruction_texts
from tokenizer.model_file import (
    NUM_FIXED_PIECES,
    Piece,
    learned_pieces,
    read_pieces,
    replace_learned,
    unreachable_pieces,
    without,
)
from tokenizer.settings import TokenizerSettings
from tokenizer.train.sample import sentences
from tokenizer.train.trainer import train


@pytest.fixture(scope="module")
def model() -> bytes:
    text = [sentence for text in instruction_texts() for sentence in sentences(text)]
    return train(text, TokenizerSettings(1280, 10**6, character_coverage=0.98))


def test_pieces_are_what_sentencepiece_reads(model: bytes) -> None:
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    assert [(piece.text, piece.score) for piece in read_pieces(model)] == [
        (processor.id_to_piece(token), processor.get_score(token)) for token in range(processor.vocab_size())
    ]
    assert processor.is_byte(NUM_FIXED_PIECES - 1) and not processor.is_byte(NUM_FIXED_PIECES)
    assert replace_learned(model, learned_pieces(model)) == model


def test_dropping_and_adding(model: bytes) -> None:
    small = without(model, ["です", "ます"])
    processor = sentencepiece.SentencePieceProcessor(model_proto=small)
    assert processor.vocab_size() == 1278
    assert processor.decode(processor.encode("ですます")) == "ですます"
    assert "です" not in processor.encode("ですます", out_type=str)
    assert read_pieces(small)[:NUM_FIXED_PIECES] == read_pieces(model)[:NUM_FIXED_PIECES]
    more = replace_learned(small, [*learned_pieces(small), Piece("まで🙂", -9999.0)])
    assert read_pieces(more)[-1] == Piece("まで🙂", -9999.0)
    with pytest.raises(ValueError, match="'<0x0A>' is there twice"):
        replace_learned(model, [Piece("<0x0A>", 0.0)])


def test_unreachable_pieces_are_those_that_no_text_uses(model: bytes) -> None:
    """With parts dropped at random, the pieces called unreachable are in the code of no text that has them, and no others."""
    dice = random.Random(3)
    merges = [piece.text for piece in learned_pieces(model) if len(piece.text) > 1]
    small = without(model, dice.sample(merges, len(merges) // 3))
    dead = set(unreachable_pieces(small))
    assert dead
    processor = sentencepiece.SentencePieceProcessor(model_proto=small)
    left = [piece.text for piece in learned_pieces(small)]
    texts = [*instruction_texts(), *("".join(dice.choices(left, k=4)) for _ in range(20_000))]
    used = {piece for pieces in processor.encode(texts, out_type=str) for piece in pieces}
    assert not dead & used
    assert all(processor.encode(text, out_type=str) == [text] for text in left if text not in dead)
    # Taking them out changes nothing.
    other = sentencepiece.SentencePieceProcessor(model_proto=without(small, dead))
    assert other.encode(texts, out_type=str) == processor.encode(texts, out_type=str)
