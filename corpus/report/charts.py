"""Pictures of the corpus report: bars and histograms as inline SVG, drawn here so that the page needs nothing else.

Colours come from the page's style sheet by class (`k0` … `k4`), so that they follow the reader's light or dark scheme.
Every picture has a title for screen readers, and every bar its own.
"""

import math
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

# Pixels of the drawing; the page scales it to its column.
WIDTH, BAR, GAP, TEXT = 720, 16, 8, 12
# Width of a wide and of a narrow character at TEXT pixels, in the fonts of the page's style sheet.
_WIDE, _NARROW = 12.0, 6.7
# Room for labels before bars, and for the figures after them.
_LABEL, _FIGURE = 190, 170
# Below such a part of the tallest bar a bar is three pixels or less, and the axis of counts becomes logarithmic.
_TALL = 50
_PLOT_HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 150, 56, 12, 24, 38


@dataclass(frozen=True)
class Bar:
    """A horizontal bar of one or more parts."""

    label: str
    parts: tuple[float, ...]
    figure: str  # what is after it


@dataclass(frozen=True)
class Histogram:
    """Counts between edges; what lies beyond the threshold is coloured as dropped."""

    edges: np.ndarray  # (B + 1,) ascending, in the unit of the axis (log10 where `log`)
    counts: tuple[np.ndarray, ...]  # each (B,), stacked
    names: tuple[str, ...]  # one a layer
    log: bool = False
    threshold: float | None = None  # in the unit of the values
    beyond: str = ""  # "left" or "right": on which side of the threshold documents fall


def width(text: str) -> float:
    """Pixels that a text takes, by the width of its characters."""
    return sum(_WIDE if unicodedata.east_asian_width(character) in "WFA" else _NARROW for character in text)


def shorten(text: str, room: float) -> str:
    """A text cut to fit into so many pixels."""
    if width(text) <= room:
        return text
    cut, used = [], _WIDE
    for character in text:
        used += width(character)
        if used > room:
            break
        cut.append(character)
    return "".join(cut) + "…"


def short(number: float) -> str:
    """1234567 -> '1.23M'; at most three significant digits for axes."""
    if number == 0:
        return "0"
    size = abs(number)
    for limit, mark in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size >= limit:
            return f"{number / (1e3 if mark == 'k' else limit):.3g}{mark}"
    return f"{number:.3g}" if size < 1000 else f"{number:.0f}"


def bars(title: str, rows: Sequence[Bar], names: Sequence[str] = (), *, first_class: int = 0) -> str:
    """Horizontal bars on a common scale; parts of a bar lie one after another.

    Args:
        names: what the parts are, for the legend.
        first_class: colour of the first part.
    """
    most = max((sum(row.parts) for row in rows), default=0) or 1
    top = 26 if names else 4
    height = top + len(rows) * (BAR + GAP)
    room = WIDTH - _LABEL - _FIGURE
    out = [_legend(names, first_class)] if names else []
    for index, row in enumerate(rows):
        y, x = top + index * (BAR + GAP), float(_LABEL)
        base = y + BAR - 4
        out.append(f"<g><title>{_text(f'{row.label}: {row.figure}')}</title>")
        out.append(f'<text x="{_LABEL - 8}" y="{base}" text-anchor="end">{_text(shorten(row.label, _LABEL - 12))}</text>')
        out.append(f'<rect class="track" x="{_LABEL}" y="{y}" width="{room}" height="{BAR}" rx="2"/>')
        for part, value in enumerate(row.parts):
            size = room * value / most
            if value > 0:
                size = max(size, 1.0)  # what is there can be seen
                out.append(
                    f'<rect class="k{first_class + part}" x="{x:.1f}" y="{y}" width="{size:.1f}" height="{BAR}" rx="2"/>'
                )
            x += size
        out.append(f'<text class="figure" x="{WIDTH - _FIGURE + 8}" y="{base}">{_text(row.figure)}</text></g>')
    return _svg(title, height, out)


def histogram(title: str, data: Histogram) -> str:
    """A histogram with axes, its threshold as a line, and what lies beyond it in another colour."""
    total = np.sum(data.counts, axis=0)
    most, low, high = max(float(total.max(initial=0)), 1.0), float(data.edges[0]), float(data.edges[-1])
    plot = WIDTH - _LEFT - _RIGHT
    height = _TOP + _PLOT_HEIGHT + _BOTTOM
    floor = _TOP + _PLOT_HEIGHT

    def at(value: float) -> float:
        return _LEFT + plot * (value - low) / ((high - low) or 1.0)

    limit = None if data.threshold is None else _axis(data.threshold, data.log)
    inside = limit is not None and low <= limit <= high
    tall = _is_tall(data.counts)

    def size_of(count: float) -> float:
        return _PLOT_HEIGHT * (math.log10(1 + count) / math.log10(1 + most) if tall else count / most)

    out = _count_axis(most, floor, size_of, tall)
    for index, count in enumerate(total.tolist()):
        if not count:
            continue
        left, right = float(data.edges[index]), float(data.edges[index + 1])
        fails = inside and limit is not None and _is_beyond((left + right) / 2, limit, data.beyond)
        label = f"{short(_back(left, data.log))} – {short(_back(right, data.log))}: {int(count):,}"
        out.append(f"<g><title>{_text(label)}</title>")
        y = float(floor)
        for layer, counts in enumerate(data.counts):
            size = size_of(float(counts[index]))
            y -= size
            if size > 0:
                shown = max(size, 0.7)
                box = f'x="{at(left):.1f}" y="{y + size - shown:.1f}" width="{max(at(right) - at(left) - 0.6, 0.6):.1f}"'
                out.append(f'<rect class="{"k1" if fails else f"k{layer}"}" {box} height="{shown:.1f}"/>')
        out.append("</g>")
    out += _value_axis(low, high, data.log, at, floor)
    if inside and limit is not None and data.threshold is not None:
        x = at(limit)
        anchor, shift = ("end", -5) if x > WIDTH / 2 else ("start", 5)
        out.append(f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 12}" y2="{floor}"/>')
        out.append(f'<text x="{x + shift:.1f}" y="{_TOP - 4}" text-anchor="{anchor}">しきい値 {data.threshold:g}</text>')
    if len(data.names) > 1:
        out.append(_legend(data.names, 0))
    return _svg(title, height, out)


def edges(low: float, high: float, threshold: float | None, *, log: bool, upper: bool, bins: int = 60) -> np.ndarray:
    """Edges of a histogram, one of which is the threshold, so that no bin mixes what passes and what fails.

    Args:
        low: least value; `high`: greatest.
        upper: the threshold itself belongs to the bin below it ("most"), not above.
    """
    if log:
        low, high = _axis(low, True), _axis(high, True)
        threshold = None if threshold is None else _axis(threshold, True)
    if high <= low:
        high = low + 1.0
    if threshold is None or not low < threshold < high:
        return np.linspace(low, high, bins + 1)
    below = min(max(round(bins * (threshold - low) / (high - low)), 1), bins - 1)
    cut = np.nextafter(threshold, np.inf) if upper else threshold
    return np.concatenate([np.linspace(low, cut, below + 1)[:-1], np.linspace(cut, high, bins - below + 1)])


def on_axis(values: np.ndarray, *, log: bool) -> np.ndarray:
    """Values as a histogram's axis counts them: themselves, or log10 with everything below 1 at 0."""
    return np.log10(np.maximum(values, 1.0)) if log else values


def _axis(value: float, log: bool) -> float:
    return math.log10(max(value, 1.0)) if log else value


def _back(value: float, log: bool) -> float:
    return 10**value if log else value


def _is_beyond(value: float, limit: float, beyond: str) -> bool:
    return value < limit if beyond == "left" else value > limit if beyond == "right" else False


def _is_tall(counts: Sequence[np.ndarray]) -> bool:
    """Whether a third of the bars could hardly be seen on a linear axis of counts; never where layers are stacked."""
    seen = np.sort(counts[0][counts[0] > 0])
    return len(counts) == 1 and len(seen) > 1 and float(seen[-1]) > _TALL * float(seen[(len(seen) - 1) // 3])


def _count_axis(most: float, floor: int, size_of: Callable[[float], float], tall: bool) -> list[str]:
    """Grid lines and counts: at a round step, or at powers of ten."""
    if tall:
        steps = [0.0, *(10.0**power for power in range(int(math.log10(most)) + 1))]
    else:
        step = _round_step(most / 3)
        steps = [step * i for i in range(int(most / step) + 1)]
    out = []
    for value in steps:
        y = floor - size_of(value)
        out.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        if not tall or size_of(value) - size_of(value / 10) > TEXT or value >= most / 10:
            out.append(f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{short(value)}</text>')
    return out


def _value_axis(low: float, high: float, log: bool, at: Callable[[float], float], floor: int) -> list[str]:
    """Values below the bars: powers of ten on a logarithmic axis, a round step elsewhere."""
    if log:
        indices = [float(power) for power in range(math.ceil(low), math.floor(high) + 1)] or [low]
    else:
        step = _round_step((high - low) / 6)
        indices = [round(low / step) * step + step * i for i in range(9)]
        indices = [index for index in indices if low - 1e-12 <= index <= high + 1e-12]
    out = [f'<line class="axis" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{floor}" y2="{floor}"/>']
    for index in indices:
        x = at(index)
        out.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{floor}" y2="{floor + 4}"/>')
        value = _back(index, log)
        name = "≤1" if log and index == 0 else short(0.0 if abs(value) < 1e-12 else value)
        out.append(f'<text class="tick" x="{x:.1f}" y="{floor + 18}" text-anchor="middle">{name}</text>')
    return out


def _round_step(rough: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    if rough <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))


def _legend(names: Sequence[str], first: int) -> str:
    out, x = [], float(_LEFT)
    for index, name in enumerate(names):
        out.append(f'<rect class="k{first + index}" x="{x:.1f}" y="4" width="12" height="12" rx="2"/>')
        out.append(f'<text x="{x + 17:.1f}" y="14">{_text(name)}</text>')
        x += 17 + width(name) + 20
    return "".join(out)


def _svg(title: str, height: int, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {WIDTH} {height}" font-size="{TEXT}"'
    return f'{head} aria-label="{_text(title)}"><title>{_text(title)}</title>{"".join(parts)}</svg>'


def printable(text: str) -> str:
    """Without the control characters that XML forbids."""
    return "".join(c if c >= " " and not 0xD800 <= ord(c) <= 0xDFFF and c not in "\ufffe\uffff\x7f" else "\ufffd" for c in text)


def _text(text: str) -> str:
    return escape(printable(text))
