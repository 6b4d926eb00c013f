"""Nothing is lost, and every token's place is exact."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
from hypothesis import example, given, settings

from pipeline.errors import BadInput, MissingInput
from tests.helpers import instruction_texts
from tests.tokenizer.helpers.strategies import NASTY, batches, nasty, texts
from tokenizer.encode import Tokenizer
from tokenizer.symbols import CONTROL_SYMBOLS, EOS, SPACE_MARK, UNK

CONTROL_IDS = range(4 + len(CONTROL_SYMBOLS))


@pytest.fixture(scope="module")
def tokenizer(tiny_tokenizer: Path) -> Tokenizer:
    return Tokenizer.load(tiny_tokenizer)


def check(tokenizer: Tokenizer, text: str, ids: list[int]) -> None:
    """Nothing lost, nothing a control token; every token begins at the character that holds its first byte."""
    assert tokenizer.decode(ids) == text
    assert not any(token in CONTROL_IDS for token in ids)
    again, offsets = tokenizer.encode_with_offsets(text)
    assert again == ids
    # Byte by byte, from the text alone: which character holds the byte at which a token begins?
    owner = [place for place, character in enumerate(text) for _ in character.encode()]
    position = 0
    for token, offset in zip(ids, offsets, strict=True):
        assert owner[position] == offset
        position += len(tokenizer.token_bytes(token))
    assert position == len(owner)


@settings(max_examples=400)
@given(strings=batches)
@example(strings=["", "".join(NASTY), SPACE_MARK, f" {SPACE_MARK} {SPACE_MARK}{SPACE_MARK}"])
def test_nothing_is_lost_and_every_place_is_exact(tokenizer: Tokenizer, strings: list[str]) -> None:
    """12,800 strings: 400 lists of STRINGS."""
    alone = [tokenizer.encode(text) for text in strings]
    assert tokenizer.encode_batch(strings) == alone
    assert [array.tolist() for array in tokenizer.encode_arrays(strings)] == alone
    for text, ids in zip(strings, alone, strict=True):
        check(tokenizer, text, ids)


def test_every_character_of_unicode_is_kept(tokenizer: Tokenizer) -> None:
    scalars = [chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF]
    planes = ["".join(scalars[begin : begin + 4096]) for begin in range(0, len(scalars), 4096)]
    assert "".join(map(tokenizer.decode, tokenizer.encode_batch(planes))) == "".join(scalars)


@settings(max_examples=500)
@given(text=texts)
def test_slices_between_offsets_rebuild_the_text(tokenizer: Tokenizer, text: str) -> None:
    ids, offsets = tokenizer.encode_with_offsets(text)
    bounds = [*offsets, len(text)]
    for place, token in enumerate(ids):
        covered = text[bounds[place] : bounds[place + 1]]
        if not tokenizer.is_byte(token):
            assert covered == tokenizer.decode([token])
    assert "".join(text[begin:end] for begin, end in itertools.pairwise(bounds)) == text


def test_bytes_of_one_character_share_its_place(tokenizer: Tokenizer) -> None:
    ids, offsets = tokenizer.encode_with_offsets("a🙂b")
    assert [tokenizer.is_byte(token) for token in ids] == [False, True, True, True, True, False]
    assert offsets == [0, 1, 1, 1, 1, 2]


@settings(max_examples=200)
@given(text=nasty)
def test_every_piece_of_a_text_is_written_as_itself(tokenizer: Tokenizer, text: str) -> None:
    whole = b"".join(tokenizer.token_bytes(token) for token in tokenizer.encode(text))
    assert whole == text.encode()


def test_control_tokens_typed_by_a_user_stay_text(tokenizer: Tokenizer) -> None:
    for name in (EOS, "<s>", UNK, "<pad>", *CONTROL_SYMBOLS):
        text = f"前{name}後"
        assert not set(tokenizer.encode(text)) & set(CONTROL_IDS)
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_ids_that_everyone_relies_on(tokenizer: Tokenizer) -> None:
    assert [tokenizer.piece(token) for token in range(7)] == [
        "<unk>", "<s>", "</s>", "<pad>", "<|system|>", "<|user|>", "<|assistant|>",
    ]  # fmt: skip
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id) == (1, 2, 3)
    assert tokenizer.vocab_size == 1280


def test_newline_tab_and_runs_of_spaces_are_one_token_each(tokenizer: Tokenizer) -> None:
    for text in ("\n", "\t", " ", "  ", " " * 16):
        assert len(tokenizer.encode(text)) == 1
    assert len(tokenizer.encode(" " * 17)) == 2
    assert len(tokenizer.encode("\n\n")) == 2


def test_digits_are_split(tokenizer: Tokenizer) -> None:
    assert len(tokenizer.encode("1964")) == 4


def test_learned_pieces_stay_inside_a_sentence(tokenizer: Tokenizer) -> None:
    pieces = [tokenizer.piece(token) for token in range(tokenizer.vocab_size)]
    assert any(len(piece) > 3 and "。" not in piece for piece in pieces[300:])
    assert not [piece for piece in pieces if "。" in piece[:-1]]


def test_text_in_pieces_is_shorter_than_in_characters(tokenizer: Tokenizer) -> None:
    text = "\n".join(instruction_texts())
    assert len(tokenizer.encode(text)) < 0.8 * len(text)


def test_batch_is_one_by_one(tokenizer: Tokenizer) -> None:
    lines = ["", "日本語。", f"{SPACE_MARK}と空白 ", "\r\n"]
    assert tokenizer.encode_batch(lines) == [tokenizer.encode(line) for line in lines]
    assert tokenizer.encode_batch([]) == tokenizer.encode_arrays([]) == []
    arrays = tokenizer.encode_arrays(iter(lines))
    assert {array.dtype for array in arrays} == {np.dtype(np.int32)}
    assert [array.tolist() for array in arrays] == tokenizer.encode_batch(iter(lines))


def test_decode_drops_control_tokens_and_marks_broken_bytes(tokenizer: Tokenizer) -> None:
    ids = [tokenizer.bos_id, *tokenizer.encode("はい"), tokenizer.eos_id, tokenizer.pad_id]
    assert tokenizer.decode(ids) == "はい"
    assert tokenizer.decode(tokenizer.encode("🙂")[:3]) == "\ufffd"


@pytest.mark.parametrize("text", ["\ud800", "日本\udfff語", f"{SPACE_MARK}\udc80"])
def test_lone_surrogates_are_refused(tokenizer: Tokenizer, text: str) -> None:
    with pytest.raises(ValueError, match=r"lone surrogate U\+D[89A-F]"):
        tokenizer.encode(text)
    for encode in (
        tokenizer.encode_with_offsets,
        lambda odd: tokenizer.encode_batch(["a", odd]),
        lambda odd: tokenizer.encode_arrays([odd]),
    ):
        with pytest.raises(ValueError, match="lone surrogate"):
            encode(text)


@pytest.mark.parametrize("token", [-1, 1280])
def test_ids_outside_the_vocabulary_are_refused(tokenizer: Tokenizer, token: int) -> None:
    with pytest.raises(ValueError, match=f"token id {token} is outside the vocabulary of 1280"):
        tokenizer.decode([5, token])


def test_missing_and_broken_models(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match=r"tokenizer\.model: no such file"):
        Tokenizer.load(tmp_path)
    for content in (b"", b"not a model", b"\x0a\x05abc"):
        (tmp_path / "tokenizer.model").write_bytes(content)
        with pytest.raises(BadInput, match=r"tokenizer\.model: not a SentencePiece model"):
            Tokenizer.load(tmp_path)


def test_a_model_with_other_special_tokens_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "tokenizer.model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(instruction_texts()), model_writer=file, vocab_size=1500, minloglevel=2
        )
    with pytest.raises(BadInput, match=r"piece 3 is '.+', expected '<pad>'; use a model of the tokenizer stage"):
        Tokenizer.load(tmp_path)
