"""The folder that transformers' AutoTokenizer loads, without remote code and with ids equal to SentencePiece's.

In tokenizer.json a space is a space: without SentencePiece's U+2581 mark a U+2581 of the text is no piece, becomes
bytes and survives, as in `tokenizer.encode`. Newline, tab and runs of spaces are added tokens, which the `tokenizers`
library cuts out leftmost-longest, as SentencePiece does with user-defined symbols.
"""

import json
from pathlib import Path
from typing import Any

from pipeline.files import atomic_file, write_json, write_text
from tokenizer.chat import CHAT_TEMPLATE, TEMPLATE_FILE
from tokenizer.encode import MODEL_FILE, Tokenizer
from tokenizer.symbols import BOS, CONTROL_SYMBOLS, EOS, PAD, SPACE_MARK, SPECIALS, UNK, USER_SYMBOLS

EXPORTED_FILES = (MODEL_FILE, "tokenizer.json", "tokenizer_config.json", TEMPLATE_FILE)


def export(model: bytes, folder: Path) -> None:
    """Write EXPORTED_FILES into `folder`."""
    tokenizer = Tokenizer(model)
    with atomic_file(folder / MODEL_FILE) as file:
        file.write(model)
    write_text(folder / "tokenizer.json", json.dumps(tokenizer_json(tokenizer), ensure_ascii=False, indent=1) + "\n")
    write_json(folder / "tokenizer_config.json", config())
    write_text(folder / TEMPLATE_FILE, CHAT_TEMPLATE)


def config() -> dict[str, Any]:
    """tokenizer_config.json. The generic class is named, because LlamaTokenizer rebuilds its own pipeline over ours."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": EOS,
        "pad_token": PAD,
        "unk_token": UNK,
        "extra_special_tokens": list(CONTROL_SYMBOLS),
        "clean_up_tokenization_spaces": False,
        # Read by llama.cpp's converter, whose own defaults for a SentencePiece model are true.
        "add_prefix_space": False,
        "add_bos_token": False,
        "add_eos_token": False,
        "model_input_names": ["input_ids", "attention_mask"],
    }


def tokenizer_json(tokenizer: Tokenizer) -> dict[str, Any]:
    """The content of tokenizer.json; format: the `tokenizers` library, version 1.0."""
    pieces = [tokenizer.piece(token).replace(SPACE_MARK, " ") for token in range(tokenizer.vocab_size)]
    literal = [symbol.replace(SPACE_MARK, " ") for symbol in USER_SYMBOLS]
    first = len(SPECIALS)
    added = [*SPECIALS, *literal]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": token,
                "content": content,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": token < first,
            }
            for token, content in enumerate(added)
        ],
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": _bpe(tokenizer, pieces),
    }


def _bpe(tokenizer: Tokenizer, pieces: list[str]) -> dict[str, Any]:
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": UNK,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": True,
        "ignore_merges": False,
        "vocab": {piece: token for token, piece in enumerate(pieces)},
        "merges": merges(tokenizer, pieces),
    }


def merges(tokenizer: Tokenizer, pieces: list[str]) -> list[list[str]]:
    """Every pair of pieces that makes a piece, in the order in which SentencePiece prefers them.

    SentencePiece merges the adjacent pair whose union has the highest score, so each way to cut a piece in two is a
    merge of that piece's rank.
    """
    fixed = len(SPECIALS) + len(USER_SYMBOLS)
    learned = {piece: token for token, piece in enumerate(pieces) if token >= fixed and not tokenizer.is_byte(token)}
    ranked = sorted((piece for piece in learned if len(piece) > 1), key=lambda piece: -tokenizer.score(learned[piece]))
    return [
        [piece[:cut], piece[cut:]]
        for piece in ranked
        for cut in range(1, len(piece))
        if piece[:cut] in learned and piece[cut:] in learned
    ]
