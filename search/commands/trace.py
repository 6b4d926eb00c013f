"""A trace as people read it at the terminal, in Japanese."""

from pipeline.files import short_digest
from pipeline.text.terminal import MARK, PLAIN, strip_control_chars
from search.bm25.rank import joined
from search.provenance.trace import Snippet, Source, Span, Trace

# Brackets that Japanese text seldom has, where there are no colours.
OPEN, CLOSE = "⟦", "⟧"
# Iterations of a snippet that are listed.
_ITERATIONS = 5


def render(trace: Trace, *, colour: bool) -> str:
    """The text with its spans marked, the spans rarest first, the documents with their snippets."""
    marks = (MARK, PLAIN) if colour else (OPEN, CLOSE)
    lines = [_marked(trace.text, joined([(span.begin, span.end) for span in trace.spans]), marks).strip("\n"), ""]
    lines += [_span(number, span, trace.total_iterations) for number, span in enumerate(trace.spans, 1)]
    for number, document in enumerate(trace.documents):
        held = [str(place) for place, span in enumerate(trace.spans, 1) if number in span.shown]
        lines += ["", *_document(number + 1, document, held, trace.total_iterations, marks)]
    return "\n".join([*lines, "", _summary(trace), ""])


def _marked(text: str, spans: tuple[tuple[int, int], ...], marks: tuple[str, str]) -> str:
    parts, last = [], 0
    for begin, end in spans:
        parts += [strip_control_chars(text[last:begin]), marks[0], strip_control_chars(text[begin:end]), marks[1]]
        last = end
    return "".join([*parts, strip_control_chars(text[last:])])


def _span(number: int, span: Span, total: int) -> str:
    text = strip_control_chars(span.text).replace("\n", "⏎").replace("\t", " ")
    sources = "、".join(f"{strip_control_chars(name)} {count:,}" for name, count in span.sources)
    where = f"{span.documents:,} 文書 ({sources})"
    if span.looked < span.count:
        where = f"最初の {span.looked:,} か所を調べたかぎり {where}"
    return f"[{number}] 「{text}」 {span.count:,} か所、{where}、イテレーション: {_when(span, total)}"


def _when(span: Span, total: int) -> str:
    if span.first is None or span.last is None:
        return "未読"
    return f"{span.first:,}–{span.last:,}/{total:,}" if span.first < span.last else f"{span.first:,}/{total:,}"


def _document(number: int, document: Source, held: list[str], total: int, marks: tuple[str, str]) -> list[str]:
    origin = "  ".join(strip_control_chars(part) for part in (document.title, document.url, document.doc_id) if part)
    lines = [
        f"({number}) {origin}  出典: {strip_control_chars(document.source)}  一致: {' '.join(f'[{place}]' for place in held)}"
    ]
    for snippet in document.snippets:
        text = _marked(snippet.text, snippet.spans, marks).replace("\n", "\n    ")
        lines += [f"    イテレーション: {_read(snippet, total)}", f"    {'…' if snippet.byte else ''}{text}…"]
    return lines


def _read(snippet: Snippet, total: int) -> str:
    if not snippet.iterations:
        return "未読"
    more = ", …" if len(snippet.iterations) > _ITERATIONS else ""
    return f"{', '.join(f'{i:,}' for i in snippet.iterations[:_ITERATIONS])}{more}/{total:,}"


def _summary(trace: Trace) -> str:
    searched = f"{trace.searched_bytes:,} バイトの学習データ、索引 {short_digest(trace.index)}"
    if not trace.found:
        return f"追跡: {trace.least} 文字以上の一致はありません ({searched})"
    kept = f"、まれな {len(trace.spans):,} か所を表示" if len(trace.spans) < trace.found else ""
    return f"追跡: {trace.least} 文字以上の一致 {trace.found:,} か所、全体の {trace.covered:.1%}{kept} ({searched})"
