"""`make contamination`: which texts of a benchmark each checkpoint had read; a table in Japanese, or JSON."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from pipeline import cli
from pipeline.errors import ConfigError
from pipeline.files import short_digest
from pipeline.progress import Progress, echo
from pipeline.runfile import RunFile
from pipeline.text.benchmark_files import read_passages
from pipeline.text.benchmark_match import MatchSettings
from pipeline.text.terminal import display_width, strip_control_chars
from search.provenance.contamination import Contamination, ItemReport, Total, find_contamination

# Characters of a text that are listed.
_SHOWN = 40


def render(found: Contamination, *, limit: int) -> str:
    """The table, up to `limit` contaminated texts, exact ones first, and what was searched."""
    names = (*found.fields, None) if len(found.fields) > 1 else (None,)
    heads = ["項目", "文", "短い", "完全一致", "近似", *(f"{c:,} まで" for c in found.checkpoints)]
    rows = [heads, *([strip_control_chars(name) if name else "全体", *_format_numbers(found.total(name))] for name in names)]
    listed = [(verdict, item) for item in found.items if (verdict := found.verdict(item))]
    listed.sort(key=lambda row: (row[0] != "exact", -row[1].share))
    title = f"評価データ {strip_control_chars(found.benchmark)} のうち学習データにある文".replace("  ", " ")
    lines = [title, *_align_columns(rows)]
    lines += ["(「まで」の列は、そのイテレーションのチェックポイントが読んでいた 完全一致+近似)", ""]
    lines += [_render_item(found, item) for _, item in listed[:limit]]
    lines += [f"… ほか {len(listed) - limit:,} 文 (--limit で増やせます、--json は全部)"] if len(listed) > limit else []
    return "\n".join([*lines, *([""] if listed else []), _render_summary(found), ""])


def _format_numbers(total: Total) -> list[str]:
    numbers = [f"{number:,}" for number in (total.texts, total.short, total.exact, total.near)]
    return numbers + [f"{exact:,}+{near:,}" for exact, near in total.read]


def _align_columns(rows: list[list[str]]) -> list[str]:
    widths = [max(map(display_width, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(_pad(cell, width, left=not n) for n, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]


def _pad(text: str, width: int, *, left: bool) -> str:
    space = " " * (width - display_width(text))
    return text + space if left else space + text


def _render_item(found: Contamination, item: ItemReport) -> str:
    text = strip_control_chars(item.text).replace("\n", "⏎").replace("\t", " ")
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    if found.verdict(item) == "exact":
        read = "未読" if item.first is None else f"{item.first:,}/{found.total_iterations:,} までに既読"
        what = f"完全一致 {item.count:,} か所、{item.documents:,} 文書、{read}"
    else:
        read = next((c for c in found.checkpoints if found.verdict(item, c)), None)
        when = "未読" if read is None else f"{read:,} までに既読"
        what = f"近似 {item.share:.0%}、{item.documents:,} 文書、{when}"
    return f"{strip_control_chars(item.item)} {strip_control_chars(item.field)}: {what}  「{shown}」"


def _render_summary(found: Contamination) -> str:
    settings, total = found.settings, found.total()
    rule = (
        f"{settings.shortest} 文字以上の文、{settings.ngram} 文字の並びの {settings.min_share:.0%} 以上が一つの文書にあれば近似"
    )
    hit = (
        f"{total.exact + total.near:,}/{total.texts - total.short:,} 文"
        if total.texts > total.short
        else "数える文はありません"
    )
    return f"汚染検査: {hit} ({rule}、{found.searched_bytes:,} バイトの学習データ、索引 {short_digest(found.index)})"


def list_checkpoints(run: RunFile) -> list[int]:
    """Iterations of the checkpoints that a run has kept."""
    folders = (run.root("pretrain") / "checkpoints").glob("iter_*")
    return sorted(int(number) for path in folders if (number := path.name.removeprefix("iter_")).isdecimal())


def main(argv: Sequence[str] | None = None) -> None:
    """Print what of one benchmark was read."""
    arguments = _parser().parse_args(argv)
    run = cli.open_run(arguments)
    settings = _read_settings(arguments)
    if arguments.dry_run:
        echo(f"汚染検査: {arguments.bench} の文を {run.root('index')} で探します")
        return
    passages = read_passages(arguments.bench, tuple(_split_words(arguments.fields)))
    from search.searcher import Searcher

    searcher = Searcher.open(run)
    checkpoints = _parse_numbers(arguments.checkpoints) if arguments.checkpoints else list_checkpoints(run)
    documents = sum(shard.documents for shard in searcher.texts.shards)
    with Progress("汚染検査", documents, "文書") as progress:
        result = find_contamination(
            searcher, passages, checkpoints, settings, benchmark=arguments.bench.name, advance=progress.update
        )
    if arguments.json:
        print(json.dumps(result.as_dict(), ensure_ascii=False, indent=1))
        return
    print(render(result, limit=arguments.limit))


def _read_settings(arguments: argparse.Namespace) -> MatchSettings:
    try:
        return MatchSettings(arguments.ngram, arguments.share, min(arguments.shortest, arguments.ngram))
    except ValueError as error:
        raise ConfigError(f"--ngram, --share or --shortest: {error}") from error


def _parse_numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in _split_words(text)]
    except ValueError as error:
        raise ConfigError(f"--checkpoints {text!r}: expected iterations, for example 100,200") from error


def _split_words(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _parser() -> argparse.ArgumentParser:
    result, default = (
        cli.stage_parser("search.commands.contamination", (__doc__ or "").split("\n", 1)[0]),
        MatchSettings(),
    )
    result.add_argument("--bench", type=Path, required=True, help="benchmark: JSON, JSON Lines, CSV, TSV, Parquet or text")
    result.add_argument(
        "--fields", default="", help="fields that are read, for example question,choice*; those of known benchmarks if left out"
    )
    result.add_argument("--checkpoints", help="iterations, for example 100,200; the checkpoints of the run if left out")
    result.add_argument("--ngram", type=int, default=default.ngram, help="characters of an n-gram")
    result.add_argument("--share", type=float, default=default.min_share, help="share of n-grams from which a text is near")
    result.add_argument(
        "--shortest", type=int, default=default.shortest, help="characters of a text that is searched for at least"
    )
    result.add_argument("--limit", type=int, default=20, help="contaminated texts listed at most")
    result.add_argument("--json", action="store_true", help="print JSON")
    return result


if __name__ == "__main__":
    cli.stage_main(main)
