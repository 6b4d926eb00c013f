"""Where in a document's text the rules see what they count, as spans of code points, and how such spans are shown."""

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from corpus.stats.text import LONG_SENTENCE
from pipeline.text.terminal import strip_control_chars

# Kind of a span -> what people read, and its colour on a terminal (SGR: foreground and the like).
LABELS = {
    "words": ("語", "1;31"),
    "benchmark": ("評価データ", "1;35"),
    "personal": ("個人情報", "1;33"),
    "repeated_paragraph": ("繰返し段落", "36"),
    "repeated_line": ("繰返し行", "36"),
    "ellipsis": ("言いさし", "34"),
    "long_sentence": ("長文", "4"),
}
# A sentence ends as `corpus.stats.measure` ends it: at these marks, at a full stop before white space, at the line's end.
_SENTENCE = re.compile(r"[^。．｡！？!?\n]*?(?:[。．｡！？!?]|\.(?=[ \u3000])|$)", re.MULTILINE)
_PARAGRAPHS = re.compile(r"\n[ \u3000]*\n")
_BREAKS_OFF = re.compile(r"(?:[…‥]|([.・。])\s*\1\s*\1)\s*$")
PLAIN = "\x1b[0m"


@dataclass(frozen=True)
class MarkedSpan:
    """A stretch of the text and why it is marked."""

    kind: str  # a key of LABELS
    begin: int
    end: int
    detail: str = ""

    @property
    def label(self) -> str:
        """What people read."""
        name = LABELS[self.kind][0]
        return f"{name}:{self.detail}" if self.detail else name


def text_spans(text: str) -> list[MarkedSpan]:
    """Repeated lines and paragraphs, lines that break off, long sentences."""
    matches = [*_repeated(text, _lines(text), "repeated_line"), *_repeated(text, _paragraphs(text), "repeated_paragraph")]
    matches += [MarkedSpan("ellipsis", begin, end) for begin, end in _lines(text) if _BREAKS_OFF.search(text[begin:end])]
    for match in _SENTENCE.finditer(text):
        if _visible(match[0]) > LONG_SENTENCE:
            matches.append(MarkedSpan("long_sentence", match.start(), match.end(), f"{_visible(match[0])}字"))
    return sorted(matches, key=lambda span: (span.begin, span.end, span.kind))


def _lines(text: str) -> list[tuple[int, int]]:
    """Lines that have a visible character."""
    matches, begin = [], 0
    for line in text.split("\n"):
        if line.strip():
            matches.append((begin, begin + len(line)))
        begin += len(line) + 1
    return matches


def _paragraphs(text: str) -> list[tuple[int, int]]:
    """Blocks between blank lines, where there is more than one line to them; a line alone is marked as a line."""
    matches, begin = [], 0
    for end in [*(match.start() for match in _PARAGRAPHS.finditer(text)), len(text)]:
        block = text[begin:end]
        left = begin + len(block) - len(block.lstrip())
        right = begin + len(block.rstrip())
        if "\n" in text[left:right]:
            matches.append((left, right))
        begin = end
    return matches


def _repeated(text: str, pieces: Iterable[tuple[int, int]], kind: str) -> list[MarkedSpan]:
    """Pieces equal, but for white space, to an earlier one."""
    seen: set[str] = set()
    matches = []
    for begin, end in pieces:
        key = "".join(text[begin:end].split())
        if key in seen:
            matches.append(MarkedSpan(kind, begin, end))
        seen.add(key)
    return matches


def _visible(text: str) -> int:
    return len("".join(text.split()))


def marked(text: str, spans: Sequence[MarkedSpan], *, colour: bool) -> str:
    """The text with every span marked: in colour, or as 【label｜…】 with a mark for every change of what applies.

    Overlapping spans share a mark, so marks never nest or cross.
    """
    cuts = sorted({0, len(text), *(span.begin for span in spans), *(span.end for span in spans)})
    begins: dict[int, list[MarkedSpan]] = {}
    for span in spans:
        if span.begin < span.end:
            begins.setdefault(span.begin, []).append(span)
    out: list[str] = []
    active: list[MarkedSpan] = []
    for begin, end in itertools.pairwise(cuts):
        active = [span for span in active if span.end > begin] + begins.get(begin, [])
        piece = strip_control_chars(text[begin:end])
        if not active:
            out.append(piece)
        elif colour:
            strongest = min(active, key=lambda span: list(LABELS).index(span.kind))
            code = LABELS[strongest.kind][1]
            out.append("\n".join(f"\x1b[{code}m{line}{PLAIN}" if line else "" for line in piece.split("\n")))
        else:
            labels = dict.fromkeys(strip_control_chars(span.label) for span in active)
            out.append(f"【{'+'.join(labels)}｜{piece}】")
    return "".join(out)


def legend(spans: Sequence[MarkedSpan], *, colour: bool) -> list[str]:
    """One line for each kind that occurs, with how often."""
    lines = []
    for kind, (name, code) in LABELS.items():
        mine = [span for span in spans if span.kind == kind]
        if mine:
            shown = f"\x1b[{code}m{name}{PLAIN}" if colour else name
            details: dict[str, int] = {}
            for span in mine:
                details[span.detail] = details.get(span.detail, 0) + 1
            named = "、".join(f"{d} {n}" for d, n in sorted(details.items())[:8] if d and kind != "long_sentence")
            lines.append(f"  {shown}: {len(mine):,} か所" + (f" ({named})" if named else ""))
    return lines
