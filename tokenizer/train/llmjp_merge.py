"""LLM-jp's way (v2.1): a delimited unigram for each of Japanese, English and code, united, scored again on raw text.

Scores come from expectation-maximization: every segmentation of a line counts by its probability (forward-backward), so
that pieces which no single best segmentation uses keep a score too. LLM-jp strips `▁` from Japanese pieces; words of
`tokenizer.analyzer` never have one there.

Source: github.com/llm-jp/llm-jp-tokenizer; EM of a unigram: Kudo 2018 (arXiv:1804.10959) §3.2.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.compiled import compiled
from tokenizer.analyzer import delimit, is_japanese, load_analyzer
from tokenizer.model_file import NUM_FIXED_PIECES, Piece, learned_pieces, replace_learned
from tokenizer.settings import TokenizerSettings
from tokenizer.symbols import REQUIRED_CHARACTERS, SPACE_MARK
from tokenizer.train.sample import Sample
from tokenizer.train.straddle import take_evenly
from tokenizer.train.trainer import keep_best_pieces, train_delimited

IntArray = np.ndarray[Any, np.dtype[np.int64]]
FloatArray = np.ndarray[Any, np.dtype[np.float64]]

# Pieces of each group in LLM-jp v2.1, in thousands; 60 gave a union of 50.
GROUP_PIECES = {"ja": 30, "en": 20, "code": 10}
UNION_LOSS = 1.2
# A source whose characters are Japanese to this share is Japanese, where the settings do not say.
JAPANESE_SHARE = 0.2
EM_CHARACTERS = 20_000_000  # sentences are taken evenly up to here
EM_ROUNDS = 3  # before pieces are cut to vocab_size, and again after
MIN_EXPECTED_COUNT = 0.5  # of a piece that the text hardly uses: as in SentencePiece's EM, below it a piece is worth nothing
UNKNOWN_PENALTY = 10.0  # SentencePiece's kUnkPenalty: an unknown character is this much below the lowest score
_LITERAL = re.compile(r"\n|\t| {2,}")  # user-defined symbols, which no segmentation goes into


def train_merged(sample: Sample, settings: TokenizerSettings) -> bytes:
    """One unigram vocabulary out of one for each group of sources.

    Raises: ConfigError if the text cannot fill vocab_size, or a group's characters alone fill its part.
    """
    analyzer = load_analyzer(settings.analyzer)
    groups = group_sentences(sample.sentences, settings.groups)
    whole = sum(GROUP_PIECES[group] for group in groups)
    scores: dict[str, float] = {}
    base = b""
    for group, sentences in groups.items():
        part = round((settings.vocab_size - NUM_FIXED_PIECES) * UNION_LOSS * GROUP_PIECES[group] / whole)
        characters = len(set(REQUIRED_CHARACTERS).union(*sentences))  # a group needs all of its own, whatever its part is
        base = train_delimited(
            (delimit(sentence, analyzer) for sentence in sentences),
            settings,
            model_type="unigram",
            vocab_size=NUM_FIXED_PIECES + characters + part,
            hard_vocab_limit=False,
        )
        for piece in learned_pieces(base):
            scores[piece.text] = max(piece.score, scores.get(piece.text, -math.inf))
    lines = take_evenly(list(sample), EM_CHARACTERS)
    first = reestimate_scores(scores, lines, EM_ROUNDS)
    kept = keep_best_pieces([Piece(text, first[text]) for text in sorted(first)], settings)
    final = reestimate_scores({piece.text: piece.score for piece in kept}, lines, EM_ROUNDS)
    return replace_learned(base, [Piece(text, final[text]) for text in sorted(final, key=lambda text: (-final[text], text))])


def group_sentences(sentences: Mapping[str, Sequence[str]], groups: Mapping[str, str]) -> dict[str, list[str]]:
    """Sentences by group, in the order of GROUP_PIECES; a source without a group is Japanese or English by its characters."""
    found: dict[str, list[str]] = {}
    for source in sorted(sentences):
        lines = sentences[source]
        looked_at = "".join(take_evenly(lines, 100_000))
        japanese = sum(map(is_japanese, looked_at)) >= JAPANESE_SHARE * len(looked_at)
        found.setdefault(groups.get(source, "ja" if japanese else "en"), []).extend(lines)
    return {group: found[group] for group in GROUP_PIECES if found.get(group)}


def reestimate_scores(scores: Mapping[str, float], lines: Iterable[str], rounds: int) -> dict[str, float]:
    """Scores by EM on raw text.

    Args:
        scores: piece, with U+2581 for a space -> a logarithm of its probability, to begin with.
        lines: text as it is.
    Returns: the same pieces, with the logarithm of their share of all expected uses.
    """
    texts = sorted(scores)
    trie = Trie.of(texts)
    codes, ends = _flatten_lines(lines)
    scores_V = np.array([scores[text] for text in texts], np.float64)
    for _ in range(rounds):
        counts_V = np.maximum(expected_counts(trie, scores_V, codes, ends), MIN_EXPECTED_COUNT)
        scores_V = np.log(counts_V / counts_V.sum())
    return dict(zip(texts, scores_V.tolist(), strict=True))


@dataclass(frozen=True)
class Trie:
    """Pieces by their characters; edges of a node stand together, by character."""

    first: IntArray  # (nodes + 1,) where a node's edges begin
    codes: IntArray  # (edges,) character of each edge
    children: IntArray  # (edges,) node that it leads to
    pieces: IntArray  # (nodes,) piece that ends at a node, or -1
    longest: int  # characters of the longest piece

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Trie":
        """A trie of pieces; their places in `texts` are their numbers."""
        children: list[dict[int, int]] = [{}]
        piece = [-1]
        for number, text in enumerate(texts):
            node = 0
            for code in map(ord, text):
                if code not in children[node]:
                    children[node][code] = len(children)
                    children.append({})
                    piece.append(-1)
                node = children[node][code]
            piece[node] = number
        edges = [edge for node in children for edge in sorted(node.items())]
        return cls(
            np.cumsum([0, *map(len, children)], dtype=np.int64),
            np.array([code for code, _ in edges], np.int64),
            np.array([child for _, child in edges], np.int64),
            np.array(piece, np.int64),
            max(map(len, texts), default=0),
        )


def expected_counts(trie: Trie, scores_V: FloatArray, codes: IntArray, ends: IntArray) -> FloatArray:
    """How often each piece is used, expected over all segmentations.

    Args:
        scores_V: logarithm of each piece's probability.
        codes: characters of all lines, one after another.
        ends: where each line ends in `codes`.
    """
    counts_V = np.zeros(len(scores_V), np.float64)
    unknown = float(scores_V.min()) - UNKNOWN_PENALTY
    # A place has a piece of each length at most, or an unknown character in place of the piece of one.
    most_arcs = int(np.diff(ends, prepend=0).max(initial=0)) * max(trie.longest, 1)
    _forward_backward(trie.first, trie.codes, trie.children, trie.pieces, scores_V, unknown, codes, ends, counts_V, most_arcs)
    return counts_V


def _flatten_lines(lines: Iterable[str]) -> tuple[IntArray, IntArray]:
    parts = [part.replace(" ", SPACE_MARK) for line in lines for part in _LITERAL.split(line) if part]
    codes = np.frombuffer("".join(parts).encode("utf-32-le"), np.uint32).astype(np.int64)
    return codes, np.cumsum([len(part) for part in parts], dtype=np.int64)


@compiled
def _child(first_N: Any, code_E: Any, child_E: Any, node: int, code: int) -> int:
    low, high = first_N[node], first_N[node + 1]
    while low < high:
        middle = (low + high) // 2
        if code_E[middle] < code:
            low = middle + 1
        else:
            high = middle
    return child_E[low] if low < first_N[node + 1] and code_E[low] == code else -1


@compiled
def _log_sum(one: float, other: float) -> float:
    high, low = (one, other) if one > other else (other, one)
    return high if low == -np.inf else high + np.log1p(np.exp(low - high))


@compiled
def _forward_backward(
    first_N: Any,
    code_E: Any,
    child_E: Any,
    piece_N: Any,
    scores_V: Any,
    unknown: float,
    codes: Any,
    ends: Any,
    counts_V: Any,
    most_arcs: int,
) -> None:
    """Add to `counts_V` the expected uses of each piece in each line.

    An arc is a piece that is at a place, or -1 for an unknown character; no line has more than `most_arcs`.
    """
    arc_ends, arc_pieces = np.empty(most_arcs, np.int64), np.empty(most_arcs, np.int64)
    begin = 0
    for end in ends:
        size = end - begin
        forward = np.full(size + 1, -np.inf)
        backward = np.full(size + 1, -np.inf)
        first_arc = np.zeros(size + 1, np.int64)
        forward[0] = backward[size] = 0.0
        arc = 0
        for place in range(size):
            node, known = 0, False
            for last in range(place, size):
                node = _child(first_N, code_E, child_E, node, codes[begin + last])
                if node < 0:
                    break
                piece = piece_N[node]
                if piece >= 0:
                    known = known or last == place
                    forward[last + 1] = _log_sum(forward[last + 1], forward[place] + scores_V[piece])
                    arc_ends[arc], arc_pieces[arc] = last + 1, piece
                    arc += 1
            if not known:
                forward[place + 1] = _log_sum(forward[place + 1], forward[place] + unknown)
                arc_ends[arc], arc_pieces[arc] = place + 1, -1
                arc += 1
            first_arc[place + 1] = arc
        for place in range(size - 1, -1, -1):
            for arc in range(first_arc[place], first_arc[place + 1]):
                piece = arc_pieces[arc]
                rest = (scores_V[piece] if piece >= 0 else unknown) + backward[arc_ends[arc]]
                if piece >= 0:
                    counts_V[piece] += np.exp(forward[place] + rest - forward[size])
                backward[place] = _log_sum(backward[place], rest)
        begin = end
