"""A compiled encoder for batches, with SentencePiece's ids for every text.

SentencePiece builds a string for every pair that it considers and keeps them in one queue a text; `tokenizer.fast.kernels` cuts
a text from left to right. `Tokenizer` uses it for a BPE vocabulary of our own making, SentencePiece for all else.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tokenizer.fast import kernels
from tokenizer.model_file import NUM_FIXED_PIECES, merge_parts, parse_model
from tokenizer.symbols import BYTE_PIECES, SPACE_MARK, SPECIALS, USER_SYMBOLS

_CODE_POINTS = 0x110000
_NEAR_BYTES = 1 << 15  # near the processor; ten thousand pairs of characters let 1 in 25 others pass without need
_MAX_IDS_PER_CHARACTER = 4  # at most: its bytes
# Characters at once: few enough that their arrays, 20 bytes a character, are used again instead of asked for anew.
_PART = 1 << 16


class CompiledEncoder:
    """A BPE vocabulary of the tokenizer stage, compiled; see `compile_encoder`."""

    def __init__(self, tables: kernels.Tables) -> None:
        self._tables = tables

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Ids of each text, (tokens,) int32, views of arrays that several share.

        Raises: UnicodeEncodeError on a lone surrogate.
        """
        arrays: list[np.ndarray] = []
        fit_cache, out = np.full(kernels.FIT_CACHE_SLOTS, kernels.NONE, np.int64), np.empty(0, np.int32)
        for part in _parts(texts):
            codes = np.frombuffer("".join(part).encode("utf-32-le"), np.uint32)
            bounds = np.zeros(len(part) + 1, np.int64)
            np.cumsum([len(text) for text in part], out=bounds[1:])
            if len(out) < (room := _MAX_IDS_PER_CHARACTER * len(codes)):
                out = np.empty(room, np.int32)
            ends = np.empty(len(part), np.int64)
            count = kernels.encode(codes, bounds, self._tables, fit_cache, out, ends)
            arrays += np.split(out[:count].copy(), ends[:-1])
        return arrays


def _parts(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Neighbours of up to _PART characters together, at least one text each."""
    begin = characters = 0
    for place, text in enumerate(texts):
        if characters + len(text) > _PART and place > begin:
            yield texts[begin:place]
            begin, characters = place, 0
        characters += len(text)
    if texts:
        yield texts[begin:]


def compile_encoder(model: bytes) -> CompiledEncoder | None:
    """An encoder that finds this model's ids, or None where only SentencePiece does.

    Supported is BPE on text as it is, with our user-defined symbols and special pieces, every character of a piece a piece
    itself, and every piece that is ever made merged later than its two parts.
    """
    proto = parse_model(model)
    if not _is_plain(proto):
        return None
    learned = {piece.piece: token for token, piece in enumerate(proto.pieces) if token >= NUM_FIXED_PIECES}
    whole = "".join(learned)
    if SPACE_MARK not in learned or not set(whole) <= learned.keys() or NUM_FIXED_PIECES + len(whole) > 1 << kernels.VALUE_BITS:
        return None
    scores = {text: proto.pieces[token].score for text, token in learned.items() if len(text) > 1}
    places = {score: place for place, score in enumerate(sorted(set(scores.values()), reverse=True))}
    ranks = {text: places[score] for text, score in scores.items()}
    parts = merge_parts(ranks)
    if any(ranks[text] <= ranks.get(part, -1) for text, pair in parts.items() for part in pair):
        return None
    return CompiledEncoder(_tables(learned, ranks, parts, [piece.piece for piece in proto.pieces[:NUM_FIXED_PIECES]]))


def _is_plain(proto: Any) -> bool:
    kind, normal = type(proto).SentencePiece, proto.normalizer_spec
    return (
        proto.trainer_spec.model_type == proto.trainer_spec.BPE
        and not (normal.precompiled_charsmap or normal.add_dummy_prefix or normal.remove_extra_whitespaces)
        and NUM_FIXED_PIECES < len(proto.pieces) <= 1 << kernels.ID_BITS
        and [piece.piece for piece in proto.pieces[: NUM_FIXED_PIECES - BYTE_PIECES]] == [*SPECIALS, *USER_SYMBOLS]
        and all(piece.type == kind.USER_DEFINED for piece in proto.pieces[len(SPECIALS) : NUM_FIXED_PIECES - BYTE_PIECES])
        and all(piece.type == kind.BYTE for piece in proto.pieces[NUM_FIXED_PIECES - BYTE_PIECES : NUM_FIXED_PIECES])
        and all(piece.type == kind.NORMAL for piece in proto.pieces[NUM_FIXED_PIECES:])
    )


def _tables(
    learned: Mapping[str, int], ranks: Mapping[str, int], parts: Mapping[str, tuple[str, str]], fixed: Sequence[str]
) -> kernels.Tables:
    size = NUM_FIXED_PIECES + len(learned)
    first = np.full(_CODE_POINTS, kernels.AS_BYTES, np.int32)
    for token, text in enumerate(fixed[: NUM_FIXED_PIECES - BYTE_PIECES]):
        if len(text) == 1:
            first[ord(text)] = -2 - token
    runs = {len(text): token for token, text in enumerate(fixed) if set(text) == {SPACE_MARK}}
    ranks_V, lefts_V, rights_V, lengths_V = (np.full(size, kernels.NONE, np.int32) for _ in range(4))
    unions: dict[tuple[int, int], int] = {}
    for text, token in learned.items():
        lengths_V[token] = len(text)
        if len(text) == 1:
            first[ord(" " if text == SPACE_MARK else text)] = token
        for cut in range(1, len(text)):
            if text[:cut] in learned and text[cut:] in learned:
                unions[learned[text[:cut]], learned[text[cut:]]] = ranks[text]
    for text, (left, right) in parts.items():
        token = learned[text]
        ranks_V[token], lefts_V[token], rights_V[token] = ranks[text], learned[left], learned[right]
    made = {text: token for text, token in learned.items() if len(text) == 1 or text in parts}
    edges, prefixes_V = _trie(made, size)
    return kernels.Tables(
        first=first,
        near=_near(learned),
        trie=_table(edges),
        unions=_table(unions),
        ranks=ranks_V,
        lefts=lefts_V,
        rights=rights_V,
        prefixes=prefixes_V,
        lengths=lengths_V,
        bytes=np.arange(NUM_FIXED_PIECES - BYTE_PIECES, NUM_FIXED_PIECES, dtype=np.int32),
        spaces=np.array([runs.get(length, kernels.NONE) for length in range(max(runs) + 1)], np.int32),
    )


def _trie(made: Mapping[str, int], size: int) -> tuple[dict[tuple[int, int], int], np.ndarray]:
    """Node, id of the next character -> node; for each piece the next shorter piece that it begins with, (V,)."""
    nodes, edges = dict(made), dict[tuple[int, int], int]()
    prefixes = np.full(size, kernels.NONE, np.int32)
    for text, token in made.items():
        for end in range(1, len(text)):
            node = nodes.setdefault(text[:end], size + len(nodes) - len(made))
            if node < size:
                prefixes[token] = node
            edges[node, made[text[end]]] = nodes.setdefault(text[: end + 1], size + len(nodes) - len(made))
    return edges, prefixes


def _near(learned: Mapping[str, int]) -> np.ndarray:
    near = np.zeros(_NEAR_BYTES, np.uint8)
    for text in learned:
        for left, right in pairwise(text):
            bit = int(kernels.bit_of(learned[left], learned[right], _NEAR_BYTES))
            near[bit >> 3] |= 1 << (bit & 7)
    return near


def _table(items: Mapping[tuple[int, int], int]) -> np.ndarray:
    """Open addressing, at most half full: (2**n,) int64, see `kernels.Tables`."""
    slots = 1 << (2 * len(items) + 1).bit_length()
    table = np.full(slots, kernels.NONE, np.int64)
    for (left, right), value in items.items():
        key = left << kernels.ID_BITS | right
        slot = int(kernels.slot_of(key, slots))
        while table[slot] != kernels.NONE:
            slot = (slot + 1) & (slots - 1)
        table[slot] = key << kernels.VALUE_BITS | value
    return table
