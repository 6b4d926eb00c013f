"""Search the training data: what was read, where it comes from, and in which training iteration."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline import cli
from pipeline.errors import BadInput
from pipeline.files import short_digest
from pipeline.progress import echo
from pipeline.text.terminal import MARK, PLAIN, strip_control_chars
from search.hits import EVERY_MODE, MODE_NAMES, MODES, Hit, Mode, Page

if TYPE_CHECKING:
    from search.shard.texts import Spread


def main(argv: Sequence[str] | None = None) -> None:
    """Print one page of hits for each mode."""
    arguments = _parser().parse_args(argv)
    run = cli.open_run(arguments)
    modes: tuple[Mode, ...] = (arguments.mode,) if arguments.mode else MODES
    if arguments.dry_run:
        echo(f"検索: {run.root('index')} から {'、'.join(MODE_NAMES[mode] for mode in modes)} で探します")
        return
    from search.query_text import normalize_query
    from search.searcher import Searcher

    searcher = Searcher.open(run)
    if arguments.checkpoint is not None and not 0 <= arguments.checkpoint <= searcher.total:
        raise BadInput(f"--checkpoint {arguments.checkpoint}: the run has iterations 1 to {searcher.total}; choose one of them")
    pages: dict[Mode, Page] = {
        mode: searcher.search(arguments.query, mode, offset=arguments.offset, limit=arguments.limit) for mode in modes
    }
    exact = pages.get("ngram")
    spread = searcher.texts.spread(normalize_query(arguments.query)) if exact and exact.occurrences else None
    if arguments.json:
        result = {"query": arguments.query, **{mode: page.as_dict(arguments.checkpoint) for mode, page in pages.items()}}
        print(json.dumps(result | ({"spread": spread.as_dict()} if spread else {}), ensure_ascii=False, indent=1))
        return
    for mode, page in pages.items():
        of = spread if mode == "ngram" else None
        print(render_page(page, mode, colour=sys.stdout.isatty(), checkpoint=arguments.checkpoint, spread=of))


def render_page(page: Page, mode: Mode, *, colour: bool, checkpoint: int | None = None, spread: "Spread | None" = None) -> str:
    """A page as people read it: every hit, then what was found and searched."""
    hits = [_render_hit(hit, colour=colour, checkpoint=checkpoint) for hit in page.hits]
    return "\n".join([*hits, _render_summary(page, mode, spread), ""])


def _render_hit(hit: Hit, *, colour: bool, checkpoint: int | None) -> str:
    shown = replace(hit, text=strip_control_chars(hit.text))
    text = shown.marked(*((MARK, PLAIN) if colour else ("", ""))).strip("\n")
    origin = "  ".join(strip_control_chars(part) for part in (hit.title, hit.url, hit.doc_id) if part)
    label = hit.label()
    if checkpoint is not None:
        label += f" | チェックポイント {checkpoint:,}: {'既読' if hit.seen_by(checkpoint) else '未読'}"
    return f"{label}\n{text}\n— {origin}\n"


def _render_summary(page: Page, mode: Mode, spread: "Spread | None") -> str:
    searched = f"{page.searched_bytes:,} バイトの学習データ、索引 {short_digest(page.index)}"
    if not page.total:
        return f"{MODE_NAMES[mode]}: 見つかりませんでした ({searched})"
    exact = f"完全一致 {page.occurrences:,} か所、" if page.occurrences else ""
    if spread:
        exact += f"{spread.documents:,} 文書、重複を除く前は {spread.crawled:,} 文書、"
    shown = f"{page.hits[0].rank}–{page.hits[-1].rank} 件目" if page.hits else "この先はありません"
    return f"{MODE_NAMES[mode]}: {page.total:,} 件中 {shown} ({exact}{searched})"


def _parser() -> argparse.ArgumentParser:
    result = cli.stage_parser("search", __doc__ or "")
    result.add_argument("--query", required=True, help="text to look for")
    result.add_argument(
        "--mode", choices=EVERY_MODE, help="exact n-grams or vectors; both where left out; or normalized n-grams"
    )
    result.add_argument("--offset", type=int, default=0, help="hits to leave out, to see the next page")
    result.add_argument("--limit", type=int, default=5, help="hits a page")
    result.add_argument("--checkpoint", type=int, help="say whether the model of that iteration had read each hit")
    result.add_argument("--json", action="store_true", help="print JSON")
    return result


if __name__ == "__main__":
    cli.stage_main(main)
