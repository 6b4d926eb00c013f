"""What a search returns: plain values, light to import, the same for the terminal, Slack and JSON."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

Mode = Literal["ngram", "vector", "normalized"]
EVERY_MODE: tuple[Mode, ...] = get_args(Mode)
MODES: tuple[Mode, ...] = ("ngram", "vector")  # where none is named
MODE_NAMES: dict[Mode, str] = {"ngram": "n-gram", "vector": "ベクトル", "normalized": "n-gram (表記ゆれを含む)"}
# A label stays one line: a passage read in every epoch lists its first iterations only (`as_dict` has them all).
SHOWN_ITERATIONS = 3


@dataclass(frozen=True)
class Hit:
    """One passage of the training data that answers a query, and where it comes from."""

    rank: int  # 1-based over all pages
    mode: Mode
    source: str
    url: str
    title: str
    date: str
    doc_id: str
    text: str  # the passage, exactly as it is in the document
    spans: tuple[tuple[int, int], ...]  # [begin, end) character ranges of `text` to highlight, ascending, disjoint
    score: float  # higher is better; comparable within one mode only
    iterations: tuple[int, ...]  # ascending 1-based training iterations that read it; () where none has
    total_iterations: int
    discarded: tuple[int, ...] = ()  # read in these too, which left nothing in the weights: skipped, or rewound past

    def seen_by(self, checkpoint: int) -> bool:
        """Whether the model of that checkpoint, saved after so many iterations, had read it."""
        return bool(self.iterations) and self.iterations[0] <= checkpoint

    def label(self) -> str:
        """One line in Japanese: how it was found, its rank, its source and when it was read."""
        return " | ".join(
            (
                f"検索: {MODE_NAMES[self.mode]}",
                f"順位: {self.rank}",
                f"出典: {self.source}",
                f"イテレーション: {self._read()}",
            )
        )

    def marked(self, opening: str, closing: str) -> str:
        """`text` with every span between `opening` and `closing`."""
        parts, last = [], 0
        for begin, end in self.spans:
            parts += [self.text[last:begin], opening, self.text[begin:end], closing]
            last = end
        return "".join([*parts, self.text[last:]])

    def as_dict(self, checkpoint: int | None = None) -> dict[str, Any]:
        """The hit as JSON values; with a checkpoint also whether it had read the hit."""
        seen = {} if checkpoint is None else {"seen": self.seen_by(checkpoint)}
        return seen | {
            "rank": self.rank,
            "mode": self.mode,
            "source": self.source,
            "url": self.url,
            "title": self.title,
            "date": self.date,
            "doc_id": self.doc_id,
            "text": self.text,
            "spans": [list(span) for span in self.spans],
            "score": round(self.score, 6),
            "iterations": list(self.iterations),
            "discarded": list(self.discarded),
            "total_iterations": self.total_iterations,
        }

    def _read(self) -> str:
        if not self.iterations:
            return "未読"
        first = ", ".join(f"{i:,}" for i in self.iterations[:SHOWN_ITERATIONS])
        more = ", …" if len(self.iterations) > SHOWN_ITERATIONS else ""
        return f"{first}{more}/{self.total_iterations:,}"


@dataclass(frozen=True)
class DocumentRead:
    """A document of the index, and when training read any of it."""

    doc_id: str
    source: str
    url: str
    title: str
    date: str
    iterations: tuple[int, ...]
    discarded: tuple[int, ...]
    total_iterations: int


@dataclass(frozen=True)
class Page:
    """Some hits of a query, and what was searched to find them: an empty page is an answer too."""

    hits: tuple[Hit, ...]
    total: int  # hits that paging through all of them yields
    occurrences: int = 0  # n-gram: how often the whole query occurs, character for character; 0 for vectors
    searched_bytes: int = 0  # UTF-8 bytes of training text that were searched
    index: str = ""  # digest of the sealed index: with it, "not found" can be repeated

    def as_dict(self, checkpoint: int | None = None) -> dict[str, Any]:
        """The page as JSON values; with a checkpoint also whether it had read each hit."""
        return {
            "hits": [hit.as_dict(checkpoint) for hit in self.hits],
            "total": self.total,
            "occurrences": self.occurrences,
            "searched_bytes": self.searched_bytes,
            "index": self.index,
        }
