"""SentencePiece's trainer, with the options that every vocabulary of ours has, and its errors in one line.

Source: Kudo & Richardson 2018 (arXiv:1808.06226); BPE: Sennrich et al. 2016 (arXiv:1508.07909); unigram: Kudo 2018
(arXiv:1804.10959); byte fallback and the rest of the options: SentencePiece doc/options.md.
"""

import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

from pipeline.errors import ConfigError
from tokenizer.analyzer import DELIMITER
from tokenizer.model_file import NUM_FIXED_PIECES, Piece
from tokenizer.settings import TokenizerSettings
from tokenizer.symbols import (
    BOS,
    BOS_ID,
    CONTROL_SYMBOLS,
    EOS,
    EOS_ID,
    PAD,
    PAD_ID,
    REQUIRED_CHARACTERS,
    UNK,
    UNK_ID,
    USER_SYMBOLS,
)
from tokenizer.train.sample import LINE_CHARACTERS

UTF8_BYTES = 4  # at most, a character
ERRORS_ONLY = 2  # SentencePiece's minloglevel; failures come as exceptions
_TOO_LARGE = re.compile(r"Vocabulary size too high \(\d+\)\. Please set it to a value <= (\d+)")
_TOO_SMALL = re.compile(r"smaller than required_chars\. \d+ vs (\d+)")


def train(sentences: Iterable[str], settings: TokenizerSettings, **options: Any) -> bytes:
    """Train on `sentences` and return the bytes of tokenizer.model; same sentences and settings, same bytes.

    Args:
        sentences: each at most LINE_CHARACTERS characters, delimiters between words not counted.
        settings: sizes and coverage; its recipe is not looked at.
        options: of SentencePiece, in place of the ones below (BPE of raw text that must fill vocab_size).
    Raises: ConfigError if the text cannot fill vocab_size, or its characters alone fill it.
    """
    usual = {
        "model_type": "bpe",
        "vocab_size": settings.vocab_size,
        "character_coverage": settings.character_coverage,
        "max_sentencepiece_length": settings.max_piece_characters,
        "num_threads": settings.threads,
        "split_digits": True,
        "byte_fallback": True,
        "required_chars": REQUIRED_CHARACTERS,
        "control_symbols": list(CONTROL_SYMBOLS),
        "user_defined_symbols": list(USER_SYMBOLS),
        "unk_id": UNK_ID,
        "bos_id": BOS_ID,
        "eos_id": EOS_ID,
        "pad_id": PAD_ID,
        "unk_piece": UNK,
        "bos_piece": BOS,
        "eos_piece": EOS,
        "pad_piece": PAD,
    }
    try:
        return train_raw(sentences, **(usual | options))
    except RuntimeError as error:
        raise _explained(error, settings) from error


def train_delimited(delimited: Iterable[str], settings: TokenizerSettings, **options: Any) -> bytes:
    """A vocabulary of pieces inside words, from sentences with DELIMITER between words; else as `train`."""
    return train(delimited, settings, pretokenization_delimiter=DELIMITER, **options)


def train_raw(sentences: Iterable[str], **options: Any) -> bytes:
    """SentencePiece's trainer on text as it is, nothing normalized; the model file as bytes.

    Text goes in by iterator and the model comes out in memory, so that no path is written into it.

    Raises: RuntimeError of SentencePiece.
    """
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        max_sentence_length=2 * LINE_CHARACTERS * UTF8_BYTES,  # twice: there may be a delimiter after every character
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        minloglevel=ERRORS_ONLY,
        **options,
    )
    return model.getvalue()


def vocab_too_large(settings: TokenizerSettings, found: int) -> ConfigError:
    """What to say where the text yields `found` pieces, fewer than vocab_size."""
    return ConfigError(
        f"[tokenizer] vocab_size = {settings.vocab_size}: the text yields {found} pieces only; "
        f"set it to {found} or less, or give more text"
    )


def vocab_too_small(settings: TokenizerSettings, needed: int) -> ConfigError:
    """What to say where fixed pieces and single characters alone are `needed` pieces, more than vocab_size."""
    return ConfigError(
        f"[tokenizer] vocab_size = {settings.vocab_size}: the fixed pieces and single characters of the text alone are "
        f"{needed}; raise it, or lower character_coverage = {settings.character_coverage}"
    )


def keep_best_pieces(pieces: Sequence[Piece], settings: TokenizerSettings) -> list[Piece]:
    """As many learned pieces as vocab_size has room for: all single characters, then the highest scores; in their order.

    Raises: ConfigError if there are too few, or single characters alone are too many.
    """
    free = settings.vocab_size - NUM_FIXED_PIECES
    single = sum(len(piece.text) == 1 for piece in pieces)
    if single > free:
        raise vocab_too_small(settings, single + NUM_FIXED_PIECES)
    if len(pieces) < free:
        raise vocab_too_large(settings, len(pieces) + NUM_FIXED_PIECES)
    longer = sorted((piece for piece in pieces if len(piece.text) > 1), key=lambda piece: (-piece.score, piece.text))
    kept = {piece.text for piece in longer[: free - single]}
    return [piece for piece in pieces if len(piece.text) == 1 or piece.text in kept]


def _explained(error: RuntimeError, settings: TokenizerSettings) -> Exception:
    """What a user can fix, as one clear line; anything else as it is."""
    text = str(error)
    if found := _TOO_LARGE.search(text):
        return vocab_too_large(settings, int(found[1]))
    if found := _TOO_SMALL.search(text):
        return vocab_too_small(settings, int(found[1]))
    return error
