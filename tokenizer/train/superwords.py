"""Pieces of several whole words: a second BPE, over words instead of characters.

Every word that is one piece becomes one private character, everything else a delimiter; what BPE merges over that text
are runs of words. Appended below the pieces inside words, they are merged after these: plain BPE finds them without an
analyzer. The idea of a second stage over the first one's tokens is SuperBPE's (arXiv:2503.13423).
"""

import re
from collections.abc import Iterable, Sequence

from tokenizer.analyzer import DELIMITER, is_japanese
from tokenizer.model_file import NUM_FIXED_PIECES, read_pieces
from tokenizer.settings import TokenizerSettings
from tokenizer.symbols import SPACE_MARK
from tokenizer.train.sample import LINE_CHARACTERS
from tokenizer.train.trainer import train_raw

# Planes 4 to 13 have no characters, 15 and 16 are private: 851,968 words, more than any vocabulary of ours has.
PRIVATE = 0x40000
# More words than this in one piece are a phrase that a corpus repeats; a run of 16 characters has rarely more.
MAX_WORDS = 8
_SEVERAL = re.compile(f"{DELIMITER}+")


def find_superwords(delimited: Sequence[str], model: bytes, settings: TokenizerSettings, count: int) -> list[str]:
    """Runs of words, best first, as the model file writes text (U+2581 for a space).

    Args:
        delimited: sentences with DELIMITER between words, without spaces' marks.
        model: the vocabulary of pieces inside words.
        settings: which words make runs, and how long a piece may be.
        count: how many to look for; what is longer than max_piece_characters is not returned, fewer may be found.
    """
    codes = _codes(delimited, model, settings.runs)
    if len(codes) < 2 or count < 1:
        return []
    texts = {character: word for word, character in codes.items()}
    lines = list(_private(delimited, codes, settings.runs))
    if not lines:
        return []
    used = len(set("".join(lines)) - {DELIMITER})
    trained = train_raw(
        lines,
        model_type="bpe",
        vocab_size=used + count + 3,  # unk, bos, eos
        hard_vocab_limit=False,
        character_coverage=1.0,
        max_sentencepiece_length=MAX_WORDS,
        num_threads=settings.threads,
        pretokenization_delimiter=DELIMITER,
        split_by_unicode_script=False,
    )
    runs = ("".join(map(texts.__getitem__, piece)).replace(" ", SPACE_MARK) for piece in _merged(trained))
    fixed = {
        piece.text for piece in read_pieces(model)[:NUM_FIXED_PIECES]
    }  # `</s>` in the text is a run of its punctuation and letters
    return list(dict.fromkeys(run for run in runs if len(run) <= settings.max_piece_characters and run not in fixed))


def can_join(word: str, which: str) -> bool:
    """Whether a word may be in a run; digits never do: a number would be cut in a way that its length decides."""
    if not word or SPACE_MARK in word or any(character.isdigit() for character in word):
        return False
    return which == "all" or (which == "ja" and _side(word))


def _side(word: str) -> bool:
    """True for Japanese, to which its wide space belongs, and False for anything else; no run has both."""
    return is_japanese(word) or word == "\u3000"


def _codes(delimited: Iterable[str], model: bytes, which: str) -> dict[str, str]:
    """Word -> private character, for words that are one learned piece."""
    import sentencepiece

    distinct: set[str] = set()
    for line in delimited:
        distinct.update(line.split(DELIMITER))
    words = sorted(word for word in distinct if can_join(word, which))
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    ids = processor.encode(words)
    return {
        word: chr(PRIVATE + found[0])
        for word, found in zip(words, ids, strict=True)
        if len(found) == 1 and found[0] >= NUM_FIXED_PIECES
    }


def _private(delimited: Iterable[str], codes: dict[str, str], which: str) -> Iterable[str]:
    """Each line as private characters, with a delimiter for what makes no run; cut to what the trainer can take."""
    sides = {word: _side(word) for word in codes} if which == "all" else {}
    for line in delimited:
        found: list[str] = []
        side = None
        for word in line.split(DELIMITER):
            if sides.get(word) is not side:
                found.append(DELIMITER)
                side = sides.get(word)
            found.append(codes.get(word, DELIMITER))
        text = _SEVERAL.sub(DELIMITER, "".join(found)).strip(DELIMITER)
        if len(text) > 1:
            yield text[:LINE_CHARACTERS]


def _merged(trained: bytes) -> Iterable[str]:
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=trained)
    pieces = (processor.id_to_piece(token) for token in range(processor.vocab_size()))
    return (piece for piece in pieces if len(piece) > 1 and all(ord(character) >= PRIVATE for character in piece))
