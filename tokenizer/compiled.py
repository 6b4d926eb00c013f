"""A compiled encoder for batches, with SentencePiece's ids for every text; one core encodes three times as fast.

SentencePiece builds a string for every pair that it considers and keeps them in one queue a text. Here a pair of ids is
looked up in a table, and text is first cut where no piece has the two characters side by side, so that most queues
are a handful of symbols long. `Tokenizer` uses it for a BPE vocabulary of our own making, SentencePiece for all else.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import sentencepiece

from tokenizer import kernels
from tokenizer.symbols import SPACE_MARK, SPECIALS, USER_SYMBOLS

_CODE_POINTS = 0x110000
_NEAR_BYTES = 1 << 17  # a million bits for some ten thousand pairs of characters: 1 in 100 pairs passes without need
_IDS_A_CHARACTER = 4  # at most: its bytes


class CompiledEncoder:
    """A BPE vocabulary of the tokenizer stage, compiled; see `is_supported`."""

    def __init__(self, processor: sentencepiece.SentencePieceProcessor) -> None:
        first = len(SPECIALS)
        after = first + len(USER_SYMBOLS)
        size = processor.vocab_size()
        pieces = processor.id_to_piece(list(range(size)))
        self._tables = _tables(
            {text: token for token, text in enumerate(pieces[first:after], first)},
            {
                pieces[token]: (token, processor.get_score(token))
                for token in range(after, size)
                if not processor.is_byte(token)
            },
            [processor.piece_to_id(f"<0x{byte:02X}>") for byte in range(256)],
        )

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Ids of each text, (tokens,) int32, views of one array.

        Raises: UnicodeEncodeError on a lone surrogate.
        """
        codes = np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32)
        bounds = np.zeros(len(texts) + 1, np.int64)
        np.cumsum([len(text) for text in texts], out=bounds[1:])
        out, ends = np.empty(_IDS_A_CHARACTER * len(codes), np.int32), np.empty(len(texts), np.int64)
        count = kernels.encode(codes, bounds, self._tables, out, ends)
        return np.split(out[:count].copy(), ends[:-1]) if texts else []


def is_supported(model: bytes) -> bool:
    """Whether the encoder finds this model's ids: BPE, text taken as it is, user-defined symbols and special pieces ours."""
    from sentencepiece import sentencepiece_model_pb2

    generated: Any = sentencepiece_model_pb2  # protobuf makes its classes at run time
    proto, kind = generated.ModelProto(), generated.ModelProto.SentencePiece
    proto.ParseFromString(model)
    normal = proto.normalizer_spec
    named = {piece.piece for piece in proto.pieces if piece.type == kind.USER_DEFINED}
    learned = [piece.piece for piece in proto.pieces if piece.type == kind.NORMAL]
    return (
        proto.trainer_spec.model_type == proto.trainer_spec.BPE
        and not (normal.precompiled_charsmap or normal.add_dummy_prefix or normal.remove_extra_whitespaces)
        and len(proto.pieces) < 1 << kernels.ID_BITS
        and [piece.piece for piece in proto.pieces[: len(SPECIALS) + len(USER_SYMBOLS)]] == [*SPECIALS, *USER_SYMBOLS]
        and named == set(USER_SYMBOLS)
        and not any(piece.type == kind.UNUSED for piece in proto.pieces)
        and SPACE_MARK in learned
        and set("".join(learned)) <= {text for text in learned if len(text) == 1}
    )


def _tables(user: dict[str, int], learned: dict[str, tuple[int, float]], byte_ids: list[int]) -> kernels.Tables:
    first = np.full(_CODE_POINTS, kernels.AS_BYTES, np.int32)
    spaces = {len(text): token for text, token in user.items() if set(text) == {SPACE_MARK}}
    for text, token in user.items():
        if len(text) == 1:
            first[ord(text)] = -2 - token
    for text, (token, _) in learned.items():
        if len(text) == 1:
            first[_code(text)] = token
    order = sorted({score for text, (_, score) in learned.items() if len(text) > 1}, reverse=True)
    rank = {score: place for place, score in enumerate(order)}
    near, unions = np.zeros(_NEAR_BYTES, np.uint8), dict[int, int]()
    for text, (token, score) in learned.items():
        for cut in range(1, len(text)):
            bit = int(kernels.bit_of(_code(text[cut - 1]), _code(text[cut]), _NEAR_BYTES))
            near[bit >> 3] |= 1 << (bit & 7)
            if text[:cut] in learned and text[cut:] in learned:
                pair = learned[text[:cut]][0] << kernels.ID_BITS | learned[text[cut:]][0]
                unions[pair] = rank[score] << kernels.ID_BITS | token
    keys, values = _table(unions)
    runs = np.array([spaces.get(length, -1) for length in range(max(spaces) + 1)], np.int32)
    return kernels.Tables(first, near, keys, values, np.array(byte_ids, np.int32), runs)


def _table(unions: dict[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Open addressing, at most half full."""
    slots = 1 << (2 * len(unions) + 1).bit_length()
    keys, values = np.full(slots, -1, np.int64), np.zeros(slots, np.int64)
    for key, value in unions.items():
        slot = int(kernels.slot_of(key, slots))
        while keys[slot] != -1:
            slot = (slot + 1) & (slots - 1)
        keys[slot], values[slot] = key, value
    return keys, values


def _code(character: str) -> int:
    """Code point of a character as text has it: a space where pieces have U+2581."""
    return ord(" " if character == SPACE_MARK else character)
