"""A SentencePiece model file as data: its pieces read, and written back with others in their place."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokenizer.symbols import BYTE_PIECES, SPECIALS, USER_SYMBOLS

# The pieces that stand first in every vocabulary: special, control, user-defined, bytes; their ids never change.
NUM_FIXED_PIECES = len(SPECIALS) + len(USER_SYMBOLS) + BYTE_PIECES


@dataclass(frozen=True)
class Piece:
    """A piece as the model file has it: U+2581 for a space, score as float32."""

    text: str
    score: float


def read_pieces(model: bytes) -> list[Piece]:
    """The pieces of a model, by id."""
    return [Piece(piece.piece, piece.score) for piece in parse_model(model).pieces]


def learned_pieces(model: bytes) -> list[Piece]:
    """The pieces that training found, by id: merges (BPE: best first) and single characters, without the FIXED ones."""
    return read_pieces(model)[NUM_FIXED_PIECES:]


def replace_learned(model: bytes, learned: Sequence[Piece]) -> bytes:
    """`model` with `learned` in place of its own learned pieces; the same arguments give the same bytes.

    Raises: ValueError if a piece is there twice.
    """
    proto = parse_model(model)
    seen = {piece.piece for piece in proto.pieces[:NUM_FIXED_PIECES]}
    del proto.pieces[NUM_FIXED_PIECES:]
    for piece in learned:
        if piece.text in seen:
            raise ValueError(f"piece {piece.text!r} is there twice")
        seen.add(piece.text)
        proto.pieces.add(piece=piece.text, score=piece.score)
    proto.trainer_spec.vocab_size = len(proto.pieces)
    return proto.SerializeToString(deterministic=True)


def without(model: bytes, dropped: Iterable[str]) -> bytes:
    """`model` without the learned pieces in `dropped`; the others keep their scores."""
    gone = frozenset(dropped)
    return replace_learned(model, [piece for piece in learned_pieces(model) if piece.text not in gone])


def unreachable_pieces(model: bytes) -> list[str]:
    """Learned pieces of a BPE model that no text is ever encoded to: their own text is not.

    Exact: a merge inside a piece does not depend on what stands around it, unless it takes part of the piece away.
    """
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    texts = [piece.text for piece in learned_pieces(model)]
    return [
        text
        for place, (text, ids) in enumerate(zip(texts, processor.encode(texts), strict=True))
        if ids != [NUM_FIXED_PIECES + place]
    ]


def merge_parts(ranks: Mapping[str, int]) -> dict[str, tuple[str, str]]:
    """The two pieces that BPE makes a piece of, for every one that it ever makes.

    Args:
        ranks: when each piece of several characters is merged, the lowest first.
    """
    parts: dict[str, tuple[str, str]] = {}
    for text in ranks:
        symbols, last = list(text), ("", "")
        while due := [
            (ranks[pair], place) for place, pair in enumerate(map(str.__add__, symbols, symbols[1:])) if pair in ranks
        ]:
            _, place = min(due)
            last = (symbols[place], symbols[place + 1])
            symbols[place : place + 2] = ["".join(last)]
        if symbols == [text]:
            parts[text] = last
    return parts


def order_parts_first(texts: Sequence[str]) -> list[str]:
    """Merges in an order that makes a piece after both its parts; those that are before one are put off until after it."""
    ordered = list(texts)
    while True:
        due = {text: place for place, text in enumerate(ordered)}
        for text, parts in sorted(merge_parts(due).items(), key=lambda item: len(item[0])):
            due[text] = max(due[text], *(due.get(part, -1) for part in parts))
        before, ordered = ordered, sorted(ordered, key=lambda text: (due[text], len(text)))
        if ordered == before:
            return ordered


def parse_model(model: bytes) -> Any:
    """The model file as protobuf has it: generated code without types, of the package that reads the model."""
    from sentencepiece import sentencepiece_model_pb2

    proto: Any = sentencepiece_model_pb2.ModelProto()  # pyright: ignore[reportAttributeAccessIssue]
    proto.ParseFromString(model)
    return proto
