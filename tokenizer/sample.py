"""Training text: sentences of the corpus, drawn per source; the same corpus gives the same text on every machine."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from pipeline.documents import read_documents
from pipeline.errors import BadInput, ConfigError

# A sentence goes into training whole up to here; SentencePiece's BPE trainer refuses positions above 65,535.
LINE_CHARACTERS = 4096
# No piece reaches over the end of a sentence: training never sees what follows it.
_SENTENCE_END = re.compile(r"(?<=[。！？])")


@dataclass
class Sample:
    """Sentences by source, in canonical document order, and how many characters they have."""

    sentences: dict[str, list[str]] = field(default_factory=dict)
    characters: Counter[str] = field(default_factory=Counter)

    def __iter__(self) -> Iterator[str]:
        for source in sorted(self.sentences):
            yield from self.sentences[source]


def draw(files: Sequence[Path], weights: Mapping[str, float], max_characters: int, seed: int) -> Sample:
    """Draw at most `max_characters` of the documents in `files`.

    Every line of a document is kept with its source's probability, by a generator seeded with `seed` and the
    document's id: neither the order of files nor the number of workers that wrote them matters to the choice.

    Args:
        weights: share of the characters each source gets, any scale; empty: as the corpus is.
    Raises: BadInput if there is no text; ConfigError if `weights` names a source that the corpus has not.
    """
    available = count_characters(files)
    budgets = budget(available, weights, max_characters)
    sample = Sample({source: [] for source, limit in budgets.items() if limit})
    for path in files:
        for row in read_documents(path, ("doc_id", "source", "text")):
            source = row["source"]
            if limit := budgets.get(source):
                _take(sample, source, row["text"], limit, limit / available[source], Random(f"{seed}/{row['doc_id']}"))
    if not sample.characters:
        raise BadInput(
            f"no line of text was drawn from {sum(available.values()):,} characters; raise [tokenizer] max_characters"
        )
    return sample


def count_characters(files: Sequence[Path]) -> dict[str, int]:
    """Characters of text per source."""
    counts: Counter[str] = Counter()
    for path in files:
        for row in read_documents(path, ("source", "text")):
            counts[row["source"]] += len(row["text"])
    return dict(sorted(counts.items()))


def budget(available: Mapping[str, int], weights: Mapping[str, float], max_characters: int) -> dict[str, int]:
    """Characters to draw from each source: its share of `max_characters`, never more than it has.

    Raises: BadInput if a source that should give text, or the whole corpus, has none; ConfigError on an unknown source.
    """
    if not sum(available.values()):
        raise BadInput(
            "the corpus has no text to train a tokenizer on; see what the corpus stage kept and why it dropped the rest"
        )
    for source, weight in weights.items():
        if source not in available:
            raise ConfigError(f"[tokenizer] weights: no source {source!r} in the corpus; it has {sorted(available)}")
        if weight and not available[source]:
            raise BadInput(
                f"[tokenizer] weights: source {source!r} has weight {weight} but no text; give it 0 or mend the source"
            )
    shares = dict(weights) or {source: float(count) for source, count in available.items()}
    whole = sum(shares.values())
    return {source: min(count, round(max_characters * shares.get(source, 0) / whole)) for source, count in available.items()}


def sentences(line: str) -> Iterator[str]:
    """A line cut after 。！？ and every LINE_CHARACTERS characters."""
    for sentence in _SENTENCE_END.split(line):
        for begin in range(0, len(sentence), LINE_CHARACTERS):
            yield sentence[begin : begin + LINE_CHARACTERS]


def _take(sample: Sample, source: str, text: str, limit: int, share: float, dice: Random) -> None:
    kept = sample.sentences[source]
    for line in text.split("\n"):
        if line and (share >= 1 or dice.random() < share):
            for sentence in sentences(line):
                if sample.characters[source] + len(sentence) > limit:
                    return
                kept.append(sentence)
                sample.characters[source] += len(sentence)
