"""The figures of one tokenizer over texts that every tokenizer of the report cuts.

characters a token   characters ÷ tokens; bytes a token likewise, in UTF-8
tokens a document    mean characters of the source's documents ÷ characters a token
a script's tokens    a token is shared out evenly among the characters that it covers, so the scripts' tokens add up
                     to all tokens, and every tokenizer's figure is over the same characters
boundaries           line by line against the analyzer's words: tokenizer.boundaries
round trip           decode(encode(text)) == text, whole texts
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tokenizer.analyzer import Analyzer
from tokenizer.boundaries import BoundaryFigures, measure_boundaries
from tokenizer.encode import Tokenizer
from tokenizer.report.others import Cut, ReportTokenizer
from tokenizer.report.scripts import LENGTHS, NAMES, PIECES, is_spaced_japanese, length_column, piece_class, scripts
from tokenizer.report.texts import Source

# Characters before and after the place where a text does not come back.
_AROUND = 12
EXAMPLES = 12


class CachedAnalyzer:
    """An analyzer that cuts no line twice: every tokenizer is held against the same words."""

    def __init__(self, analyzer: Analyzer) -> None:
        self.name = analyzer.name
        self._analyzer, self._known = analyzer, dict[str, list[int]]()

    def starts(self, line: str) -> list[int]:
        """See Analyzer."""
        if line not in self._known:
            self._known[line] = self._analyzer.starts(line)
        return self._known[line]


@dataclass
class Figures:
    """Sums over texts; ratios are taken at the end."""

    texts: int = 0
    characters: int = 0
    bytes: int = 0
    tokens: int = 0
    script_characters: np.ndarray = field(default_factory=lambda: np.zeros(len(NAMES), np.int64))
    script_tokens: np.ndarray = field(default_factory=lambda: np.zeros(len(NAMES)))
    lost: int = 0  # texts that do not come back
    first_lost: dict[str, str] | None = None
    used: set[int] = field(default_factory=set)

    def add(self, text: str, cut: Cut, back: str) -> None:
        """Count one text, its tokens and what they decode to."""
        of_character = scripts(text)
        self.texts += 1
        self.characters += len(text)
        self.bytes += len(text.encode())
        self.tokens += len(cut.ids)
        self.script_characters += np.bincount(of_character, minlength=len(NAMES))
        self.script_tokens += tokens_per_script(cut, of_character)
        self.used.update(cut.ids.tolist())
        if back != text:
            self.lost += 1
            self.first_lost = self.first_lost or first_difference(text, back)

    def __iadd__(self, other: "Figures") -> "Figures":
        for name in ("texts", "characters", "bytes", "tokens", "script_characters", "script_tokens", "lost"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.first_lost = self.first_lost or other.first_lost
        self.used |= other.used
        return self

    def row(self) -> dict[str, Any]:
        """As the report writes it."""
        return {
            "texts": self.texts,
            "characters": self.characters,
            "bytes": self.bytes,
            "tokens": self.tokens,
            "characters_per_token": ratio(self.characters, self.tokens),
            "bytes_per_token": ratio(self.bytes, self.tokens),
            "scripts": {
                name: {"characters": count, "tokens": round(tokens, 6), "characters_per_token": ratio(count, tokens)}
                for name, count, tokens in zip(NAMES, self.script_characters.tolist(), self.script_tokens.tolist(), strict=True)
                if count or tokens
            },
            "round_trip": {"texts": self.texts, "lost": self.lost, "first": self.first_lost},
        }


def measure(subject: ReportTokenizer, sources: Mapping[str, Source], analyzer: Analyzer) -> dict[str, Any]:
    """Every figure of a tokenizer: by source, over all, its vocabulary."""
    whole, rows = Figures(), {}
    begins: dict[str, list[int]] = {}  # of every line, which counts for its source and for all
    for line in {line for source in sources.values() for text in source.texts for line in text.split("\n")}:
        begins[line] = subject.cut(line).begins.tolist()
    for name, source in sources.items():
        figures = Figures()
        for text in source.texts:
            cut = subject.cut(text)
            figures.add(text, cut, subject.decode(cut.ids.tolist()))
        whole += figures
        mean = source.document_characters / source.documents
        rows[name] = figures.row() | {
            "tokens_per_document": round(mean * figures.tokens / max(figures.characters, 1), 2),
            "boundaries": boundaries(source.texts, begins, analyzer),
        }
    every = [text for source in sources.values() for text in source.texts]
    return {
        "name": subject.name,
        "vocab_size": subject.vocab_size,
        "sources": rows,
        "all": whole.row() | {"boundaries": boundaries(every, begins, analyzer)},
        "used_pieces": len(whole.used),
        "vocabulary": vocabulary(subject),
    }


def boundaries(texts: Iterable[str], begins: Mapping[str, Sequence[int]], analyzer: Analyzer) -> dict[str, float]:
    """Tokens against words, line by line.

    Args:
        begins: of each line of the texts, the characters at which its tokens begin, one entry a token.
    """
    lines = (line for text in texts for line in text.split("\n"))
    found: BoundaryFigures = measure_boundaries(lines, begins.__getitem__, analyzer)
    names = ("precision", "recall", "f1", "straddle_share", "consistency", "constancy")
    return {name: round(getattr(found, name), 5) for name in names}


def tokens_per_script(cut: Cut, of_character: np.ndarray) -> np.ndarray:
    """(scripts,) tokens of each script: every token is shared out evenly among its characters.

    A token that covers nothing (a mark before the text) belongs to the character that follows, or the last.

    Args:
        of_character: (characters,) place of each character's script in NAMES.
    """
    if not len(of_character):
        return np.bincount([NAMES.index("other")] * len(cut.ids), minlength=len(NAMES)).astype(np.float64)
    begins = np.minimum(cut.begins, len(of_character) - 1)
    sizes = np.maximum(cut.ends - begins, 1)
    tokens = np.repeat(np.arange(len(begins)), sizes)
    within = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    covered = of_character[begins[tokens] + within]
    return np.bincount(covered, weights=1.0 / sizes[tokens], minlength=len(NAMES))


def first_difference(text: str, back: str) -> dict[str, str]:
    """The first place where a text and what came back differ, with what stands around it."""
    pairs = zip(text, back, strict=False)
    place = next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(text), len(back)))
    begin = max(place - _AROUND, 0)
    return {"character": str(place), "expected": text[begin : place + _AROUND], "found": back[begin : place + _AROUND]}


def vocabulary(subject: ReportTokenizer) -> dict[str, Any]:
    """How many pieces of each class have each length; how many are a space and Japanese.

    Returns: {"classes": class -> (len(LENGTHS) + 1) counts, "spaced_japanese": count}.
    """
    counts = {name: [0] * (len(LENGTHS) + 1) for name in PIECES}
    spaced = 0
    for token in range(subject.vocab_size):
        content = subject.content(token)
        counts["byte" if subject.is_byte(token) else piece_class(content)][length_column(content)] += 1
        spaced += is_spaced_japanese(content)
    return {"classes": {name: row for name, row in counts.items() if any(row)}, "spaced_japanese": spaced}


def count_unused_pieces(tokenizer: Tokenizer, batches: Iterable[Sequence[str]]) -> dict[str, Any]:
    """Pieces that no text uses, by class; control tokens, which no text can use, and raw bytes are told apart.

    Returns: {"documents", "characters", "pieces", "dead", "classes": class -> {"pieces", "dead", "examples"}}.
    """
    used = np.zeros(tokenizer.vocab_size, np.bool_)
    documents = characters = 0
    for batch in batches:
        documents += len(batch)
        characters += sum(map(len, batch))
        for ids in tokenizer.encode_batch(batch):
            used[ids] = True
    pieces, dead = Counter[str](), Counter[str]()
    examples: dict[str, list[str]] = {}
    for token in range(tokenizer.vocab_size):
        content = tokenizer.token_bytes(token)
        name = "byte" if tokenizer.is_byte(token) else piece_class(content)
        pieces[name] += 1
        if not used[token]:
            dead[name] += 1
            if len(examples.setdefault(name, [])) < EXAMPLES:
                examples[name].append(tokenizer.piece(token) if name in ("byte", "control") else content.decode())
    learned = [name for name in pieces if name not in ("byte", "control")]
    return {
        "documents": documents,
        "characters": characters,
        "pieces": sum(pieces[name] for name in learned),
        "dead": sum(dead[name] for name in learned),
        "classes": {
            name: {"pieces": pieces[name], "dead": dead[name], "examples": examples.get(name, [])}
            for name in PIECES
            if pieces[name]
        },
    }


def ratio(part: float, whole: float) -> float:
    """`part` ÷ `whole` to four places; 0 where there is nothing."""
    return round(part / whole, 4) if whole else 0.0
