"""The text of a document: decoded, stripped of markup and navigation, in NFC with plain line ends.

HTML is parsed by resiliparse. Its own main-content mode loses Japanese text (one-character text nodes such as が between
two tags, and whole lists), so navigation is pruned here and all that is left is kept; trafilatura judges
pages of which the pruning leaves too little.
"""

import re
import unicodedata
from dataclasses import dataclass

from corpus.extract.charset import Decoded, decode, mend
from corpus.extract.html_page import MainText, Unparsable, main_text
from corpus.extract.language_gate import MIN_KANA, is_foreign
from corpus.records import DroppedRecord, RawDocument, drop, one_line

# C0 and C1 controls but tab and line feed, soft hyphen, zero-width and bidirectional marks, byte-order mark, noncharacters.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f\xad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufffe\uffff]"
)
_LINE_END = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_SPACES_AT_END = re.compile(r"[ \u3000]+$", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n{3,}")
_HALF_WIDTH = re.compile("[\uff61-\uff9f]+")


@dataclass(frozen=True)
class Extracted:
    """What a document says."""

    text: str  # NFC, "\n", no control characters, no blank line twice, never empty
    title: str  # one line, "" unknown
    lang: str  # the page's own lang attribute in lower case, "" unknown
    charset: str  # what the bytes were in, by Python's name
    extractor: str  # "resiliparse", "trafilatura", "roff" or "text"
    flags: tuple[str, ...] = ()  # "damaged_bytes", "mojibake", "mojibake_repaired", "halfwidth"
    linked: int = 0  # characters of the text inside links; 0 where trafilatura took it, which does not say


def extract(document: RawDocument, language: str = "ja", least_kana: int = MIN_KANA) -> Extracted | DroppedRecord:
    """Decode a document and take its text; a document without text is a drop with its reason.

    Args:
        language: "ja" drops pages that are surely not Japanese before they are parsed; "any" keeps every language.
        least_kana: with fewer of them a page is surely not Japanese, `Preset.least_kana`.
    """
    if document.kind == "text":
        row = mend(Decoded(document.text or "", document.declared or "utf-8", document.flags))
        return _finish(document, row, MainText(row.text, document.title, "", "text"))
    decoded = decode(document.raw, document.declared)
    if decoded is None:
        return drop(document, "undecodable", f"declared {document.declared or 'nothing'}; no charset fits the bytes")
    if document.kind == "roff":
        from corpus.extract.roff.page import Redirect, roff_text

        page = roff_text(decoded.text)
        if isinstance(page, Redirect):
            return drop(document, "redirect_page", f"is {page.target}")
        return _finish(document, decoded, MainText(page.text, page.title, "", "roff"))
    if language == "ja" and (why := is_foreign(decoded.text, least_kana)):
        return drop(document, "foreign_page", why)
    try:
        result = main_text(decoded.text)
    except Unparsable as error:
        return drop(document, "unparsable", str(error))
    return _finish(document, decoded, result)


def _finish(document: RawDocument, decoded: Decoded, found: MainText) -> Extracted | DroppedRecord:
    wide = full_width(found.text)
    text = clean_text(wide)
    if not text:
        return drop(document, "no_text", f"{len(document.raw)} bytes of {document.kind}")
    title = one_line(clean_text(full_width(found.title or document.title)))
    flags = decoded.flags if wide == found.text else (*decoded.flags, "halfwidth")
    return Extracted(
        text=text,
        title=title,
        lang=found.lang,
        charset=decoded.charset,
        extractor=found.extractor,
        flags=flags,
        linked=found.linked,
    )


def full_width(text: str) -> str:
    """Half-width katakana and their punctuation as NFKC writes them; a sound mark that fits no kana is alone (゛ ゜)."""
    return _HALF_WIDTH.sub(_widen, text)


def _widen(run: re.Match[str]) -> str:
    # NFKC gives combining marks, and composes those that fit; what is left of them would settle on any neighbour.
    return unicodedata.normalize("NFKC", run[0]).replace("\u3099", "\u309b").replace("\u309a", "\u309c")


def clean_text(text: str) -> str:
    """NFC, line feeds only, no control characters, no space at a line's end, at most one blank line in a row."""
    text = _LINE_END.sub("\n", text).replace("\t", " ").replace("\xa0", " ")
    text = _CONTROL.sub("", text.encode("utf-8", "ignore").decode("utf-8"))  # lone surrogates go too
    text = unicodedata.normalize("NFC", text)
    return _BLANK_LINES.sub("\n\n", _SPACES_AT_END.sub("", text)).strip("\n ")
