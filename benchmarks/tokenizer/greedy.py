"""Ids that llama.cpp finds with the exported model, against ours, on every JSQuAD paragraph.

Two programs are imitated, from their sources of 2026 (ggml-org/llama.cpp), without anything of ours:
`convert_hf_to_gguf.py`, which reads the folder (`_create_vocab_sentencepiece`, and `add_prefix_space` and `add_bos_token` of
tokenizer_config.json), and `llm_tokenizer_spm` with what `llama_vocab::impl::tokenize` does before it.
"""

import heapq
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)  # gguf.TokenType
REQUIRED = 0.99  # of the paragraphs
MIN_PARAGRAPHS = 1000


@dataclass(frozen=True)
class Gguf:
    """What a GGUF file says of a SentencePiece vocabulary."""

    tokens: tuple[str, ...]
    scores: tuple[float, ...]
    types: tuple[int, ...]
    add_space_prefix: bool
    add_bos: bool
    bos_id: int


def convert(folder: Path) -> Gguf:
    """The folder as convert_hf_to_gguf.py reads it for a LlamaForCausalLM."""
    from sentencepiece import SentencePieceProcessor

    model = SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    size = model.vocab_size()
    # The converter asks in this order and knows no user-defined pieces: to it they are normal ones.
    kinds = ((model.is_unknown, UNKNOWN), (model.is_control, CONTROL), (model.is_unused, UNUSED), (model.is_byte, BYTE))
    tokens = [model.id_to_piece(token) for token in range(size)]
    scores = [model.get_score(token) for token in range(size)]
    types = [next((kind for asks, kind in kinds if asks(token)), NORMAL) for token in range(size)]
    config: dict[str, Any] = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    for key, entry in config.get("added_tokens_decoder", {}).items():
        token, content = int(key), entry["content"]
        types[token] = CONTROL if entry.get("special") else USER_DEFINED
        tokens[token] = content if entry.get("special") else content.replace("\u2581", " ")
        scores[token] = -1000.0
    return Gguf(
        tuple(tokens),
        tuple(scores),
        tuple(types),
        # llama_vocab::impl::load: both are true for SPM where the file does not say otherwise
        add_space_prefix=config.get("add_prefix_space", True),
        add_bos=config.get("add_bos_token", True),
        bos_id=tokens.index(config["bos_token"]),
    )


class Greedy:
    """llama.cpp's tokenizer of such a vocabulary."""

    def __init__(self, gguf: Gguf) -> None:
        self.gguf = gguf
        self._ids = {token: place for place, token in enumerate(gguf.tokens)}
        self._bytes = [self._ids[f"<0x{byte:02X}>"] for byte in range(256)]
        self._cut_first = sorted((t for t, kind in zip(gguf.tokens, gguf.types, strict=True) if kind == USER_DEFINED), key=len)[
            ::-1
        ]

    def encode(self, text: str, add_special: bool = False) -> list[int]:
        """Ids of a text in which no control token is looked for (parse_special is false)."""
        ids = [self.gguf.bos_id] if add_special and self.gguf.add_bos else []
        after_special = True
        for part, token in self._parts(text):
            if token is None:
                prefix = " " if self.gguf.add_space_prefix and after_special else ""
                ids += self._merged((prefix + part).replace(" ", "\u2581"))
                after_special = False
            else:
                ids.append(token)
                after_special = True
        return ids

    def _parts(self, text: str) -> Iterator[tuple[str, int | None]]:
        """The text cut at user-defined tokens, the longest first (tokenizer_st_partition)."""
        parts: list[tuple[str, int | None]] = [(text, None)]
        for symbol in self._cut_first:
            cut: list[tuple[str, int | None]] = []
            for part, token in parts:
                pieces = [part] if token is not None else part.split(symbol)
                for place, piece in enumerate(pieces):
                    cut += [(symbol, self._ids[symbol])] if place else []
                    cut += [(piece, token)] if piece else []
            parts = cut
        yield from parts

    def _merged(self, text: str) -> list[int]:
        """Merge the adjacent pair whose union scores highest, the left-most of equals, until no union is a token."""
        symbols: list[str] = list(text)
        before, after = list(range(-1, len(text) - 1)), [*range(1, len(text)), -1]
        queue: list[tuple[float, int, int, int]] = []

        def offer(left: int, right: int) -> None:
            if left >= 0 and right >= 0 and (token := self._ids.get(symbols[left] + symbols[right])) is not None:
                heapq.heappush(queue, (-self.gguf.scores[token], left, right, len(symbols[left]) + len(symbols[right])))

        for place in range(1, len(text)):
            offer(place - 1, place)
        while queue:
            _, left, right, size = heapq.heappop(queue)
            if not symbols[left] or not symbols[right] or len(symbols[left]) + len(symbols[right]) != size:
                continue  # one of them is part of another symbol by now
            symbols[left], symbols[right] = symbols[left] + symbols[right], ""
            after[left] = after[right]
            if after[right] >= 0:
                before[after[right]] = left
            offer(before[left], left)
            offer(left, after[left])
        return [token for symbol in symbols if symbol for token in self._tokens(symbol)]

    def _tokens(self, symbol: str) -> Sequence[int]:
        token = self._ids.get(symbol)
        return [self._bytes[byte] for byte in symbol.encode()] if token is None else [token]


def main() -> None:
    from benchmarks.tokenizer.model import model_of, parser
    from benchmarks.tokenizer.texts import jsquad
    from tokenizer.encode import Tokenizer
    from tokenizer.export import export

    arguments = parser(__doc__).parse_args()
    texts = sorted(set(jsquad(arguments.data)))
    with TemporaryDirectory() as name:
        folder = Path(name)
        export(model_of(arguments), folder)
        ours, theirs = Tokenizer.load(folder), Greedy(convert(folder))
    equal = tokens = more = 0
    for text, ids in zip(texts, ours.encode_batch(texts), strict=True):
        found = theirs.encode(text, add_special=True)
        tokens, more, equal = tokens + len(ids), more + len(found) - len(ids), equal + (found == ids)
        if found != ids:
            place = next((place for place, pair in enumerate(zip(ids, found, strict=False)) if pair[0] != pair[1]), 0)
            print(f"  at token {place}: ours {shown(ours, ids, place)}, llama.cpp {shown(ours, found, place)}")
    share = equal / len(texts)
    print(
        f"vocabulary {ours.vocab_size:,}: {equal:,} of {len(texts):,} JSQuAD paragraphs have llama.cpp's ids ({share:.2%}); "
        f"it makes {more / tokens:+.3%} tokens of {tokens:,}"
    )
    if len(texts) < MIN_PARAGRAPHS or share < REQUIRED:
        sys.exit(f"demanded: {REQUIRED:.0%} of at least {MIN_PARAGRAPHS:,} paragraphs")


def shown(tokenizer: Any, ids: Sequence[int], place: int) -> str:
    """A few pieces from `place` on."""
    return "|".join(tokenizer.piece(token) for token in ids[place : place + 4])


if __name__ == "__main__":
    main()
