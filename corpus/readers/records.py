"""What a reader is asked for and what it yields: settings of a source, shards, raw documents, dropped records."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["html", "roff", "text"]

# Why something that came in has no text to judge; True where that is damage of the input, not its nature.
DROP_REASONS: dict[str, bool] = {
    "http_status": False,  # a crawled response other than 200
    "content_type": False,  # a crawled response that is no HTML
    "too_large": False,  # a record beyond any page of text
    "redirect_page": False,  # a manual page that only names another one
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
    reader: Literal["html", "man", "warc", "jsonl", "parquet", "tatoeba", "datasets"]
    licence: str
    attribution: str
    path: Path | None = None  # a file or folder outside the run, or a datasets folder
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
    sentences: int = 32  # tatoeba: sentences a document; they are about 20 characters each
    shard_documents: int = 400  # html, man: files a shard; tatoeba: documents a shard
    preset: str = ""  # rules for this source alone, "en" for example; "": the run's

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9_]+", self.name):
            raise ValueError(f"name = {self.name!r}: expected a-z, 0-9 and _, for it becomes part of file names")
        places = [key for key in ("path", "fetched", "dataset") if getattr(self, key)]
        if len(places) != 1:
            raise ValueError(f"source {self.name!r}: expected exactly one of path, fetched, dataset, got {places}")
        if self.dataset and (self.reader != "datasets" or not self.revision):
            raise ValueError(f'source {self.name!r}: dataset needs reader = "datasets" and a revision (commit or tag)')
        if self.fetched and self.reader == "datasets":
            raise ValueError(f'source {self.name!r}: reader "datasets" reads a dataset or a path, not fetched files')
        if min(self.sentences, self.shard_documents) < 1 or self.rows < 0:
            raise ValueError(f"source {self.name!r}: sentences and shard_documents must be 1 or more, rows 0 or more")


@dataclass(frozen=True)
class Shard:
    """What one task reads; picklable, the same on every machine but for the place of the files."""

    name: str  # "ja_web-00003"
    source: SourceSettings
    files: tuple[str, ...]  # absolute paths
    base: str  # urls are relative to this folder
    begin: int = 0  # first document, row group or dataset part, by reader
    end: int = 0  # one past the last; 0: all


@dataclass(frozen=True)
class RawDocument:
    """A document as it came in."""

    source: str
    url: str
    raw: bytes
    kind: Kind
    declared: str = ""  # charset by the transport, "" unknown
    title: str = ""
    date: str = ""  # ISO 8601 or ""
    text: str | None = None  # of kind "text": what the reader made of `raw`

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
        """Whether the input is damaged, as opposed to holding something that is no document."""
        return DROP_REASONS[self.reason]


def drop(document: RawDocument, reason: str, detail: str = "") -> DroppedRecord:
    """The drop of a document that was read but has no text."""
    return DroppedRecord(document.source, document.url, reason, one_line(detail), document.doc_id)


def lost(source: str, url: str, reason: str, detail: str = "", raw: bytes = b"") -> DroppedRecord:
    """The drop of a record that could not be read."""
    return DroppedRecord(source, url, reason, one_line(detail), identify(source, url, raw))


def identify(source: str, url: str, raw: bytes) -> str:
    """First 32 hex digits of sha256 over source, url and raw bytes, each with its length before it."""
    made = hashlib.sha256()
    for part in (source.encode(), url.encode("utf-8", "surrogatepass"), raw):
        made.update(len(part).to_bytes(8, "little"))
        made.update(part)
    return made.hexdigest()[:32]


def one_line(text: str) -> str:
    """White space collapsed, for titles and details."""
    return " ".join(text.split())
