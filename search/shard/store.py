"""One shard's text, documents, passages and reads: written once, read by mmap.

text.u8, suffixes.*, fences.u8    see search/exact/suffix_array.py
reads.*.npy                       see reads.py
documents.jsonl                   doc_id, source, url, title, date: an array a document
documents.lines.npy               (D + 1,) where each line of it begins
documents.begins.npy              (D + 1,) where each document begins in text.u8, then text.u8's size
passages.begins.npy               (P,) where each passage begins in text.u8
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.documents import doc_id_array, doc_id_bytes
from pipeline.errors import CorruptArtifact
from search.arrays import compact, load
from search.exact import kernels, suffix_array
from search.exact.suffix_array import NO_RANGES
from search.normalized.view import NormalView
from search.shard.reads import Reads

SHARDS, NORMAL, VECTOR, MODEL, DUPLICATES = "shards", "normal", "vector", "model", "copies"
DUPLICATED, DUPLICATE_COUNTS = "ids.npy", "counts.npy"
ROWS, LINES, DOCUMENT_BEGINS = "documents.jsonl", "documents.lines.npy", "documents.begins.npy"
IDS, BY_ID, PASSAGE_BEGINS = "documents.ids.npy", "documents.by_id.npy", "passages.begins.npy"
ID = np.dtype("S16")
COLUMNS = ("doc_id", "source", "url", "title", "date")


@dataclass(frozen=True)
class Document:
    """Where a document comes from, and its bytes [begin, end) in the shard's text."""

    number: int
    doc_id: str
    source: str
    url: str
    title: str
    date: str
    begin: int
    end: int


def write(folder: Path, rows: Sequence[Sequence[str]], documents: Sequence[int], passages: Sequence[int], size: int) -> None:
    """Write the documents and passages of one shard into `folder`.

    Args:
        rows: COLUMNS of each document.
        documents, passages: where each begins in the shard's text, ascending bytes.
        size: bytes of the shard's text, the separators included.
    """
    lines = [json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for row in rows]
    (folder / ROWS).write_bytes(b"".join(lines))
    np.save(folder / LINES, compact(np.cumsum([0, *map(len, lines)])))
    ids = doc_id_array(row[0] for row in rows).reshape(-1).view(ID)
    np.save(folder / BY_ID, compact(np.argsort(ids, kind="stable")))
    np.save(folder / IDS, np.sort(ids))
    np.save(folder / DOCUMENT_BEGINS, compact(np.array([*documents, size])))
    np.save(folder / PASSAGE_BEGINS, compact(np.array(passages)))


def write_duplicates(folder: Path, ids: np.ndarray, counts: np.ndarray) -> None:
    """Write how many duplicates were left out in favour of each document: ids (n,) S16, ascending, and counts (n,)."""
    np.save(folder / DUPLICATED, ids)
    np.save(folder / DUPLICATE_COUNTS, compact(counts))


class Duplicates:
    """How many duplicates the corpus left out in favour of each document."""

    def __init__(self, folder: Path) -> None:
        """Raises: CorruptArtifact if a file is missing or they do not fit."""
        self._ids, self._counts = load(folder / DUPLICATED), load(folder / DUPLICATE_COUNTS)
        if len(self._ids) != len(self._counts):
            raise CorruptArtifact(f"{folder}: {len(self._counts)} counts of {len(self._ids)} ids; make the index again")

    def __len__(self) -> int:
        return len(self._ids)

    def of(self, doc_id: str) -> int:
        """Exact and near duplicates of a document that were left out of the corpus."""
        offset = _find(self._ids, doc_id)
        return 0 if offset is None else int(self._counts[offset])


class Ids:
    """The doc_ids of one shard."""

    def __init__(self, folder: Path) -> None:
        """Raises: CorruptArtifact if a file is missing or they do not fit."""
        self._ids, self._numbers = load(folder / IDS), load(folder / BY_ID)
        if len(self._ids) != len(self._numbers):
            raise CorruptArtifact(f"{folder}: {len(self._numbers)} documents of {len(self._ids)} ids; make the index again")

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, doc_id: str) -> bool:
        return _find(self._ids, doc_id) is not None

    def number(self, doc_id: str) -> int | None:
        """Number of the document in its shard, None where it is not there."""
        offset = _find(self._ids, doc_id)
        return None if offset is None else int(self._numbers[offset])


class Shard:
    """One opened shard: its suffix array, its documents, its passages and when training read them."""

    def __init__(self, data: Path, name: str, removed: Iterable[str] = ()) -> None:
        """Open shard `name` of an index artifact's data.

        Args:
            removed: doc_ids that are never found; those of other shards are ignored.
        Raises: CorruptArtifact if a file is missing or the files contradict each other.
        """
        folder = data / SHARDS / name
        self.name, self.data = name, data
        self._lines, self.ids = load(folder / LINES), Ids(folder)
        self.document_begins, self.passage_begins = load(folder / DOCUMENT_BEGINS), load(folder / PASSAGE_BEGINS)
        self.removed = frozenset(number for doc_id in removed if (number := self.ids.number(doc_id)) is not None)
        ranges = [(int(self.document_begins[n]), int(self.document_begins[n + 1])) for n in sorted(self.removed)]
        self.suffixes = suffix_array.SuffixArray(folder, np.array(ranges, np.int64) if ranges else NO_RANGES)
        try:
            self._rows = suffix_array.map_file(folder / ROWS)
        except (OSError, ValueError) as error:
            raise CorruptArtifact(f"{folder}: not a readable shard ({error}); make the index again") from error
        self.documents = len(self._lines) - 1
        size, lines, passages = len(self.suffixes.text), len(self._rows), len(self.passage_begins)
        if (
            not self.documents + 1 == len(self.document_begins) == len(self.ids) + 1
            or int(self.document_begins[-1]) != size
            or int(self._lines[-1]) != lines
            or not passages
            or int(self.passage_begins[-1]) >= size
        ):
            raise CorruptArtifact(
                f"{folder}: {self.documents} documents in {lines} bytes of rows, {len(self.document_begins)} begins and "
                f"{passages} passages do not fit {size} bytes of text; make the index again"
            )
        self.reads = Reads(folder, self.documents)
        self.normal: NormalView | None = None
        if (folder / NORMAL).exists():
            self.normal = NormalView(folder / NORMAL, size, self.suffixes.removed)

    @property
    def passages(self) -> int:
        """How many passages the shard has, those of removed documents too."""
        return len(self.passage_begins)

    @property
    def text_bytes(self) -> int:
        """UTF-8 bytes of the documents, without the separators and what was removed."""
        removed = sum(end - begin - 1 for begin, end in self.suffixes.removed.tolist())
        return len(self.suffixes.text) - self.documents - removed

    def passage_at(self, offset: int) -> int:
        """Number of the passage that a byte offset is in."""
        return kernels.count_up_to(self.passage_begins, offset) - 1

    def passages_of(self, offsets: np.ndarray) -> np.ndarray:
        """Numbers of the passages that ascending byte offsets are in, each once, ascending, int64."""
        return _numbers_of(self.passage_begins, offsets)

    def documents_of(self, offsets: np.ndarray) -> list[int]:
        """Numbers of the documents that ascending byte offsets are in, each once, ascending."""
        return _numbers_of(self.document_begins, offsets).tolist()

    def is_removed(self, passage: int) -> bool:
        """Whether a passage belongs to a removed document."""
        return bool(self.removed) and self.document_number(int(self.passage_begins[passage])) in self.removed

    def bounds(self, passage: int) -> tuple[int, int]:
        """Bytes [begin, end) of a passage."""
        begin = int(self.passage_begins[passage])
        end = int(self.document_begins[self.document_number(begin) + 1]) - 1
        if passage + 1 < len(self.passage_begins):
            end = min(end, int(self.passage_begins[passage + 1]))
        return begin, end

    def document_at(self, offset: int) -> Document:
        """The document that a byte offset is in."""
        return self.document(self.document_number(offset))

    def document_number(self, offset: int) -> int:
        """Number of the document that a byte offset is in."""
        return kernels.count_up_to(self.document_begins, offset) - 1

    def document(self, number: int) -> Document:
        """A document by its number."""
        line = self._rows[int(self._lines[number]) : int(self._lines[number + 1])]
        begin, end = int(self.document_begins[number]), int(self.document_begins[number + 1]) - 1
        doc_id, source, url, title, date = json.loads(line)
        return Document(number=number, doc_id=doc_id, source=source, url=url, title=title, date=date, begin=begin, end=end)

    def iterations(self, document: Document, spans: Sequence[tuple[int, int]]) -> tuple[int, ...]:
        """Every iteration that read a token of one of the byte ranges of text.u8, which are in that document; ascending."""
        return self.reads.iterations(document.number, [(a - document.begin, b - document.begin) for a, b in spans])

    def text(self, begin: int, end: int) -> str:
        """Text of bytes [begin, end), which must be whole characters."""
        return self.suffixes.text[begin:end].decode()

    def passage_texts(self, passages: Sequence[int]) -> list[str]:
        """Text of some passages."""
        return [self.text(*self.bounds(passage)) for passage in passages]


def _find(ids: np.ndarray, doc_id: str) -> int | None:
    key = np.array(doc_id_bytes(doc_id), ID)
    index = int(np.searchsorted(ids, key))
    return index if index < len(ids) and ids[index] == key else None


def _numbers_of(begins: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Numbers of the parts, which begin at `begins`, that ascending offsets are in; each once."""
    # Offsets of the array's own type: with another type numpy would first convert the whole array.
    result = np.searchsorted(begins, offsets.astype(begins.dtype), side="right").astype(np.int64) - 1
    return result[np.diff(result, prepend=-1) > 0]
