"""Pieces whose uses often straddle a word boundary: what they cost in meaning, they do not bring back in length."""

import itertools
from collections.abc import Sequence

import numpy as np

from tokenizer.analyzer import DELIMITER
from tokenizer.boundaries import IntArray, find_straddling
from tokenizer.encode import Tokenizer
from tokenizer.model_file import NUM_FIXED_PIECES, read_pieces

# Sentences are looked at evenly up to here: 40,000 sentences (2 million characters) sufficed for 16k pieces.
MAX_EXAMINED_CHARACTERS = 8_000_000
# Fewer straddling uses than this are no evidence.
MIN_STRADDLING_USES = 3
_BATCH = 2000  # sentences


def find_straddlers(model: bytes, delimited: Sequence[str], limit: float) -> set[str]:
    """Learned pieces of several characters of whose uses more than `limit` straddle.

    Args:
        model: a vocabulary; the text is encoded as it is, without delimiters.
        delimited: sentences with DELIMITER between words.
    """
    uses, bad = count_straddling(model, take_evenly(delimited, MAX_EXAMINED_CHARACTERS))
    return {
        piece.text
        for token, piece in enumerate(read_pieces(model))
        if token >= NUM_FIXED_PIECES
        and len(piece.text) > 1
        and bad[token] >= MIN_STRADDLING_USES
        and bad[token] > limit * uses[token]
    }


def count_straddling(model: bytes, delimited: Sequence[str]) -> tuple[IntArray, IntArray]:
    """How often each piece is used, and how often it straddles: two arrays (V,)."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    size = processor.vocab_size()
    lengths_V = np.array(Tokenizer(model).characters_begun, np.int64)
    uses_V, bad_V = np.zeros(size, np.int64), np.zeros(size, np.int64)
    for begin in range(0, len(delimited), _BATCH):
        cut = [line.split(DELIMITER) for line in delimited[begin : begin + _BATCH]]
        ids = np.fromiter(itertools.chain.from_iterable(processor.encode(["".join(words) for words in cut])), np.int64)
        words = np.fromiter((len(word) for line in cut for word in line if word), np.int64)
        token_ends, word_ends = np.cumsum(lengths_V[ids]), np.cumsum(words)
        assert token_ends[-1:].tolist() == word_ends[-1:].tolist(), "tokens and words must cover the same text"
        if not len(ids):
            continue
        found = find_straddling(token_ends - lengths_V[ids], word_ends - words, int(token_ends[-1]))
        uses_V += np.bincount(ids, minlength=size)
        bad_V += np.bincount(ids[found], minlength=size)
    return uses_V, bad_V


def take_evenly(lines: Sequence[str], characters: int) -> Sequence[str]:
    """Every n-th line, with the smallest n that gives about `characters` characters or fewer."""
    whole = sum(map(len, lines))
    return lines[:: max(1, -(-whole // characters))]
