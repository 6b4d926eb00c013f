"""Remove documents from what is searched, at once: by doc_id, URL, host or source; their bytes stay in the sealed shards.

`make holders` names every artifact that has a document; to delete the bytes, make the corpus and all that follows again.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

from pipeline import cli
from pipeline.artifact import open_sealed
from pipeline.errors import BadInput
from pipeline.files import short_digest
from pipeline.progress import echo
from pipeline.runfile import RunFile
from search.shard.catalog import open_catalog, remove
from search.shard.store import Document
from search.shard.texts import Texts

_DOC_ID = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True)
class Removal:
    """What was removed."""

    documents: int
    bytes: int
    before: str  # digest of the index
    after: str
    first: tuple[str, ...]  # doc_ids of the first ones


def main(argv: Sequence[str] | None = None) -> None:
    """Name the documents in the catalog and report."""
    parser = cli.stage_parser("search.index.remove", __doc__ or "")
    parser.add_argument("--doc", help="doc_id, 32 hex digits")
    parser.add_argument("--url", help="every document of this address")
    parser.add_argument("--host", help="every document of this host")
    parser.add_argument("--source", help="every document of this source")
    parser.add_argument("--why", default="", help="kept in the catalog")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(argv)
    criteria = {name: value for name in ("doc", "url", "host", "source") if (value := getattr(arguments, name)) is not None}
    run = cli.open_run(arguments)
    if arguments.dry_run:
        echo(f"索引からの除外: {run.root('index')} から {criteria} の文書を検索できなくします")
        return
    removal = remove_documents(run, criteria, arguments.why)
    if arguments.json:
        print(json.dumps(asdict(removal), ensure_ascii=False))
        return
    shown = ", ".join(removal.first) + (" …" if removal.documents > len(removal.first) else "")
    echo(
        f"索引からの除外: {removal.documents:,} 文書 {removal.bytes:,} バイト ({shown})。"
        f"索引は {short_digest(removal.before)} から {short_digest(removal.after)} になりました"
    )


def remove_documents(run: RunFile, criteria: dict[str, str], why: str) -> Removal:
    """Remove every document that meets all `criteria`: "doc", "url", "host", "source".

    Raises: BadInput if there are no criteria or no document meets them.
    """
    if "doc" in criteria and not _DOC_ID.fullmatch(criteria["doc"]):
        raise BadInput(f"--doc {criteria['doc']!r}: not a doc_id; give its 32 hex digits, as a hit shows them")
    if not criteria:
        raise BadInput("nothing to remove was named; give one of --doc, --url, --host, --source")
    index = open_sealed(run.root("index"))
    catalog = open_catalog(index)
    documents = list(_find_documents(Texts(catalog), criteria))
    if not documents:
        raise BadInput(f"{index.root}: no document with {criteria}; nothing was removed")
    after = remove(index, [document.doc_id for document in documents], why)
    size = sum(document.end - document.begin for document in documents)
    return Removal(len(documents), size, catalog.digest, after.digest, tuple(document.doc_id for document in documents[:3]))


def _find_documents(texts: Texts, criteria: dict[str, str]) -> Iterator[Document]:
    for shard in texts.shards:
        if "doc" in criteria:
            number = shard.ids.number(criteria["doc"])
            numbers = [] if number is None else [number]
        else:
            numbers = range(shard.documents)
        for number in numbers:
            document = shard.document(number)
            host = urlsplit(document.url).hostname
            own = {"doc": document.doc_id, "url": document.url, "source": document.source, "host": host}
            if number not in shard.removed and all(own[name] == value for name, value in criteria.items()):
                yield document


if __name__ == "__main__":
    cli.stage_main(main)
