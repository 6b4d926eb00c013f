"""`make trace`: what of a text is in the training data verbatim, where, and when training read it; in Japanese, or as JSON."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline import cli
from pipeline.errors import BadInput, MissingInput
from pipeline.files import short_digest
from pipeline.progress import echo
from pipeline.text.terminal import MARK, PLAIN, strip_control_chars
from search.bm25.rank import merge_spans
from search.provenance.trace import Snippet, Span, Trace, TracedDocument, TraceSettings, trace_text

# Brackets that Japanese text seldom has, where there are no colours.
OPEN, CLOSE = "⟦", "⟧"
# Iterations of a snippet that are listed.
_ITERATIONS = 5


def render(trace: Trace, *, colour: bool) -> str:
    """The text with its spans marked, the spans rarest first, the documents with their snippets."""
    marks = (MARK, PLAIN) if colour else (OPEN, CLOSE)
    lines = [_mark_spans(trace.text, merge_spans([(span.begin, span.end) for span in trace.spans]), marks).strip("\n"), ""]
    lines += [_render_span(number, span, trace.total_iterations) for number, span in enumerate(trace.spans, 1)]
    for number, document in enumerate(trace.documents):
        existing = [str(index) for index, span in enumerate(trace.spans, 1) if number in span.shown]
        lines += ["", *_render_document(number + 1, document, existing, trace.total_iterations, marks)]
    return "\n".join([*lines, "", _render_summary(trace), ""])


def _mark_spans(text: str, spans: tuple[tuple[int, int], ...], marks: tuple[str, str]) -> str:
    parts, last = [], 0
    for begin, end in spans:
        parts += [strip_control_chars(text[last:begin]), marks[0], strip_control_chars(text[begin:end]), marks[1]]
        last = end
    return "".join([*parts, strip_control_chars(text[last:])])


def _render_span(number: int, span: Span, total: int) -> str:
    text = strip_control_chars(span.text).replace("\n", "⏎").replace("\t", " ")
    sources = "、".join(f"{strip_control_chars(name)} {count:,}" for name, count in span.sources)
    where = f"{span.documents:,} 文書 ({sources})"
    if span.examined < span.count:
        where = f"最初の {span.examined:,} か所を調べたかぎり {where}"
    return f"[{number}] 「{text}」 {span.count:,} か所、{where}、イテレーション: {_format_range(span, total)}"


def _format_range(span: Span, total: int) -> str:
    if span.first is None or span.last is None:
        return "未読"
    return f"{span.first:,}–{span.last:,}/{total:,}" if span.first < span.last else f"{span.first:,}/{total:,}"


def _render_document(number: int, document: TracedDocument, held: list[str], total: int, marks: tuple[str, str]) -> list[str]:
    origin = "  ".join(strip_control_chars(part) for part in (document.title, document.url, document.doc_id) if part)
    lines = [
        f"({number}) {origin}  出典: {strip_control_chars(document.source)}  一致: {' '.join(f'[{number}]' for number in held)}"
    ]
    for snippet in document.snippets:
        text = _mark_spans(snippet.text, snippet.spans, marks).replace("\n", "\n    ")
        lines += [f"    イテレーション: {_format_reads(snippet, total)}", f"    {'…' if snippet.byte else ''}{text}…"]
    return lines


def _format_reads(snippet: Snippet, total: int) -> str:
    if not snippet.iterations:
        return "未読"
    more = ", …" if len(snippet.iterations) > _ITERATIONS else ""
    return f"{', '.join(f'{i:,}' for i in snippet.iterations[:_ITERATIONS])}{more}/{total:,}"


def _render_summary(trace: Trace) -> str:
    searched = f"{trace.searched_bytes:,} バイトの学習データ、索引 {short_digest(trace.index)}"
    if not trace.found:
        return f"追跡: {trace.min_chars} 文字以上の一致はありません ({searched})"
    kept = f"、まれな {len(trace.spans):,} か所を表示" if len(trace.spans) < trace.found else ""
    return f"追跡: {trace.min_chars} 文字以上の一致 {trace.found:,} か所、全体の {trace.covered:.1%}{kept} ({searched})"


def main(argv: Sequence[str] | None = None) -> None:
    """Print the trace of one text."""
    arguments = _parser().parse_args(argv)
    run = cli.open_run(arguments)
    settings = TraceSettings(
        min_chars=arguments.min_chars,
        max_occurrences=arguments.max_occurrences,
        documents=arguments.documents,
        keep_per_char=arguments.keep_per_char,
    )
    if arguments.dry_run:
        echo(f"追跡: {run.root('index')} で {settings.min_chars} 文字以上の一致を探します")
        return
    text = arguments.text if arguments.text is not None else _read_file(arguments.file)
    from search.searcher import Searcher

    result = trace_text(Searcher.open(run), text, settings)
    if arguments.json:
        print(json.dumps(result.as_dict(), ensure_ascii=False, indent=1))
        return
    print(render(result, colour=sys.stdout.isatty()))


def _read_file(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except FileNotFoundError as error:
        raise MissingInput(f"{path}: no such file; name the file whose text is traced") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: not readable as UTF-8 text: {error}") from error


def _parser() -> argparse.ArgumentParser:
    result, default = cli.stage_parser("search.commands.trace", (__doc__ or "").split("\n", 1)[0]), TraceSettings()
    given = result.add_mutually_exclusive_group(required=True)
    given.add_argument("--text", help="text to trace")
    given.add_argument("--file", type=Path, help="file of the text to trace, UTF-8")
    result.add_argument("--min-chars", type=int, default=default.min_chars, help="characters of a span at least")
    result.add_argument(
        "--max-occurrences", type=int, default=default.max_occurrences, help="occurrences of a span looked up at most"
    )
    result.add_argument("--documents", type=int, default=default.documents, help="documents shown at most")
    result.add_argument(
        "--keep-per-char", type=float, default=default.keep_per_char, help="unlikeliest spans kept, for each character; 0: all"
    )
    result.add_argument("--json", action="store_true", help="print JSON")
    return result


if __name__ == "__main__":
    cli.stage_main(main)
