"""Train a SentencePiece BPE vocabulary.

BPE, not unigram: on 32 MB of Aozora at 16k pieces it trained in 81 s instead of 552 s and compressed better (1.79
against 1.76 characters a token); llama.cpp, which merges greedily, and the `tokenizers` library find exactly its tokens,
while for unigram they break ties and read runs of spaces in other ways.

Source: Kudo & Richardson 2018 (arXiv:1808.06226); BPE: Sennrich et al. 2016 (arXiv:1508.07909); byte fallback and
the rest of the options: SentencePiece doc/options.md.
"""

import io
import re
from collections.abc import Iterable

from pipeline.errors import ConfigError
from tokenizer.sample import LINE_CHARACTERS
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

UTF8_BYTES = 4  # at most, a character
ERRORS_ONLY = 2  # SentencePiece's minloglevel; failures come as exceptions
_TOO_LARGE = re.compile(r"Vocabulary size too high \(\d+\)\. Please set it to a value <= (\d+)")
_TOO_SMALL = re.compile(r"smaller than required_chars\. \d+ vs (\d+)")


def train(sentences: Iterable[str], settings: TokenizerSettings) -> bytes:
    """Train on `sentences` and return the bytes of tokenizer.model; same sentences and settings, same bytes.

    Text goes in by iterator and the model comes out in memory, so that no path is written into it.

    Raises: ConfigError if the text cannot fill vocab_size, or its characters alone fill it.
    """
    import sentencepiece

    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=model,
            model_type="bpe",
            vocab_size=settings.vocab_size,
            hard_vocab_limit=True,
            character_coverage=settings.character_coverage,
            max_sentencepiece_length=settings.max_piece_characters,
            max_sentence_length=LINE_CHARACTERS * UTF8_BYTES,
            num_threads=settings.threads,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            split_digits=True,
            byte_fallback=True,
            required_chars=REQUIRED_CHARACTERS,
            control_symbols=list(CONTROL_SYMBOLS),
            user_defined_symbols=list(USER_SYMBOLS),
            unk_id=UNK_ID,
            bos_id=BOS_ID,
            eos_id=EOS_ID,
            pad_id=PAD_ID,
            unk_piece=UNK,
            bos_piece=BOS,
            eos_piece=EOS,
            pad_piece=PAD,
            minloglevel=ERRORS_ONLY,
        )
    except RuntimeError as error:
        raise _explained(error, settings) from error
    return model.getvalue()


def _explained(error: RuntimeError, settings: TokenizerSettings) -> Exception:
    """What a user can mend, as one clear line; anything else as it is."""
    text, where = str(error), f"[tokenizer] vocab_size = {settings.vocab_size}"
    if found := _TOO_LARGE.search(text):
        return ConfigError(f"{where}: the text yields {found[1]} pieces only; set it to {found[1]} or less, or give more text")
    if found := _TOO_SMALL.search(text):
        return ConfigError(
            f"{where}: the fixed pieces and single characters of the text alone are {found[1]}; "
            f"raise it, or lower character_coverage = {settings.character_coverage}"
        )
    return error
