"""Show which documents a training iteration read (--iteration), or in which iterations a document was read (--doc)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from pipeline import cli
from pipeline.artifact import Manifest, open_sealed
from pipeline.documents import document_files
from pipeline.errors import BadInput
from pipeline.progress import say
from pretrain.order import Order, Span
from pretrain.pack_indexed import open_indexed
from tokenizer.encode import Tokenizer

# Tokens and characters of a document's beginning that tell a reader what it is: about one line.
SHOWN_TOKENS, SHOWN_CHARACTERS = 64, 60
# Iterations named before the rest is only counted.
SHOWN_ITERATIONS = 100


def main(argv: Sequence[str] | None = None) -> None:
    """Answer one question about a trained run."""
    parser = cli.parser("pretrain.order", __doc__ or "")
    question = parser.add_mutually_exclusive_group(required=True)
    question.add_argument("--iteration", type=int, help="1 to the number of iterations trained")
    question.add_argument("--doc", help="a doc_id: 32 hex digits")
    arguments = parser.parse_args(argv)
    run = cli.open_run(arguments)
    if arguments.dry_run:
        say("学習データの読まれた順序を調べます")
        return
    pretrain, pack = open_sealed(run.root("pretrain")), open_sealed(run.root("pack"))
    order = Order.open(pretrain.data / "order", pack.data)
    corpus = open_sealed(run.root("corpus"))
    if arguments.doc is not None:
        show_document(order, corpus, arguments.doc)
    else:
        show_iteration(order, corpus, pack.data, open_sealed(run.root("tokenizer")).data, arguments.iteration)


def show_iteration(order: Order, corpus: Manifest, pack: Path, tokenizer: Path, iteration: int) -> None:
    """Print what an iteration read, source by source: document, tokens, title, and how the text that was read begins.

    Raises: BadInput if the run has no such iteration.
    """
    if not 1 <= iteration <= order.total:
        raise BadInput(f"iteration {iteration}: the run has iterations 1 to {order.total}; choose one of them")
    spans = sorted(order.documents(iteration), key=lambda span: span.source)
    known = find_documents(corpus, {span.doc_id for span in spans}, {span.source for span in spans})
    decode = Tokenizer.load(tokenizer).decode
    say(f"イテレーション {iteration}/{order.total} が読んだ文書")
    for source, group in groupby(spans, key=lambda span: span.source):
        rows = list(group)
        packed = open_indexed(pack / source / "train")
        say(f"{source}: {len({span.doc_id for span in rows})} 文書  {sum(s.end - s.begin for s in rows):,} トークン")
        for span in rows:
            tokens = packed.document(order.number(source, span.doc_id))[span.begin : span.end]
            say(_line(span, known.get(span.doc_id), decode(tokens[:SHOWN_TOKENS].tolist())))


def show_document(order: Order, corpus: Manifest, doc_id: str) -> None:
    """Print the iterations that read a document.

    Raises: BadInput if the corpus has no such document.
    """
    found = find_documents(corpus, {doc_id}, None).get(doc_id)
    if found is None:
        raise BadInput(
            f"{doc_id}: no such document in {corpus.data}; give the 32 hex digits of a doc_id, as `make batch` shows"
        )
    say(f"{found.source}  {found.title or found.url}  {found.url}")
    iterations = order.iterations(found.source, doc_id)
    if not iterations:
        say("未読 (検証用に分けた文書か、学習がここまで進まなかった文書です)")
        return
    named = ", ".join(f"{i}" for i in iterations[:SHOWN_ITERATIONS])
    more = f", … ほか {len(iterations) - SHOWN_ITERATIONS} 回" if len(iterations) > SHOWN_ITERATIONS else ""
    say(f"イテレーション: {named}{more} (全 {order.total} 中 {len(iterations)} 回)")


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
    files = [str(p) for p in document_files(corpus) if names is None or p.stem.rpartition("-")[0] in names]
    rows: Any = ds.dataset(files, format="parquet").to_table(
        columns=["doc_id", "source", "title", "url"], filter=ds.field("doc_id").isin(sorted(wanted))
    )
    return {row["doc_id"]: Known(row["source"], row["title"], row["url"]) for row in rows.to_pylist()}


def _line(span: Span, known: Known | None, text: str) -> str:
    name = (known.title or known.url) if known else ""
    words = " ".join(text.split())
    cut = "…" if len(words) > SHOWN_CHARACTERS or span.end - span.begin > SHOWN_TOKENS else ""
    return (
        f"  {span.doc_id}  [{span.begin:,}, {span.end:,})  {name}  {'…' if span.begin else ''}{words[:SHOWN_CHARACTERS]}{cut}"
    )
