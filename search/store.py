"""One shard's text, documents and passages: written once, read by mmap.

ngram/NNNNN/text.u8               see search.ngram
passages/NNNNN/documents.arrow    Arrow IPC file: doc_id, source, url, title; one row a document
passages/NNNNN/documents.i32      (D + 1,) little-endian int32: where each document begins in text.u8, then text.u8's size
passages/NNNNN/passages.i32       (P,) little-endian int32: where each passage begins in text.u8
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import CorruptArtifact
from search import ngram

NGRAM, PASSAGES, VECTOR = "ngram", "passages", "vector"
DOCUMENTS, DOCUMENT_BEGINS, PASSAGE_BEGINS = "documents.arrow", "documents.i32", "passages.i32"
COLUMNS = ("doc_id", "source", "url", "title")


@dataclass(frozen=True)
class Document:
    """Where a document comes from, and its bytes [begin, end) in the shard's text."""

    number: int
    doc_id: str
    source: str
    url: str
    title: str
    begin: int
    end: int


def write(folder: Path, rows: Sequence[Sequence[str]], documents: Sequence[int], passages: Sequence[int], size: int) -> None:
    """Write the documents and passages of one shard into `folder`.

    Args:
        rows: doc_id, source, url, title of each document.
        documents, passages: where each begins in the shard's text, ascending bytes.
        size: bytes of the shard's text, the separators included.
    """
    import pyarrow as pa

    columns = list(zip(*rows, strict=True))
    table = pa.table({name: pa.array(values, pa.string()) for name, values in zip(COLUMNS, columns, strict=True)})
    with pa.OSFile(str(folder / DOCUMENTS), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    np.asarray([*documents, size], "<i4").tofile(folder / DOCUMENT_BEGINS)
    np.asarray(passages, "<i4").tofile(folder / PASSAGE_BEGINS)


class Shard:
    """One opened shard: its suffix array, its documents, its passages."""

    def __init__(self, data: Path, name: str) -> None:
        """Open shard `name` of an index artifact's data.

        Raises: CorruptArtifact if a file is missing or the files contradict each other.
        """
        import pyarrow as pa

        folder = data / PASSAGES / name
        self.name = name
        self.suffixes = ngram.SuffixArray(data / NGRAM / name)
        try:
            self._documents = pa.ipc.open_file(pa.memory_map(str(folder / DOCUMENTS))).read_all()
            self.document_begins = np.memmap(folder / DOCUMENT_BEGINS, "<i4", "r").view(np.ndarray)
            self.passage_begins = np.memmap(folder / PASSAGE_BEGINS, "<i4", "r").view(np.ndarray)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise CorruptArtifact(f"{folder}: not a readable shard ({error}); make the index again") from error
        size = len(self.suffixes.text)
        if (
            self._documents.column_names != list(COLUMNS)
            or len(self.document_begins) != self._documents.num_rows + 1
            or int(self.document_begins[-1]) != size
            or int(self.passage_begins[-1]) >= size
        ):
            raise CorruptArtifact(
                f"{folder}: {self._documents.num_rows} documents, {len(self.document_begins)} begins and "
                f"{len(self.passage_begins)} passages do not fit {size} bytes of text; make the index again"
            )

    @property
    def passages(self) -> int:
        """How many passages the shard has."""
        return len(self.passage_begins)

    @property
    def text_bytes(self) -> int:
        """UTF-8 bytes of the documents, without the separators."""
        return len(self.suffixes.text) - self._documents.num_rows

    def passage_at(self, place: int) -> int:
        """Number of the passage that a byte offset lies in."""
        return int(np.searchsorted(self.passage_begins, place, side="right")) - 1

    def passages_of(self, places: np.ndarray) -> list[int]:
        """Numbers of the passages that ascending byte offsets lie in, each once, ascending."""
        found = np.searchsorted(self.passage_begins, places, side="right") - 1
        return found[np.diff(found, prepend=-1) > 0].tolist()

    def bounds(self, passage: int) -> tuple[int, int]:
        """Bytes [begin, end) of a passage."""
        begin = int(self.passage_begins[passage])
        end = int(self.document_begins[self._document(begin) + 1]) - 1
        if passage + 1 < len(self.passage_begins):
            end = min(end, int(self.passage_begins[passage + 1]))
        return begin, end

    def document_at(self, place: int) -> Document:
        """The document that a byte offset lies in."""
        number = self._document(place)
        doc_id, source, url, title = (self._documents.column(name)[number].as_py() for name in COLUMNS)
        begin, end = self.document_begins[number : number + 2].tolist()
        return Document(number, doc_id, source, url, title, begin, end - 1)

    def _document(self, place: int) -> int:
        return int(np.searchsorted(self.document_begins, place, side="right")) - 1

    def text(self, begin: int, end: int) -> str:
        """Text of bytes [begin, end), which must be whole characters."""
        return self.suffixes.text[begin:end].decode()

    def passage_texts(self, passages: Sequence[int]) -> list[str]:
        """Text of some passages."""
        return [self.text(*self.bounds(passage)) for passage in passages]
