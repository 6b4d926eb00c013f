"""The texts that tokenizers are compared on: what the tokenizer's training did not read.

The training sample is drawn again, by the settings in the artifact's manifest. Of each source, the first of these that
holds MIN_CHARACTERS is measured:

    documents   documents of which no long sentence was drawn
    lines       of every document, the lines of which no sentence was drawn; without blank lines, which lost neighbours
    trained     every document: the training read all of the source, and the report says so

A sentence is long from LONG_SENTENCE characters; shorter ones recur everywhere (headings, はい。). What was drawn is told
by its words, not by its place: a copy of a drawn sentence is not held out either.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.documents import read_documents
from pipeline.errors import BadInput, MissingInput
from tokenizer.settings import TokenizerSettings
from tokenizer.train.sample import draw, sentences

RULES = {
    "documents": "学習に使わなかった文書",
    "lines": "各文書のうち学習に使わなかった行",
    "trained": "学習に使った文章 (出典のすべてを学習に使ったため)",
    "given": "指定したファイル",
}
LONG_SENTENCE = 16
# Of a source: three digits of every figure, and seconds a tokenizer.
MAX_CHARACTERS, MIN_CHARACTERS = 300_000, 20_000
GIVEN = "TEXT"  # the source of files that a person names


@dataclass
class Source:
    """What is measured of one source."""

    rule: str  # a key of RULES
    texts: list[str] = field(default_factory=list)
    documents: int = 0  # of the source, in the corpus
    document_characters: int = 0

    @property
    def characters(self) -> int:
        """Of the measured texts."""
        return sum(map(len, self.texts))


def held_out(files: Sequence[Path], settings: TokenizerSettings) -> dict[str, Source]:
    """Texts of every source of a corpus that has text, by the rules above; the same on every machine.

    Args:
        files: the corpus's documents, as the tokenizer stage read them.
        settings: those that the tokenizer was trained with.
    """
    drawn = {_hash(sentence) for sentence in draw(files, settings)}
    kept: defaultdict[str, dict[str, _Lowest]] = defaultdict(lambda: {rule: _Lowest() for rule in RULES})
    documents, characters = Counter[str](), Counter[str]()
    for source, doc_id, text in _documents(files):
        documents[source] += 1
        characters[source] += len(text)
        key = hashlib.sha256(f"report {doc_id}".encode()).digest()
        kept[source]["trained"].add(key, text)
        if _is_unread(text, drawn):
            kept[source]["documents"].add(key, text)
            kept[source]["lines"].add(key, text)
        elif unread := "\n".join(line for line in text.split("\n") if line and _is_unread(line, drawn, long=1)):
            kept[source]["lines"].add(key, unread)
    made = {}
    for source, found in sorted(kept.items()):
        needed = max(min(MIN_CHARACTERS, characters[source] // 100), 1)
        rule = next((rule for rule in ("documents", "lines") if found[rule].characters >= needed), "trained")
        made[source] = Source(rule, found[rule].first(MAX_CHARACTERS), documents[source], characters[source])
    return made


def given(paths: Sequence[Path]) -> Source:
    """Files that a person names, a text each.

    Raises: MissingInput if one is not there; BadInput if it is not UTF-8 text, or empty.
    """
    texts = []
    for path in paths:
        if not path.is_file():
            raise MissingInput(f"TEXT {path}: no such file; give UTF-8 text files")
        try:
            texts.append(path.read_bytes().decode())
        except UnicodeDecodeError as error:
            raise BadInput(f"TEXT {path}: not UTF-8 ({error}); convert it, for example with iconv -t UTF-8") from error
        if not texts[-1]:
            raise BadInput(f"TEXT {path}: empty; give a file with text")
    return Source("given", texts, len(texts), sum(map(len, texts)))


def excerpts(sources: Mapping[str, Source], each: int, most: int) -> list[tuple[str, str]]:
    """(source, beginning) of the texts that are shown.

    Args:
        each: texts a source, the first that fill half of `most`; of what a person named, all.
        most: characters of a text; four times as many of what a person named.
    """
    shown = []
    for name, source in sources.items():
        long = [text for text in source.texts if len(text) >= most // 2] or [text for text in source.texts if text.strip()]
        texts = source.texts if source.rule == "given" else long[:each]
        shown += [(name, _begin(text, 4 * most if source.rule == "given" else most)) for text in texts]
    return shown


def _begin(text: str, most: int) -> str:
    """A beginning of at most `most` characters, to the end of a line or sentence where one is near."""
    text = text.strip("\n")
    if len(text) <= most:
        return text
    end = max(text.rfind(mark, most // 2, most) for mark in "\n。！？")
    return text[: end + 1 if end >= 0 else most].rstrip("\n")


def _documents(files: Sequence[Path]) -> Iterator[tuple[str, str, str]]:
    for path in files:
        for row in read_documents(path, ("doc_id", "source", "text")):
            if row["text"]:
                yield row["source"], row["doc_id"], row["text"]


def _is_unread(text: str, drawn: set[bytes], long: int = LONG_SENTENCE) -> bool:
    """Whether no sentence of `long` characters was drawn; of a text without such sentences, whether none at all was."""
    parts = [part for line in text.split("\n") for part in sentences(line) if part]
    parts = [part for part in parts if len(part) >= long] or parts
    return not any(_hash(part) in drawn for part in parts)


class _Lowest:
    """The texts of the lowest keys, somewhat more than MAX_CHARACTERS of them."""

    def __init__(self) -> None:
        self._rows: list[tuple[bytes, str]] = []
        self.characters = 0

    def add(self, key: bytes, text: str) -> None:
        self._rows.append((key, text))
        self.characters += len(text)
        if self.characters > 4 * MAX_CHARACTERS:  # seldom enough that sorting costs nothing
            self._rows = self._first(2 * MAX_CHARACTERS)
            self.characters = sum(len(text) for _, text in self._rows)

    def first(self, most: int) -> list[str]:
        """Up to `most` characters, at least one text."""
        return [text for _, text in self._first(most)]

    def _first(self, most: int) -> list[tuple[bytes, str]]:
        kept, total = [], 0
        for key, text in sorted(self._rows):
            total += len(text)
            if kept and total > most:
                break
            kept.append((key, text))
        return kept


def _hash(sentence: str) -> bytes:
    return hashlib.blake2b(sentence.encode(), digest_size=8).digest()
