"""llama.cpp's greedy merge of the exported folder finds our ids; the imitation of it is itself held to its definition."""

import dataclasses
import itertools
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.tokenizer.greedy import BYTE, CONTROL, NORMAL, UNKNOWN, USER_DEFINED, Gguf, Greedy, convert
from benchmarks.tokenizer.texts import jsquad
from tests.helpers import instruction_texts
from tests.tokenizer.helpers.strategies import batches
from tokenizer.encode import Tokenizer
from tokenizer.symbols import BYTE_PIECES, SPACE_MARK, SPECIALS

BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))


@pytest.fixture(scope="module")
def pair(tiny_tokenizer: Path) -> tuple[Tokenizer, Greedy]:
    return Tokenizer.load(tiny_tokenizer), Greedy(convert(tiny_tokenizer))


def by_definition(gguf: Gguf, text: str) -> list[str]:
    """All unions are looked at again after every merge: the highest score wins, then the left-most."""
    symbols = list(text)
    while True:
        scores = {
            (-gguf.scores[gguf.tokens.index(union)], place): union
            for place, union in enumerate(a + b for a, b in itertools.pairwise(symbols))
            if union in gguf.tokens
        }
        if not scores:
            return symbols
        best = min(scores)
        symbols[best[1] : best[1] + 2] = [scores[best]]


@given(
    text=st.text("abc", max_size=30),
    pieces=st.dictionaries(st.text("abc", min_size=2, max_size=5), st.integers(-4, 0).map(float), max_size=25),
)
def test_the_imitation_is_its_definition(text: str, pieces: dict[str, float]) -> None:
    tokens = ("<s>", *BYTES, "a", "b", "c", *pieces)
    scores = (0.0,) * (1 + 256 + 3) + tuple(pieces.values())
    gguf = Gguf(tokens, scores, (CONTROL,) + (BYTE,) * 256 + (NORMAL,) * (3 + len(pieces)), False, False, 0)
    assert [tokens[token] for token in Greedy(gguf).encode(text)] == by_definition(gguf, text)


def test_what_llama_cpp_reads_of_the_export(tiny_tokenizer: Path) -> None:
    from sentencepiece import sentencepiece_model_pb2 as proto

    model = proto.ModelProto()  # pyright: ignore[reportAttributeAccessIssue] - made by protobuf at run time
    model.ParseFromString((tiny_tokenizer / "tokenizer.model").read_bytes())
    kinds = [piece.type for piece in model.pieces]
    first = len(SPECIALS)
    assert kinds[:first] == [UNKNOWN] + [CONTROL] * (first - 1)
    assert kinds.count(BYTE) == BYTE_PIECES
    assert set(kinds) == {NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE}
    assert len({piece.piece for piece in model.pieces}) == len(model.pieces)  # llama.cpp refuses a token named twice
    assert model.trainer_spec.model_type == model.trainer_spec.BPE
    assert not model.normalizer_spec.add_dummy_prefix
    assert not model.normalizer_spec.precompiled_charsmap
    # A user-defined piece is a normal one to the converter; its score of 0 lets llama.cpp merge it before all others.
    assert max(piece.score for piece in model.pieces if piece.type == NORMAL) <= 0
    gguf = convert(tiny_tokenizer)
    assert list(gguf.types) == [NORMAL if k == USER_DEFINED else k for k in kinds]
    assert (gguf.add_space_prefix, gguf.add_bos, gguf.bos_id) == (False, False, 1)


def test_without_our_configuration_llama_cpp_would_add_to_the_text(tiny_tokenizer: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_tokenizer, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"bos_token": config["bos_token"]}))
    tokenizer = Tokenizer.load(tmp_path)
    assert Greedy(convert(tmp_path)).encode("はい", add_special=True) == [tokenizer.bos_id, *tokenizer.encode(" はい")]


@settings(max_examples=100)
@given(strings=batches)
@example(strings=["  行頭の空白", "a" + " " * 40 + "b", "\n\t\n  \n", "漢字\0🙂か\u3099 ", " "])
def test_ids_are_equal(pair: tuple[Tokenizer, Greedy], strings: list[str]) -> None:
    tokenizer, greedy = pair
    # A U+2581 of the text is a space to llama.cpp: it has one way to write both.
    plain = [text for text in strings if SPACE_MARK not in text]
    assert [greedy.encode(text, add_special=True) for text in plain] == tokenizer.encode_batch(plain)


def test_ids_are_equal_on_real_text(pair: tuple[Tokenizer, Greedy]) -> None:
    tokenizer, greedy = pair
    texts = instruction_texts()
    assert [greedy.encode(text) for text in texts] == tokenizer.encode_batch(texts)


def test_ids_stay_equal_where_a_converter_knows_user_defined_pieces(pair: tuple[Tokenizer, Greedy]) -> None:
    tokenizer, greedy = pair
    literal = {"\n", "\t"}
    types = tuple(USER_DEFINED if t in literal else kind for t, kind in zip(greedy.gguf.tokens, greedy.gguf.types, strict=True))
    cut = Greedy(dataclasses.replace(greedy.gguf, types=types))
    text = "\n\n一行目\t \n  二行目\n"
    assert cut.encode(text) == greedy.encode(text) == tokenizer.encode(text)


@pytest.mark.sample
def test_ids_are_equal_on_jsquad(pair: tuple[Tokenizer, Greedy], sample_data: Path) -> None:
    tokenizer, greedy = pair
    texts = sorted(set(jsquad(sample_data)))[::10]
    assert len(texts) > 100
    assert [greedy.encode(text) for text in texts] == tokenizer.encode_batch(texts)
