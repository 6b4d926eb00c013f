"""What of an evaluation benchmark stands in the training data, and which checkpoint had read it.

Exact: a text of the benchmark stands there whole. Near: characters of it that lie in a verbatim stretch of some length or
more are a large share of it, wherever the stretches stand. A checkpoint had read what an iteration up to its own had read.

Source of the method: GPT-3 (arXiv:2005.14165 §C, 13-grams) and PaLM (arXiv:2204.02311 §8: a share of the n-grams); over
characters, for Japanese has no spaces.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from pipeline.errors import BadInput, ConfigError
from search.benchmark_items import Item
from search.provenance.occurrences import Indexed, look, ranges
from search.provenance.trace import covered, maximal
from search.shard.texts import Texts

Verdict = Literal["exact", "near"]


@dataclass(frozen=True)
class ContaminationSettings:
    """What counts as contaminated."""

    fields: tuple[str, ...] = ()  # of the benchmark's records; (): every string
    # By chance, of the 17,702 different texts of JGLUE (JSQuAD, JCommonsenseQA, JSTS) in 20 million characters of Aozora Bunko:
    # 1 is near with stretches of 13 and a share of .6 (.65 is the most), 17 with 10, 5 with 12, none with 15. Of texts of which
    # 5 % of the characters were changed 70 % are near, 61 % with 15 (benchmarks/search/trace.py). PaLM takes .7 of 8 words.
    least: int = 13  # characters of a verbatim stretch
    share: float = 0.6  # of a text's characters that lie in such stretches: near
    # Shorter texts are looked for but not counted: 1 of 12 characters stands there by chance, none of 13.
    shortest: int = 13
    # Occurrences of a stretch whose iterations are looked up, the first ones of the corpus.
    looked: int = 10_000

    def __post_init__(self) -> None:
        if min(self.least, self.shortest, self.looked) < 1 or not 0 < self.share <= 1:
            raise BadInput(
                f"least = {self.least}, shortest = {self.shortest}, looked = {self.looked}, share = {self.share}: "
                "expected at least 1, and a share above 0 and at most 1"
            )


@dataclass(frozen=True)
class Checked:
    """One text of the benchmark."""

    item: str
    field: str
    text: str
    count: int  # occurrences of the whole text
    first: int | None  # iteration that read one of them first; None where none did
    share: float  # of its characters in stretches that stand in the training data, 1 where the whole text does
    longest: int  # characters of the longest stretch
    shares: tuple[float, ...]  # of each checkpoint: in stretches that it had read
    bounded: bool  # a stretch occurs too often for all of its occurrences: what is said of checkpoints are lower bounds

    def exact(self, checkpoint: int) -> bool:
        """Whether the checkpoint saved after so many iterations had read the whole text."""
        return self.first is not None and self.first <= checkpoint

    def as_dict(self) -> dict[str, Any]:
        """The text as JSON values."""
        return vars(self) | {
            "characters": len(self.text),
            "share": round(self.share, 6),
            "shares": [round(share, 6) for share in self.shares],
        }


@dataclass(frozen=True)
class Total:
    """Numbers of texts: those of one field, or all."""

    texts: int
    short: int  # too short to be counted in what follows
    exact: int
    near: int  # not exact
    read: tuple[tuple[int, int], ...]  # exact and near ones of each checkpoint

    def as_dict(self) -> dict[str, Any]:
        """The numbers as JSON values."""
        return vars(self) | {"read": [{"exact": exact, "near": near} for exact, near in self.read]}


@dataclass(frozen=True)
class Contamination:
    """What of a benchmark stands in the training data, and what was searched to find it."""

    benchmark: str
    checked: tuple[Checked, ...]  # in the order of the file
    checkpoints: tuple[int, ...]  # iterations, ascending
    settings: ContaminationSettings
    total_iterations: int
    searched_bytes: int
    index: str  # digest of what was searched

    def verdict(self, one: Checked, checkpoint: int | None = None) -> Verdict | None:
        """What a text is in the training data, or in what one of `checkpoints` had read of it.

        None for one that is neither, and for one that is too short to be counted.
        """
        if len(one.text) < self.settings.shortest:
            return None
        exact = one.count > 0 if checkpoint is None else one.exact(checkpoint)
        share = one.share if checkpoint is None else one.shares[self.checkpoints.index(checkpoint)]
        return "exact" if exact else "near" if share >= self.settings.share else None

    def total(self, field: str | None = None) -> Total:
        """Numbers of one field's texts, or of all."""
        rows = [one for one in self.checked if field in (None, one.field)]
        verdicts = [self.verdict(one) for one in rows]
        read = []
        for checkpoint in self.checkpoints:
            had = [self.verdict(one, checkpoint) for one in rows]
            read.append((had.count("exact"), had.count("near")))
        short = sum(len(one.text) < self.settings.shortest for one in rows)
        return Total(len(rows), short, verdicts.count("exact"), verdicts.count("near"), tuple(read))

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields of the texts, as they come."""
        return tuple(dict.fromkeys(one.field for one in self.checked))

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON values."""
        rows = [
            one.as_dict() | {"verdict": self.verdict(one), "read": [self.verdict(one, c) for c in self.checkpoints]}
            for one in self.checked
        ]
        return vars(self) | {
            "settings": vars(self.settings) | {"fields": list(self.settings.fields)},
            "checkpoints": list(self.checkpoints),
            "total": self.total().as_dict(),
            "by_field": {field: self.total(field).as_dict() for field in self.fields},
            "checked": rows,
        }


def contamination(
    searcher: Indexed,
    items: Sequence[Item],
    checkpoints: Sequence[int] = (),
    settings: ContaminationSettings | None = None,
    *,
    benchmark: str = "",
    done: Callable[[], None] = lambda: None,
) -> Contamination:
    """Look for every text of a benchmark; the same result for any number of shards.

    Args:
        items: as `read_items` gives them.
        checkpoints: iterations after which checkpoints were saved; the end of the training always is one.
        settings: ContaminationSettings() where left out.
        benchmark: its name.
        done: called after each text.
    Raises: ConfigError if a checkpoint is none of the training's iterations.
    """
    if outside := [c for c in checkpoints if not 1 <= c <= searcher.total]:
        raise ConfigError(f"checkpoints {outside}: expected iterations of 1 to {searcher.total:,}, those of the training")
    settings, texts = settings or ContaminationSettings(), searcher.texts
    ordered = tuple(sorted({*checkpoints, searcher.total}))
    check = partial(_check, texts, ranges(searcher.undone), ordered, settings)
    known: dict[str, Checked] = {}
    checked = []
    for item in items:
        if item.text not in known:
            known[item.text] = check(item)
        checked.append(replace(known[item.text], item=item.name, field=item.field))
        done()
    return Contamination(benchmark, tuple(checked), ordered, settings, searcher.total, texts.searched_bytes, texts.digest)


def _check(
    texts: Texts, undone: np.ndarray, checkpoints: Sequence[int], settings: ContaminationSettings, item: Item
) -> Checked:
    text, least = item.text, settings.least
    begins, lengths = texts.matches(text)
    ends = np.searchsorted(begins, begins + lengths)
    longest = int((ends - np.arange(len(begins))).max())
    stretches = maximal(begins, lengths, least=least)
    whole = look(texts, text.encode(), undone, settings.looked) if longest == len(text) else None
    # First reads of the `least` characters from each on: a stretch that stands there late may have parts that stand earlier.
    firsts = np.full(len(text), np.iinfo(np.int64).max)
    bounded = whole is not None and whole.looked < whole.count
    for begin in (begin for low, high in stretches for begin in range(low, high - least + 1)):
        seen = look(texts, text[begin : begin + least].encode(), undone, settings.looked)
        firsts[begin] = seen.first or firsts[begin]
        bounded |= seen.looked < seen.count
    shares = tuple(_covered(firsts <= checkpoint, least) / len(text) for checkpoint in checkpoints)
    if whole is not None:
        shares = tuple(
            1.0 if whole.first is not None and whole.first <= checkpoint else share
            for checkpoint, share in zip(checkpoints, shares, strict=True)
        )
    return Checked(
        item=item.name,
        field=item.field,
        text=text,
        count=whole.count if whole else 0,
        first=whole.first if whole else None,
        share=1.0 if whole else covered(stretches) / len(text),
        longest=longest,
        shares=shares,
        bounded=bounded,
    )


def _covered(begins: np.ndarray, least: int) -> int:
    """Characters in stretches of `least` that begin where the (characters,) bool array says."""
    deltas = np.zeros(len(begins) + least + 1, np.int64)
    where = np.flatnonzero(begins)
    deltas[where] += 1
    deltas[where + least] -= 1
    return int((np.cumsum(deltas) > 0).sum())
