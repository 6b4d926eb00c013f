"""Tokenizer: text to ids and back, with the place of every token.

Lossless: `decode(encode(text)) == text` for every Unicode string. SentencePiece alone would read a U+2581 of the text
as a space, which it marks so in its pieces; here that character is encoded as its three bytes.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import sentencepiece

from pipeline.errors import BadInput, MissingInput
from tokenizer.symbols import BOS_ID, EOS_ID, PAD_ID, SPACE_MARK, SPECIALS

if TYPE_CHECKING:
    from tokenizer.fast.encoder import CompiledEncoder

MODEL_FILE = "tokenizer.model"
_CONTINUATION = 0b10 << 6  # the first two bits of every byte of a UTF-8 character but its first


class Tokenizer:
    """A trained vocabulary; use `Tokenizer.load`. Control tokens come only from ids, never from text."""

    bos_id, eos_id, pad_id = BOS_ID, EOS_ID, PAD_ID

    def __init__(self, model: bytes) -> None:
        self._model = model
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.vocab_size: int = self._processor.vocab_size()
        self._bytes = [self._content(token) for token in range(self.vocab_size)]
        # Characters that begin in each token, by id: 0 for a byte inside a character.
        self.characters_begun: list[int] = [sum(byte & 0xC0 != _CONTINUATION for byte in content) for content in self._bytes]
        self._mark_ids = [self._processor.piece_to_id(f"<0x{byte:02X}>") for byte in SPACE_MARK.encode()]

    @classmethod
    def load(cls, folder: Path) -> "Tokenizer":
        """Read `tokenizer.model` of a folder.

        Raises: MissingInput if it is not there; BadInput if it is no SentencePiece model, or not one of ours.
        """
        path = folder / MODEL_FILE
        if not path.is_file():
            raise MissingInput(f"{path}: no such file; make a tokenizer first with `make tokenizer`")
        model = path.read_bytes()
        try:
            found = sentencepiece.SentencePieceProcessor(model_proto=model).id_to_piece(list(range(len(SPECIALS))))
        except (RuntimeError, IndexError) as error:
            raise BadInput(f"{path}: not a SentencePiece model ({error}); make the tokenizer again") from error
        if tuple(found) != SPECIALS:
            odd = next(place for place, piece in enumerate(found) if piece != SPECIALS[place])
            raise BadInput(
                f"{path}: piece {odd} is {found[odd]!r}, expected {SPECIALS[odd]!r}; use a model of the tokenizer stage"
            )
        return cls(model)

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, with neither BOS nor EOS.

        Raises: ValueError if `text` has a lone surrogate, which no UTF-8 text can hold.
        """
        if SPACE_MARK in text:
            return self._encode_with_space_marks(text)
        try:
            return self._processor.encode(text)
        except RuntimeError:
            _raise_on_surrogate(text)
            raise

    def encode_batch(self, texts: Iterable[str]) -> list[list[int]]:
        """Ids of each text, each on its own.

        Raises: ValueError if a text has a lone surrogate.
        """
        return [self.encode(text) for text in texts]

    def encode_arrays(self, texts: Iterable[str]) -> list[np.ndarray]:
        """`encode_batch` for whole corpora, (tokens,) int32 each: compiled where it can be, on one core.

        The first call of a process takes a second. The arrays are views of shared ones: copy what is to be kept alone.

        Raises: ValueError if a text has a lone surrogate.
        """
        texts = list(texts)
        if self._compiled is None:
            return [np.array(self.encode(text), np.int32) for text in texts]
        try:
            return self._compiled.encode(texts)
        except UnicodeEncodeError:
            for text in texts:
                _raise_on_surrogate(text)
            raise

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[int]]:
        """Ids, and for each the character of `text` where it begins; bytes inside a character have that character's."""
        ids = self.encode(text)
        begun = [self.characters_begun[token] for token in ids]
        # Before token i, `before` characters have begun; a token that begins none is in the last of them.
        places = accumulate(begun[:-1], initial=0) if ids else ()
        return ids, [before if count else before - 1 for before, count in zip(places, begun, strict=True)]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`; control tokens give nothing, bytes that are not UTF-8 give U+FFFD.

        Raises: ValueError if an id is outside the vocabulary.
        """
        if any(not 0 <= token < self.vocab_size for token in ids):
            odd = next(token for token in ids if not 0 <= token < self.vocab_size)
            raise ValueError(f"token id {odd} is outside the vocabulary of {self.vocab_size}")
        return b"".join([self._bytes[token] for token in ids]).decode("utf-8", errors="replace")

    def piece(self, token: int) -> str:
        """How the vocabulary writes a token: `<0x0A>` for a byte, U+2581 for a space."""
        return self._processor.id_to_piece(token)

    def score(self, token: int) -> float:
        """Minus the place of the piece in the order of merges."""
        return self._processor.get_score(token)

    def is_byte(self, token: int) -> bool:
        """Whether a token is one raw byte, the fallback of characters that are no piece."""
        return self._processor.is_byte(token)

    def token_bytes(self, token: int) -> bytes:
        """UTF-8 bytes that a token stands for; none for control tokens."""
        return self._bytes[token]

    @cached_property
    def _compiled(self) -> "CompiledEncoder | None":
        from tokenizer.fast.encoder import compile_encoder

        return compile_encoder(self._model)

    def _encode_with_space_marks(self, text: str) -> list[int]:
        ids: list[int] = []
        for place, part in enumerate(text.split(SPACE_MARK)):
            if place:
                ids += self._mark_ids
            if part:
                ids += self.encode(part)
        return ids

    def _content(self, token: int) -> bytes:
        if self._processor.is_control(token) or self._processor.is_unknown(token):
            return b""
        piece = self._processor.id_to_piece(token)
        return bytes([int(piece[3:5], 16)]) if self._processor.is_byte(token) else piece.replace(SPACE_MARK, " ").encode()


def _raise_on_surrogate(text: str) -> None:
    for place, character in enumerate(text):
        if "\ud800" <= character <= "\udfff":
            raise ValueError(
                f"lone surrogate U+{ord(character):04X} at character {place}: not Unicode text; "
                f"read the source with errors='replace', or drop the character"
            ) from None
