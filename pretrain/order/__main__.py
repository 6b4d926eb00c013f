"""Show what a training iteration read (--iteration), or which iterations read a document (--doc)."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from pipeline import cli
from pipeline.artifact import Manifest, open_sealed
from pipeline.documents import document_files, source_of_shard
from pipeline.errors import BadInput
from pipeline.progress import echo
from pipeline.reading_order import Order, TokenSpan
from pipeline.text.terminal import strip_control_chars
from pretrain.pack.copies import Copy, read_copies
from pretrain.pack.indexed import open_indexed
from tokenizer.encode import Tokenizer

SHOWN_CHARACTERS = 60  # of each text with --brief: about one line
SHOWN_ITERATIONS = 100  # the others are only counted


def main(argv: Sequence[str] | None = None) -> None:
    """Answer one question about a trained run."""
    parser = cli.stage_parser("pretrain.order", __doc__ or "")
    question = parser.add_mutually_exclusive_group(required=True)
    question.add_argument("--iteration", type=int, help="1 to the number of iterations trained")
    question.add_argument("--doc", help="a doc_id: 32 hex digits")
    parser.add_argument("--brief", action="store_true", help="only the beginning of each text")
    parser.add_argument("--json", action="store_true", help="JSON, one object a line")
    arguments = parser.parse_args(argv)
    run = cli.open_run(arguments)
    if arguments.dry_run:
        echo("学習データの読まれた順序を調べます")
        return
    pretrain, pack = open_sealed(run.root("pretrain")), open_sealed(run.root("pack"))
    discarded = tuple((first, last) for first, last in pretrain.stats.get("undone", ()))
    order = Order.open(pretrain.data / "order", pack.data, discarded=discarded)
    corpus = open_sealed(run.root("corpus"))
    if arguments.doc is not None:
        reads = find_reads(order, corpus, pack.data, arguments.doc)
        lines = iter([reads.as_json()]) if arguments.json else render_document(reads, order.total)
    else:
        tokenizer = Tokenizer.load(open_sealed(run.root("tokenizer")).data)
        rows = list(read_iteration(order, corpus, pack.data, tokenizer, arguments.iteration))
        is_discarded = order.is_discarded(arguments.iteration)
        if arguments.json:
            lines = render_json(rows, is_discarded)
        else:
            lines = render_iteration(rows, order, is_discarded, brief=arguments.brief)
    for line in lines:
        echo(line)


class SpanText(NamedTuple):
    """The text of a token span that an iteration read."""

    span: TokenSpan
    title: str  # of the document, or its URL if it has no title
    text: str


def read_iteration(order: Order, corpus: Manifest, pack: Path, tokenizer: Tokenizer, iteration: int) -> Iterator[SpanText]:
    """Yield the texts that an iteration read, by source, then in the order of its samples.

    Raises: BadInput if the run has no such iteration.
    """
    if not 1 <= iteration <= order.total:
        raise BadInput(f"iteration {iteration}: the run has iterations 1 to {order.total}; choose one of them")
    spans = sorted(order.documents(iteration), key=lambda span: span.source)
    known = find_documents(corpus, {span.doc_id for span in spans}, {span.source for span in spans})
    for source, group in groupby(spans, key=lambda span: span.source):
        packed = open_indexed(pack / source / "train")
        for span in group:
            tokens = packed.document(order.number(source, span.doc_id))[span.begin : span.end]
            about = known.get(span.doc_id)
            yield SpanText(span, (about.title or about.url) if about else "", tokenizer.decode(tokens.tolist()))


def render_iteration(rows: Sequence[SpanText], order: Order, is_discarded: bool, *, brief: bool) -> Iterator[str]:
    """Yield lines for the terminal: one for each source, one for each span, followed by its text (`brief`: its beginning)."""
    more = " (とばされたか巻き戻されたため、重みには残っていません)" if is_discarded else ""
    yield f"イテレーション {rows[0].span.iteration}/{order.total} が読んだ文書{more}"
    for source, group in groupby(rows, key=lambda row: row.span.source):
        found = list(group)
        tokens = sum(row.span.end - row.span.begin for row in found)
        yield f"{source}: {len({row.span.doc_id for row in found})} 文書  {tokens:,} トークン"
        for span, title, text in found:
            head, before = f"  {span.doc_id}  [{span.begin:,}, {span.end:,})  {title}", "…" if span.begin else ""
            if brief:
                words = " ".join(text.split())
                yield strip_control_chars(
                    f"{head}  {before}{words[:SHOWN_CHARACTERS]}{'…' if len(words) > SHOWN_CHARACTERS else ''}"
                )
            else:
                yield from (strip_control_chars(head), before + strip_control_chars(text), "")


def render_json(rows: Iterable[SpanText], is_discarded: bool) -> Iterator[str]:
    """Yield one line of JSON for each span."""
    for row in rows:
        more = {"title": row.title, "text": row.text, "undone": is_discarded}
        yield json.dumps(row.span._asdict() | more, ensure_ascii=False)


@dataclass(frozen=True)
class DocumentReads:
    """The iterations that read a document."""

    doc_id: str
    source: str
    title: str
    url: str
    iterations: tuple[int, ...]
    discarded: tuple[int, ...]  # those of `iterations` that left no trace in the weights
    copy: Copy | None  # set if the document was excluded from training as a copy of a held-out one

    def as_json(self) -> str:
        """One line of JSON."""
        row = {"undone" if name == "discarded" else name: value for name, value in vars(self).items()}
        return json.dumps(row | {"copy": self.copy._asdict() if self.copy else None}, ensure_ascii=False)


def find_reads(order: Order, corpus: Manifest, pack: Path, doc_id: str) -> DocumentReads:
    """Find the iterations that read a document.

    The training data says which source has it, so that only this source of the corpus is read, for title and URL.

    Raises: BadInput if the corpus has no such document.
    """
    found = find_documents(corpus, {doc_id}, order.sources_of(doc_id) or None).get(doc_id)
    if found is None:
        raise BadInput(
            f"{doc_id}: no such document in {corpus.data}; give the 32 hex digits of a doc_id, as `make batch` shows"
        )
    iterations = order.iterations(found.source, doc_id)
    discarded = tuple(i for i in iterations if order.is_discarded(i))
    copies = [] if iterations else read_copies(pack / found.source / "copies.parquet")
    copy = next((copy for copy in copies if copy.doc_id == doc_id), None)
    return DocumentReads(
        doc_id=doc_id,
        source=found.source,
        title=found.title,
        url=found.url,
        iterations=iterations,
        discarded=discarded,
        copy=copy,
    )


def render_document(reads: DocumentReads, total: int) -> Iterator[str]:
    """Yield lines for the terminal."""
    yield strip_control_chars(f"{reads.source}  {reads.title or reads.url}  {reads.url}")
    if reads.copy:
        share = f"その本文の {reads.copy.share:.0%} を含む"
        yield f"未読 (検証用の文書 {reads.copy.copy_of} の写し ({share}) のため、学習から除きました)"
    elif not reads.iterations:
        yield "未読 (検証用に分けた文書か、学習がここまで進まなかった文書です)"
    else:
        yield f"イテレーション: {_format_iterations(reads.iterations)} (全 {total} 中 {len(reads.iterations)} 回)"
    if reads.discarded:
        yield f"うち、とばされたか巻き戻されたため重みに残っていないもの: {_format_iterations(reads.discarded)}"


def _format_iterations(iterations: Sequence[int]) -> str:
    more = len(iterations) - SHOWN_ITERATIONS
    return ", ".join(map(str, iterations[:SHOWN_ITERATIONS])) + (f", … ほか {more} 回" if more > 0 else "")


@dataclass(frozen=True)
class DocumentInfo:
    """What the corpus records about a document."""

    source: str
    title: str
    url: str


def find_documents(corpus: Manifest, doc_ids: set[str], sources: Iterable[str] | None) -> Mapping[str, DocumentInfo]:
    """Find documents in the corpus; those that are not there are missing from the result.

    Args:
        sources: if given, only their files are read: the time grows with the number of documents in them.
    Returns: doc_id -> what the corpus records.
    """
    import pyarrow.dataset as ds

    names = None if sources is None else set(sources)
    files = [str(p) for p in document_files(corpus) if names is None or source_of_shard(p.stem) in names]
    rows: Any = ds.dataset(files, format="parquet").to_table(
        columns=["doc_id", "source", "title", "url"], filter=ds.field("doc_id").isin(sorted(doc_ids))
    )
    return {row["doc_id"]: DocumentInfo(row["source"], row["title"], row["url"]) for row in rows.to_pylist()}


if __name__ == "__main__":
    cli.stage_main(main)
