"""The text of a document: decoded, stripped of markup and navigation, in NFC with plain line ends.

HTML is parsed by resiliparse. Its own main-content mode loses Japanese text (one-character text nodes such as が between
two tags, and whole lists), so navigation is pruned here and all that is left is kept; trafilatura judges
pages of which the pruning leaves too little.
"""

import re
import unicodedata
from dataclasses import dataclass

from corpus.decode import decode
from corpus.readers.records import DroppedRecord, RawDocument, drop, one_line

# C0 and C1 controls but tab and line feed, soft hyphen, zero-width and bidirectional marks, byte-order mark, noncharacters.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f\xad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufffe\uffff]"
)
_LINE_END = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_SPACES_AT_END = re.compile(r"[ \u3000]+$", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n{3,}")


@dataclass(frozen=True)
class Extracted:
    """What a document says."""

    text: str  # NFC, "\n", no control characters, no blank line twice, never empty
    title: str  # one line, "" unknown
    lang: str  # the page's own lang attribute in lower case, "" unknown
    charset: str  # what the bytes were in, by Python's name
    extractor: str  # "resiliparse", "trafilatura", "roff" or "text"


def extract(document: RawDocument) -> Extracted | DroppedRecord:
    """Decode a document and take its text; a document without text is a drop with its reason."""
    if document.kind == "text":
        return _finish(document, document.text or "", document.title, "", "utf-8", "text")
    decoded = decode(document.raw, document.declared)
    if decoded is None:
        return drop(document, "undecodable", f"declared {document.declared or 'nothing'}; no charset fits every byte")
    if document.kind == "roff":
        from corpus.readers.roff import Redirect, roff_text

        page = roff_text(decoded.text)
        if isinstance(page, Redirect):
            return drop(document, "redirect_page", f"is {page.target}")
        return _finish(document, page.text, page.title, "", decoded.charset, "roff")
    from corpus.main_text import Unparsable, main_text

    try:
        found = main_text(decoded.text)
    except Unparsable as error:
        return drop(document, "unparsable", str(error))
    return _finish(document, found.text, found.title or document.title, found.lang, decoded.charset, found.extractor)


def _finish(document: RawDocument, text: str, title: str, lang: str, charset: str, extractor: str) -> Extracted | DroppedRecord:
    text = clean_text(text)
    if not text:
        return drop(document, "no_text", f"{len(document.raw)} bytes of {document.kind}")
    return Extracted(text, one_line(clean_text(title)), lang, charset, extractor)


def clean_text(text: str) -> str:
    """NFC, line feeds only, no control characters, no space at a line's end, at most one blank line in a row."""
    text = _LINE_END.sub("\n", text).replace("\t", " ").replace("\xa0", " ")
    text = _CONTROL.sub("", text.encode("utf-8", "ignore").decode("utf-8"))  # lone surrogates go too
    text = unicodedata.normalize("NFC", text)
    return _BLANK_LINES.sub("\n\n", _SPACES_AT_END.sub("", text)).strip("\n ")
