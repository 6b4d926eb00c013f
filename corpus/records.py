"""What a reader is asked for and what it yields: settings of a source, shards, raw documents, dropped records."""

import hashlib
import re
from dataclasses import dataclass
from typing import Literal, NamedTuple

from pipeline.runfile import field

Kind = Literal["html", "roff", "text"]

# Why something that came in has no text to judge; True where that is damage of the input, not its nature.
DROP_REASONS: dict[str, bool] = {
    "http_status": False,  # a crawled response other than 200
    "content_type": False,  # a crawled response that is no HTML
    "too_large": False,  # a record beyond any page or book of text
    "redirect_page": False,  # a manual page or an article that only names another one
    "other_namespace": False,  # a page of a wiki that is no article: talk, templates, categories
    "other_language": False,  # a record whose header names languages, and none that was asked for
    "no_text": False,  # markup without text, a row without its text
    "foreign_page": False,  # a page so surely in another language that it was not parsed
    "damaged_record": True,  # bytes that are not what they should be
    "truncated_record": True,  # a file or record that ends too early
    "undecodable": True,  # no charset fits the bytes
    "unparsable": True,  # the parser gave up
}


@dataclass(frozen=True)
class SourceSettings:
    """One [[corpus.sources]]: where documents come from and under which licence."""

    name: str
    reader: Literal["html", "man", "warc", "wet", "jsonl", "parquet", "wikipedia", "aozora", "tatoeba", "datasets"]
    licence: str
    attribution: str
    path: str = field("", identity=False)  # file, folder, glob or URL (s3://, https://) outside the run, or a datasets folder
    paths: str = field("", identity=False)  # a list of files, a line each, gzip or plain: Common Crawl's warc.paths.gz
    prefix: str = field("", identity=False)  # is before every line of `paths`: "https://data.commoncrawl.org/"
    take: int = 0  # of path or paths: only the first so many files; 0: all
    fetched: tuple[str, ...] = ()  # globs below the data of the run's fetch artifact
    dataset: str = ""  # a dataset of the Hugging Face Hub
    revision: str = ""  # its commit or tag; a name alone would mean other bytes tomorrow
    config: str = ""  # its configuration, "20231101.ja"
    split: str = "train"
    rows: int = 0  # datasets: at most this many rows, equally many from each file; 0: all
    glob: tuple[str, ...] = ()  # files below a `path` folder; (): the reader's own
    exclude: tuple[str, ...] = ()  # globs of files to leave out
    text_column: str = "text"
    title_column: str = "title"  # "": rows have none
    url_column: str = "url"  # "": <file>#<row>
    date_column: str = ""
    cleaner: Literal["none", "aozora"] = "none"  # of a row's text
    languages: tuple[str, ...] = ()  # wet: records whose header names languages and none of these are left out; "jpn"
    wiki: str = "https://ja.wikipedia.org/wiki/"  # wikipedia: what is before an article's title in its url
    sentences: int = 32  # tatoeba: sentences a document; they are about 20 characters each
    shard_documents: int = 400  # html, man, aozora: files a shard; tatoeba: documents a shard
    shard_bytes: int = 256 << 20  # jsonl, uncompressed: bytes a shard; wikipedia with an index: a quarter of it, compressed
    # The longest Aozora works are 3 MB, crawlers cut pages at 1 to 5 MB; with this a worker's batch stays below 1.5 GB.
    max_document_bytes: int = 32 << 20  # a record, line, file, cell or article beyond is dropped as too_large, unread
    preset: str = ""  # rules for this source alone, "en" for example; "": the run's

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9_]+", self.name):
            raise ValueError(f"name = {self.name!r}: expected a-z, 0-9 and _, for it becomes part of file names")
        object.__setattr__(self, "path", str(self.path or ""))  # programs give a Path
        indices = [key for key in ("path", "paths", "fetched", "dataset") if getattr(self, key)]
        if len(indices) != 1:
            raise ValueError(f"source {self.name!r}: expected exactly one of path, paths, fetched, dataset, got {indices}")
        if self.dataset and (self.reader != "datasets" or not self.revision):
            raise ValueError(f'source {self.name!r}: dataset needs reader = "datasets" and a revision (commit or tag)')
        if (self.fetched or self.paths) and self.reader == "datasets":
            raise ValueError(f'source {self.name!r}: reader "datasets" reads a dataset or a path, not fetched or listed files')
        if self.prefix and not self.paths:
            raise ValueError(f"source {self.name!r}: prefix stands before the lines of `paths`, and there is no `paths`")
        if min(self.sentences, self.shard_documents, self.shard_bytes, self.max_document_bytes) < 1:
            raise ValueError(
                f"source {self.name!r}: sentences, shard_documents, shard_bytes and max_document_bytes must be 1 or more"
            )
        if min(self.rows, self.take) < 0:
            raise ValueError(f"source {self.name!r}: rows and take must be 0 or more")


@dataclass(frozen=True)
class Shard:
    """What one task reads; picklable, the same on every machine but for the place of the files."""

    name: str  # "ja_web-00003"
    source: SourceSettings
    files: tuple[str, ...]  # absolute paths or URLs
    base: str  # urls of documents are relative to this folder or URL
    begin: int = 0  # first byte (jsonl, wikipedia), row group (parquet), document (tatoeba) or part (datasets)
    end: int = 0  # one past the last; 0: all


class RawDocument(NamedTuple):  # not a frozen dataclass: that takes four times as long to make, a microsecond a row
    """A document as it came in."""

    source: str
    url: str
    raw: bytes
    kind: Kind
    declared: str = ""  # charset by the transport, "" unknown; of kind "text": what the reader decoded `raw` by
    title: str = ""
    date: str = ""  # ISO 8601 or ""
    text: str | None = None  # of kind "text": what the reader made of `raw`
    flags: tuple[str, ...] = ()  # of kind "text": what `corpus.extract.charset` said of `raw`

    @property
    def doc_id(self) -> str:
        """32 hex digits that name these bytes from this place."""
        return identify(self.source, self.url, self.raw)


@dataclass(frozen=True)
class DroppedRecord:
    """Something that came in and has no text to judge."""

    source: str
    url: str  # or <file>@<byte offset> where the record is too damaged to say
    reason: str  # a key of DROP_REASONS
    detail: str
    doc_id: str

    def __post_init__(self) -> None:
        if self.reason not in DROP_REASONS:
            raise ValueError(f"reason {self.reason!r} is none of {sorted(DROP_REASONS)}")

    @property
    def damaged(self) -> bool:
        """Whether the input is damaged, as opposed to holding something that is not a document."""
        return DROP_REASONS[self.reason]


def drop(document: RawDocument, reason: str, detail: str = "") -> DroppedRecord:
    """The drop of a document that was read but has no text."""
    return DroppedRecord(document.source, document.url, reason, one_line(detail), document.doc_id)


def lost(source: str, url: str, reason: str, detail: str = "", raw: bytes = b"") -> DroppedRecord:
    """The drop of a record that could not be read."""
    return DroppedRecord(source, url, reason, one_line(detail), identify(source, url, raw))


def identify(source: str, url: str, raw: bytes) -> str:
    """First 32 hex digits of sha256 over source, url and raw bytes, each with its length before it."""
    name, index = source.encode(), url.encode("utf-8", "surrogatepass")
    sizes = [len(part).to_bytes(8, "little") for part in (name, index, raw)]
    result = hashlib.sha256(b"".join((sizes[0], name, sizes[1], index, sizes[2])))
    result.update(raw)
    return result.hexdigest()[:32]


def one_line(text: str) -> str:
    """White space collapsed, for titles and details."""
    return " ".join(text.split())
