"""Text on a terminal: streamed answers and search hits, with the matched part highlighted."""

import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TextIO

from pipeline.text.terminal import strip_control_chars
from search.hits import Hit, Mode, Page

if TYPE_CHECKING:
    from bots.core import Evidence

# SGR: bold yellow, dim, off. https://no-color.org asks to leave them out where NO_COLOR is set.
MATCH, DIM, OFF = "\x1b[1;33m", "\x1b[2m", "\x1b[0m"
HEADS = {"vector": "似ている学習データ（ベクトル）", "ngram": "同じ言い回しの学習データ（n-gram）"}
NOTHING = {"vector": "似ている学習データは見つかりませんでした。", "ngram": "同じ言い回しは学習データにありません。"}
# A passage is shown whole up to this many characters, else what stands around its first match.
SHOWN_CHARACTERS = 240
Spans = tuple[tuple[int, int], ...]


def excerpt(text: str, spans: Spans, limit: int = SHOWN_CHARACTERS) -> tuple[str, Spans]:
    """At most `limit` characters of a passage around its first span, and the spans in them.

    Left-out ends become `…`.
    """
    if len(text) <= limit:
        return text, spans
    begin, end = spans[0] if spans else (0, 0)
    start = max(0, min(begin - max(0, limit - (end - begin)) // 2, len(text) - limit))
    stop = start + limit
    before, after = "…" if start else "", "…" if stop < len(text) else ""
    shift = len(before) - start
    kept = tuple((max(a, start) + shift, min(b, stop) + shift) for a, b in spans if a < stop and b > start)
    return before + text[start:stop] + after, kept


class Screen:
    """A person's terminal, or a file that takes its place."""

    def __init__(self, out: TextIO, *, colour: bool | None = None) -> None:
        self._out = out
        self.colour = out.isatty() and "NO_COLOR" not in os.environ if colour is None else colour

    def line(self, text: str = "") -> None:
        """One line."""
        print(text, file=self._out, flush=True)

    def stream(self, head: str, pieces: Iterable[str], heard: list[str]) -> None:
        """Write an answer as it comes, and keep its pieces in `heard`, also when an error or Ctrl-C cuts it off."""
        print(head, end="", file=self._out, flush=True)
        try:
            for piece in pieces:
                heard.append(piece)
                print(strip_control_chars(piece), end="", file=self._out, flush=True)
        finally:
            self.line()

    def evidence(self, found: "Evidence") -> None:
        """Both searches' hits."""
        for mode, page in found.pages():
            self.page(mode, page)

    def page(self, mode: Mode, page: Page) -> None:
        """One page of hits below its heading."""
        self.line()
        self.line(f"── {HEADS[mode]} {page.total:,} 件")
        if not page.hits:
            self.line(f"  {NOTHING[mode]}")
        for hit in page.hits:
            self.hit(hit)

    def hit(self, hit: Hit) -> None:
        """Label, where it comes from, and the text with what matched."""
        self.line(hit.label())
        self.line(f"  {self._dim(strip_control_chars(' '.join(w for w in (hit.title, hit.url) if w)))}")
        text, spans = excerpt(hit.text, hit.spans)
        for line in self._marked(strip_control_chars(text), spans).splitlines():
            if line.strip():
                self.line(f"  {line}")

    def _dim(self, text: str) -> str:
        return f"{DIM}{text}{OFF}" if self.colour else text

    def _marked(self, text: str, spans: Sequence[tuple[int, int]]) -> str:
        if not self.colour:
            return text
        parts, last = [], 0
        for begin, end in spans:
            lines = text[begin:end].split("\n")  # every line carries its own colour
            parts += [text[last:begin], "\n".join(f"{MATCH}{line}{OFF}" if line else "" for line in lines)]
            last = end
        return "".join([*parts, text[last:]])


def stdout() -> Screen:
    """The screen of this process."""
    return Screen(sys.stdout)
