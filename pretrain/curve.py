"""Draw the curves of a training, sealed or still running: curve.png and curve.html beside its events.jsonl.

Rows that a killed process wrote after its last checkpoint are left out: the iterations came again.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import cli
from pipeline.errors import BadInput, MissingInput
from pipeline.files import atomic_path, write_text
from pipeline.progress import echo, format_duration
from pipeline.reading_order import IterationRanges
from pretrain.train.metrics import EVENTS

PNG, HTML, TEMPLATE = "curve.png", "curve.html", Path(__file__).parent / "curve.html.jinja"
SERIES = ("loss", "lr", "grad", "tokens/s/gpu", "tflops", "mfu", "memory_gib", "tokens")
FIGURES = (
    ("tokens/s/gpu", "トークン/秒/GPU (中央値)", ",.0f"),
    ("tflops", "TFLOP/s/GPU (中央値)", ".4g"),
    ("mfu", "MFU (中央値)", ".1%"),
    ("memory_gib", "メモリ (最大、GiB)", ".1f"),
)
# Points of a drawn line: about one a pixel of the picture's width.
POINTS = 800
INCHES, DPI = (11.0, 13.0), 110
# Told apart by people who see few colours (Okabe and Ito, 2008); black is the training's own.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


@dataclass
class History:
    """What the events say of the iterations that count."""

    total: int = 0  # iterations of the whole run
    rows: dict[int, dict[str, float]] = field(default_factory=dict)  # iteration -> SERIES, as far as they were finite
    times: dict[int, float] = field(default_factory=dict)  # iteration -> seconds since the epoch
    valid: dict[int, dict[str, dict[str, float]]] = field(default_factory=dict)  # iteration -> source -> score
    skipped: dict[int, str] = field(default_factory=dict)  # iteration -> why
    rewinds: dict[int, int] = field(default_factory=dict)  # iteration -> the one whose weights it went back to
    resumed: list[int] = field(default_factory=list)  # iterations after which a process went on
    torn_lines: int = 0  # lines that are none

    def add(self, row: dict[str, Any]) -> None:
        """One row of events.jsonl, in their order."""
        if "resumed_at" in row:
            self._resume_after(row["resumed_at"])
        elif "skipped" in row:
            self.skipped[row["skipped"]] = row["why"]
        elif "rewound" in row:
            self.rewinds[row["rewound"]] = row["to"]
        elif "valid" in row:
            self.valid[row["iteration"]] = row["valid"]
        elif "lr" in row:
            if row["done"] in self.rows:  # the row that said so was torn
                self._resume_after(row["done"] - 1)
            self.total, self.times[row["done"]] = row["total"], row["time"]
            self.rows[row["done"]] = {name: row[name] for name in SERIES if name in row}

    @property
    def discarded(self) -> IterationRanges:
        """Iterations that a rewind undid."""
        return tuple((to + 1, at) for at, to in sorted(self.rewinds.items()))

    def series(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """(iterations, values), both (N,) ascending, of the iterations that have that number."""
        found = sorted((iteration, row[name]) for iteration, row in self.rows.items() if name in row)
        return np.array([i for i, _ in found], np.int64), np.array([value for _, value in found], np.float64)

    def sources(self) -> list[str]:
        """Names of the validation's rows, "total" last."""
        names = {name for scores in self.valid.values() for name in scores}
        return sorted(names, key=lambda name: (name == "total", name))

    def _resume_after(self, iteration: int) -> None:
        self.resumed += [iteration] if iteration else []
        for kept in (self.rows, self.times, self.valid, self.skipped, self.rewinds):
            for late in [i for i in kept if i > iteration]:
                del kept[late]  # pyright: ignore[reportArgumentType] - one kind of key in all of them


def read_history(path: Path) -> History:
    """The history in an events.jsonl; lines that a killed process left unfinished are counted.

    Raises: MissingInput if there is none; BadInput if no iteration is in it.
    """
    if not path.is_file():
        raise MissingInput(f"{path}: no such file; start the training with `make pretrain`")
    history = History()
    for row in _rows(path, history):
        history.add(row)
    if not history.rows:
        raise BadInput(f"{path}: no iteration of a training is in it yet; try again when the first is done")
    return history


def _rows(path: Path, history: History) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if isinstance(row, dict):
                yield row
            else:
                history.torn_lines += 1


def bin_means(at_N: np.ndarray, values_N: np.ndarray, points: int = POINTS) -> tuple[np.ndarray, ...]:
    """Means of consecutive values, at most `points` of them: (places, means, lowest, highest), each (P,)."""
    edges = np.linspace(0, len(at_N), min(points, len(at_N)) + 1).astype(np.int64)[:-1]
    if not len(edges):
        return at_N.astype(np.float64), values_N, values_N, values_N
    sizes = np.diff([*edges, len(at_N)])
    mean = np.add.reduceat(values_N, edges) / sizes
    return (
        np.add.reduceat(at_N, edges) / sizes,
        mean,
        np.minimum.reduceat(values_N, edges),
        np.maximum.reduceat(values_N, edges),
    )


def draw_figure(history: History, title: str) -> Any:
    """The picture: loss, bits per byte, learning rate and gradient, speed; discarded iterations in grey.

    Returns: a matplotlib Figure; its words are short and English, for its own font has no Japanese.
    """
    from matplotlib.figure import Figure

    made = Figure(figsize=INCHES, layout="constrained")
    loss, bits, rate, speed = made.subplots(4, 1, sharex=True, gridspec_kw={"height_ratios": (3, 2, 1.4, 1.2)})
    made.suptitle(title)
    _draw(loss, history, "loss", "black", "train")
    for name, colour in _source_colours(history):
        places = sorted(history.valid)
        for axes, key in ((loss, "loss"), (bits, "bits_per_byte")):
            values = [history.valid[i].get(name, {}).get(key, math.nan) for i in places]
            axes.plot(places, values, marker=".", color=colour, label=name, linewidth=1.2)
    _draw(rate, history, "lr", COLOURS[0], "lr")
    norms = rate.twinx()
    _draw(norms, history, "grad", COLOURS[1], "grad norm")
    norms.set_yscale("log")
    _draw(speed, history, "tokens/s/gpu", COLOURS[2], "tokens/s/GPU")
    speed.set_ylim(bottom=0)
    for axes, label in ((loss, "loss, nats/token"), (bits, "held out, bits/byte"), (rate, "lr"), (speed, "tokens/s/GPU")):
        axes.set_ylabel(label)
        axes.grid(alpha=0.25)
        for first, last in history.discarded:
            axes.axvspan(first, last, color="0.6", alpha=0.3, linewidth=0)
    norms.set_ylabel("grad norm", color=COLOURS[1])
    rate.yaxis.label.set_color(COLOURS[0])
    for axes in (loss, bits):
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="upper right", ncols=2, fontsize="small")
    for iteration in history.skipped:
        loss.axvline(iteration, color=COLOURS[1], linewidth=0.8, linestyle=":")
    speed.set_xlabel("iteration")
    return made


def _source_colours(history: History) -> list[tuple[str, str]]:
    """Each validation source and its colour; the total in grey."""
    names = history.sources()
    return [(n, "0.4" if n == "total" else COLOURS[place % len(COLOURS)]) for place, n in enumerate(names)]


def _draw(axes: Any, history: History, name: str, colour: str, label: str) -> None:
    places, mean, low, high = bin_means(*history.series(name))
    axes.plot(places, mean, color=colour, label=label, linewidth=1.2)
    if len(history.rows) > len(places):
        axes.fill_between(places, low, high, color=colour, alpha=0.18, linewidth=0)


def render_page(history: History, name: str, picture: Any) -> str:
    """The page, with the picture inside; it needs nothing else."""
    import io

    import jinja2
    from matplotlib import rc_context

    svg = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "curve"}):  # the same events give the same bytes
        picture.savefig(svg, format="svg", metadata={"Date": None})
    drawn = svg.getvalue()
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text("utf-8"))
    return template.render(name=name, svg=drawn[drawn.index("<svg") :], history=history, facts=summarize(history))


def summarize(history: History) -> dict[str, str]:
    """Japanese name -> figure, for the terminal and the page's head."""
    last = max(history.rows)
    row, found = history.rows[last], {"反復": f"{last:,} / {history.total:,}"}
    if "tokens" in row:
        found["トークン"] = f"{row['tokens']:,}"
    if "loss" in row:
        found["損失"] = f"{row['loss']:.4f}"
    if history.valid:
        found["検証 bits/byte"] = f"{history.valid[max(history.valid)]['total']['bits_per_byte']:.4f}"
    for series, label, form in FIGURES:
        values = history.series(series)[1]
        if len(values):
            found[label] = format(float(values.max() if series == "memory_gib" else np.median(values)), form)
    seconds = sum(_steps(history))
    found["学習時間"] = format_duration(seconds)
    found["中断・再開"] = f"{len(history.resumed)} 回"
    found["更新しなかった反復"] = f"{len(history.skipped)} 回、巻き戻し {len(history.rewinds)} 回"
    return found


def _steps(history: History) -> Iterator[float]:
    """Seconds from each iteration to the next of the same process: between two processes nothing was trained."""
    breaks = set(history.resumed)
    return (history.times[b] - history.times[a] for a, b in pairwise(sorted(history.times)) if a not in breaks)


def main(argv: Sequence[str] | None = None) -> None:
    """Draw, and say where the pictures are."""
    run = cli.open_run(cli.run_parser("pretrain.curve", __doc__ or "").parse_args(argv))
    root = run.root("pretrain")
    history = read_history(root / EVENTS)
    picture = draw_figure(history, run.name)
    with atomic_path(root / PNG) as fresh:
        picture.savefig(fresh, format="png", dpi=DPI, metadata={"Software": None})
    write_text(root / HTML, render_page(history, run.name, picture))
    for name, value in summarize(history).items():
        echo(f"{name}: {value}")
    if history.torn_lines:
        echo(f"{root / EVENTS}: 書きかけの {history.torn_lines} 行は読み飛ばしました。")
    echo(f"学習曲線: {root / PNG}  {root / HTML}")


if __name__ == "__main__":
    cli.stage_main(main)
