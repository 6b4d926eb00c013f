"""`make exposure`: how often training read a string, at the terminal, as a picture, as a page and as JSON."""

import argparse
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import cli
from pipeline.files import atomic_path, short_digest, write_json, write_text
from pipeline.progress import echo
from pipeline.text.terminal import strip_control_chars
from search.provenance.exposure import BUCKETS, Exposure, measure_exposure

JSON, PNG, HTML = "exposure.json", "exposure.png", "exposure.html"
TEMPLATE = Path(__file__).with_name("exposure.html.jinja")
# Rows of bars that fit a terminal.
SHOWN = 20
INCHES, DPI = (11.0, 7.0), 110
# Told apart by people who see few colours (Okabe and Ito, 2008); sources beyond these are one, in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_REST = "0.6"
_BAR = 40  # cells of the longest bar at the terminal


def list_facts(found: Exposure) -> dict[str, str]:
    """Japanese name -> figure, for the terminal and the page's head."""
    read = "未読" if found.first is None else f"{found.first:,}–{found.last:,}/{found.total_iterations:,}"
    result = {
        "学習データでの出現": f"{found.occurrences:,} か所、{found.documents:,} 文書",
        "読んだ回数": f"{found.total:,} 回",
        "イテレーション": read,
        "出典": "、".join(f"{name} {count:,}" for name, count in found.by_source.items()) or "なし",
        "読まれなかった分": f"{found.unread:,} 回",
    }
    if found.discarded_ranges:
        lost = sum(last - first + 1 for first, last in found.discarded_ranges)
        result["破棄したイテレーション"] = f"{lost:,} イテレーション (除いた読み込み {found.discarded:,} 回)"
    return result | {"検索した範囲": f"{found.searched_bytes:,} バイト、索引 {short_digest(found.index)}"}


def draw_figure(found: Exposure, title: str) -> Any:
    """The picture: reads by bucket and source, and their sums up to each iteration; discarded iterations in grey.

    Returns: a matplotlib Figure; its words are short and English, for its own font has no Japanese.
    """
    from matplotlib.figure import Figure

    result = Figure(figsize=INCHES, layout="constrained")
    bars, sums = result.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (3, 2)})
    result.suptitle(_to_ascii(title))
    reads_BS = np.array(found.reads, np.int64).reshape(len(found.reads), len(found.sources))
    edges = np.array([0, *(found.bounds(bucket)[1] for bucket in range(len(reads_BS)))])
    below = np.zeros(len(reads_BS), np.int64)
    for name, colour, values in _colour_sources(found.sources, reads_BS):
        bars.bar(edges[:-1], values, np.diff(edges), below, align="edge", color=colour, label=name, linewidth=0)
        sums.plot(edges, np.cumsum([0, *values]), color=colour, linewidth=1.4)
        below = below + values
    bars.set_ylabel(f"reads per {found.width:,} iterations")
    sums.set_ylabel("reads so far")
    sums.set_xlabel("iteration")
    sums.set_xlim(0, found.total_iterations)
    for axes in (bars, sums):
        axes.grid(alpha=0.25)
        axes.set_ylim(bottom=0)
        for first, last in found.discarded_ranges:
            axes.axvspan(first - 1, last, color=_REST, alpha=0.3, linewidth=0)
    if found.sources:
        bars.legend(loc="upper right", fontsize="small")
    return result


def _colour_sources(sources: Sequence[str], reads_BS: np.ndarray) -> list[tuple[str, str, np.ndarray]]:
    """Label, colour and reads by bucket of each source; those without a colour of their own together."""
    rows = [(_to_ascii(name), colour, reads_BS[:, n]) for n, (name, colour) in enumerate(zip(sources, COLOURS, strict=False))]
    rest = len(sources) - len(COLOURS)
    return [*rows, (f"{rest} more", _REST, reads_BS[:, len(COLOURS) :].sum(axis=1))] if rest > 0 else rows


def _to_ascii(name: str) -> str:
    """A name as matplotlib's font can write it, without its mathematics; a leading "_" would hide it."""
    result = name.encode("ascii", "backslashreplace").decode().replace("$", r"\$")
    return f" {result}" if result.startswith("_") else result


def render_page(found: Exposure, name: str, picture: Any) -> str:
    """The page, with the picture inside; it needs nothing else."""
    import jinja2
    from matplotlib import rc_context

    svg = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "exposure"}):  # the same figures give the same bytes
        picture.savefig(svg, format="svg", metadata={"Date": None})
    drawn = svg.getvalue()
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text("utf-8"))
    return template.render(name=name, svg=drawn[drawn.index("<svg") :], found=found, facts=list_facts(found))


def write_files(found: Exposure, name: str, folder: Path) -> None:
    """Write exposure.json, .png and .html; `name` is the run's."""
    folder.mkdir(parents=True, exist_ok=True)
    picture = draw_figure(found, name)
    write_json(folder / JSON, found.as_dict())
    with atomic_path(folder / PNG) as fresh:
        picture.savefig(fresh, format="png", dpi=DPI, metadata={"Software": None})
    write_text(folder / HTML, render_page(found, name, picture))


def render_text(found: Exposure) -> str:
    """The exposure as people read it at the terminal: figures, then a bar for each of SHOWN stretches of iterations."""
    lines = [f"「{strip_control_chars(found.text)}」を学習が読んだ回数"]
    lines += [f"{name}: {strip_control_chars(value)}" for name, value in list_facts(found).items()]
    joined = -(-len(found.reads) // SHOWN)
    rows = [
        (
            found.bounds(begin)[0],
            found.bounds(min(begin + joined, len(found.reads)) - 1)[1],
            sum(map(sum, found.reads[begin : begin + joined])),
        )
        for begin in range(0, len(found.reads), joined)
    ]
    most, wide = max(count for _, _, count in rows), len(f"{found.total_iterations:,}")
    for first, last, count in rows:
        bar = "█" * -(-_BAR * count // max(most, 1))
        lines.append(f"{first:>{wide},}–{last:>{wide},}  {count:>{len(f'{most:,}')},}  {bar}".rstrip())
    return "\n".join([*lines, ""])


def main(argv: Sequence[str] | None = None) -> None:
    """Print the exposure of one string, and draw it where a folder is given."""
    arguments = _parser().parse_args(argv)
    run = cli.open_run(arguments)
    if arguments.dry_run:
        echo(f"読んだ回数: {run.root('index')} で数えます")
        return
    from search.searcher import Searcher

    result = measure_exposure(Searcher.open(run), arguments.query, buckets=arguments.buckets)
    if arguments.out:
        write_files(result, run.name, arguments.out)
    if arguments.json:
        print(json.dumps(result.as_dict(), ensure_ascii=False, indent=1))
        return
    print(render_text(result))
    if arguments.out:
        echo(f"図: {arguments.out / PNG}  {arguments.out / HTML}")


def _parser() -> argparse.ArgumentParser:
    result = cli.stage_parser("search.commands.exposure", (__doc__ or "").split("\n", 1)[0])
    result.add_argument("--query", required=True, help="string whose reads are counted")
    result.add_argument("--buckets", type=int, default=BUCKETS, help="stretches that the iterations are cut into")
    result.add_argument("--out", type=Path, help=f"folder to write {JSON}, {PNG} and {HTML} to")
    result.add_argument("--json", action="store_true", help="print JSON")
    return result


if __name__ == "__main__":
    cli.stage_main(main)
