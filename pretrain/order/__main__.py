"""Show what a training iteration read (--iteration), or in which iterations a document was read (--doc)."""

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
from pipeline.text.terminal import strip_control_chars
from pretrain.order import Order, Span
from pretrain.pack.copies import Copy, read_copies
from pretrain.pack.indexed import open_indexed
from tokenizer.encode import Tokenizer

# Characters of a text that tell a reader what it is: about one line.
SHOWN_CHARACTERS = 60
# C0 but for tab and line feed, and C1 (ISO 6429).
# Iterations named before the rest is only counted.
SHOWN_ITERATIONS = 100


def main(argv: Sequence[str] | None = None) -> None:
    """Answer one question about a trained run."""
    parser = cli.stage_parser("pretrain.order", __doc__ or "")
    question = parser.add_mutually_exclusive_group(required=True)
    question.add_argument("--iteration", type=int, help="1 to the number of iterations trained")
    question.add_argument("--doc", help="a doc_id: 32 hex digits")
    parser.add_argument("--brief", action="store_true", help="only the beginning of each text")
    parser.add_argument("--json", action="store_true", help="for programs")
    arguments = parser.parse_args(argv)
    run = cli.open_run(arguments)
    if arguments.dry_run:
        echo("学習データの読まれた順序を調べます")
        return
    pretrain, pack = open_sealed(run.root("pretrain")), open_sealed(run.root("pack"))
    undone = tuple((first, last) for first, last in pretrain.stats.get("undone", ()))
    order = Order.open(pretrain.data / "order", pack.data, undone=undone)
    corpus = open_sealed(run.root("corpus"))
    if arguments.doc is not None:
        read = document_read(order, corpus, pack.data, arguments.doc)
        lines = iter([read.as_json()]) if arguments.json else document_lines(read, order.total)
    else:
        tokenizer = Tokenizer.load(open_sealed(run.root("tokenizer")).data)
        rows = list(iteration_rows(order, corpus, pack.data, tokenizer, arguments.iteration))
        undone = order.is_undone(arguments.iteration)
        lines = json_lines(rows, undone) if arguments.json else iteration_lines(rows, order, undone, brief=arguments.brief)
    for line in lines:
        echo(line)


class Row(NamedTuple):
    """A run of tokens that an iteration read, with its text."""

    span: Span
    title: str  # or the URL where there is no title
    text: str


def iteration_rows(order: Order, corpus: Manifest, pack: Path, tokenizer: Tokenizer, iteration: int) -> Iterator[Row]:
    """What an iteration read, source by source, in the order of its samples.

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
            yield Row(span, (about.title or about.url) if about else "", tokenizer.decode(tokens.tolist()))


def iteration_lines(rows: Sequence[Row], order: Order, undone: bool, *, brief: bool) -> Iterator[str]:
    """For the terminal: a line a source, a line a run of tokens; under that its text, or behind it how it begins."""
    more = " (とばされたか巻き戻されたため、重みには残っていません)" if undone else ""
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


def json_lines(rows: Iterable[Row], undone: bool) -> Iterator[str]:
    """For programs: a line of JSON a run of tokens."""
    for row in rows:
        more = {"title": row.title, "text": row.text, "undone": undone}
        yield json.dumps(row.span._asdict() | more, ensure_ascii=False)


@dataclass(frozen=True)
class Read:
    """When a document was read."""

    doc_id: str
    source: str
    title: str
    url: str
    iterations: tuple[int, ...]
    undone: tuple[int, ...]  # those of them that left nothing in the weights
    copy: Copy | None  # left out of training as a copy of a held-out document

    def as_json(self) -> str:
        """A line of JSON, for programs."""
        return json.dumps(vars(self) | {"copy": self.copy._asdict() if self.copy else None}, ensure_ascii=False)


def document_read(order: Order, corpus: Manifest, pack: Path, doc_id: str) -> Read:
    """Look a document up, in the training data first: the corpus is read for its title only, and its source alone.

    Raises: BadInput if the corpus has no such document.
    """
    found = find_documents(corpus, {doc_id}, order.sources_of(doc_id) or None).get(doc_id)
    if found is None:
        raise BadInput(
            f"{doc_id}: no such document in {corpus.data}; give the 32 hex digits of a doc_id, as `make batch` shows"
        )
    iterations = order.iterations(found.source, doc_id)
    undone = tuple(i for i in iterations if order.is_undone(i))
    copies = [] if iterations else read_copies(pack / found.source / "copies.parquet")
    copy = next((copy for copy in copies if copy.doc_id == doc_id), None)
    return Read(doc_id, found.source, found.title, found.url, iterations, undone, copy)


def document_lines(read: Read, total: int) -> Iterator[str]:
    """For the terminal."""
    yield strip_control_chars(f"{read.source}  {read.title or read.url}  {read.url}")
    if read.copy:
        share = f"その本文の {read.copy.share:.0%} を含む"
        yield f"未読 (検証用の文書 {read.copy.copy_of} の写し ({share}) のため、学習から除きました)"
    elif not read.iterations:
        yield "未読 (検証用に分けた文書か、学習がここまで進まなかった文書です)"
    else:
        yield f"イテレーション: {_named(read.iterations)} (全 {total} 中 {len(read.iterations)} 回)"
    if read.undone:
        yield f"うち、とばされたか巻き戻されたため重みに残っていないもの: {_named(read.undone)}"


def _named(iterations: Sequence[int]) -> str:
    more = len(iterations) - SHOWN_ITERATIONS
    return ", ".join(map(str, iterations[:SHOWN_ITERATIONS])) + (f", … ほか {more} 回" if more > 0 else "")


@dataclass(frozen=True)
class Known:
    """What the corpus says of a document."""

    source: str
    title: str
    url: str


def find_documents(corpus: Manifest, wanted: set[str], sources: Iterable[str] | None) -> Mapping[str, Known]:
    """Look documents up in the corpus by reading its doc_id columns, of `sources` only where given: O(their documents)."""
    import pyarrow.dataset as ds

    names = None if sources is None else set(sources)
    files = [str(p) for p in document_files(corpus) if names is None or source_of_shard(p.stem) in names]
    rows: Any = ds.dataset(files, format="parquet").to_table(
        columns=["doc_id", "source", "title", "url"], filter=ds.field("doc_id").isin(sorted(wanted))
    )
    return {row["doc_id"]: Known(row["source"], row["title"], row["url"]) for row in rows.to_pylist()}


if __name__ == "__main__":
    cli.stage_main(main)
