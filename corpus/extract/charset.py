"""Bytes of unknown charset to text: Shift_JIS as CP932, EUC-JP, ISO-2022-JP, UTF-8, UTF-16; what a page declares is a hint.

A page is decoded strictly where a charset fits every byte, but for a character cut in two at the very end. Where none
does, a few bad bytes become U+FFFD and the page is flagged; more of them, and it is refused. Mojibake is repaired where
that is certain (`corpus.extract.mojibake`).
The three JIS encodings share one repertoire, NEC and IBM extensions (①㈱髙) included, and map it as the WHATWG Encoding
Standard (https://encoding.spec.whatwg.org/) does, so that one page in four charsets is one text.
"""

import codecs
import re
from collections.abc import Callable
from dataclasses import dataclass

from corpus.extract import mojibake

# The WHATWG standard reads 1,024 bytes for a declaration; heads with long comments before it are common.
_META_BYTES = 4096
_META = re.compile(
    rb"""<(?:meta\b[^>]*?\bcharset\s*=|\?xml\b[^>]*?\bencoding\s*=)\s*["']?\s*([A-Za-z0-9_.:-]+)""", re.IGNORECASE
)
# Labels seen in the wild that Python's codec registry does not know.
_LABELS = {"x-sjis": "cp932", "windows-31j": "cp932", "x-euc-jp": "euc_jp", "x-euc": "euc_jp", "utf8mb4": "utf-8"}
_JAPANESE = {"cp932", "euc_jp", "iso2022_jp"}
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_ESCAPE = re.compile(rb"\x1b(\$[@B]|\$\([D@B]|\([BJIH])")
# JIS X 0208 characters that Python's euc_jp maps by the JIS tables and WHATWG (as CP932) by Microsoft's.
_AS_WHATWG = str.maketrans("\u301c\u2212\u2016\u00a2\u00a3\u00ac", "\uff5e\uff0d\u2225\uffe0\uffe1\uffe2")
# Characters that tell two readings of the same bytes apart; a sample of a page is enough.
_SAMPLE = 4000
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
_COMMON = re.compile(r"[\u3041-\u3093\u30a1-\u30f6\u30fb\u30fc、。「」（）！？・]")
_HALF_KATAKANA = re.compile(r"[\uff61-\uff9f]")
# How Python's decoders say that the bytes end inside a character.
_CUT = {"unexpected end of data", "incomplete multibyte sequence", "truncated data"}
_NO_TEXT = re.compile(r"[\x80-\x9f\ue000-\uf8ff\ufffd]")
# Share of kana and punctuation, less half-width katakana, among a page's non-ASCII characters. Over a crawl of 1,883 pages
# Japanese has .146 or more (99.5 % of pages) and Korean or Chinese bytes read as Japanese have .051 or less.
PLAUSIBLE = 0.1
# Undefined bytes that CP932 passes through, and private characters: a few are mobile pictograms, many are no text.
MAX_NO_TEXT = 0.02
# Bad bytes a page may have, of its characters: as many as the rule `replacement` lets pass (mojibake, not a stray byte).
MAX_DAMAGED = 0.001
# … and of its characters beyond ASCII, for these alone say which charset it is: another charset's bytes fail every few
# characters (cp1251, GBK or Latin text read as one of ours: 10 % and more).
MAX_DAMAGED_EVIDENCE = 0.01
# UTF-16 without a mark: markup and line ends are ASCII, so every tenth unit or more has a zero byte, always the same one.
UTF16_ZEROS, UTF16_OTHER_ZEROS = 0.1, 0.005
DAMAGED, MOJIBAKE, REPAIRED = "damaged_bytes", "mojibake", "mojibake_repaired"


@dataclass(frozen=True)
class Decoded:
    """Text and the charset its bytes were in, by Python's name of it."""

    text: str
    charset: str
    flags: tuple[str, ...] = ()  # of DAMAGED, MOJIBAKE, REPAIRED


def decode(raw: bytes, declared: str = "") -> Decoded | None:
    """Find the charset of a page, decode it, and repair what an earlier program decoded wrongly.

    Args:
        declared: what the transport (an HTTP header) says; the page's own declaration is looked up here.
    Returns: None where no charset fits the bytes.
    """
    result = _decode(raw, declared)
    return result and mend(result)


def mend(found: Decoded) -> Decoded:
    """The same text without mojibake where it can be repaired; flagged where there is or was any."""
    if (repaired := mojibake.repair(found.text)) is not None:
        return Decoded(repaired, found.charset, (*found.flags, REPAIRED))
    return Decoded(found.text, found.charset, (*found.flags, MOJIBAKE)) if mojibake.is_mojibake(found.text) else found


def _decode(raw: bytes, declared: str) -> Decoded | None:
    for bom, name in _BOMS:
        if raw.startswith(bom):
            text = _strict(raw[len(bom) :], name)
            return _tolerant(raw[len(bom) :], (name,)) if text is None else Decoded(text, name)
    said = codec_name(declared)
    if (wide := _utf16(raw, said)) is not None:
        return wide
    if raw.isascii():
        if _ESCAPE.search(raw):
            if (text := _iso2022(raw)) is not None:
                return Decoded(text, "iso2022_jp")
            if (result := _tolerant(raw, ("iso2022_jp",))) is not None:
                return result
        return Decoded(raw.decode("ascii"), "utf-8")
    if (text := _strict(raw, "utf-8")) is not None:
        return Decoded(text, "utf-8")
    # A page that says in ASCII that it is UTF-16 is not.
    hints = [name for name in (said, codec_name(meta_charset(raw))) if name and not name.startswith(("utf-16", "utf-32"))]
    return _tolerant(raw, ("utf-8",)) or _legacy(raw, hints)


def meta_charset(raw: bytes) -> str:
    """The charset that an HTML page or XML file declares in its own first bytes, or ""."""
    match = _META.search(raw, 0, _META_BYTES)
    return match[1].decode("ascii") if match else ""


def codec_name(label: str) -> str:
    """Python's codec for a declared label, or "" for none; the Shift_JIS family is CP932, which contains it."""
    label = label.strip().strip("\"'").lower()
    if not label:
        return ""
    try:
        name = codecs.lookup(_LABELS.get(label, label)).name
        "".encode(name)  # codecs.lookup also knows bytes-to-bytes codecs such as hex and zlib
    except (LookupError, ValueError, AssertionError, TypeError):
        return ""
    for family, names in (("cp932", "shift_jis"), ("euc_jp", "euc_ji"), ("iso2022_jp", "iso2022_jp")):
        if name.startswith(names):
            return family
    return {"iso8859-1": "cp1252", "gb2312": "gb18030", "gbk": "gb18030", "euc_kr": "cp949"}.get(name, name)


def plausibility(text: str) -> float:
    """How much the non-ASCII characters of `text` look like Japanese prose: about .5 for prose, below 0 for a misreading."""
    sample = "".join(_NOT_ASCII.findall(text[: 8 * _SAMPLE]))[:_SAMPLE]
    if not sample:
        return 0.0
    if len(_NO_TEXT.findall(sample)) > MAX_NO_TEXT * len(sample):
        return -1.0
    return (len(_COMMON.findall(sample)) - len(_HALF_KATAKANA.findall(sample))) / len(sample)


def _legacy(raw: bytes, hints: list[str]) -> Decoded | None:
    """Eight-bit bytes that are not UTF-8: CP932, EUC-JP, or the charset of another language."""
    readings = {name: text for name in ("cp932", "euc_jp") if (text := _strict(raw, name)) is not None}
    scores = {name: plausibility(text) + (1e-3 if name in hints else 0.0) for name, text in readings.items()}
    best = max(scores, key=lambda name: scores[name], default="")
    if best and scores[best] >= PLAUSIBLE:
        return Decoded(readings[best], best)
    damaged = _tolerant(raw, ("cp932", "euc_jp"))
    if damaged is not None and plausibility(damaged.text) >= PLAUSIBLE:
        return damaged
    foreign = [name for name in hints if name not in _JAPANESE and name != "utf-8"]
    for name in foreign:
        if (text := _strict(raw, name)) is not None and plausibility(text) >= 0.0:
            return Decoded(text, name)
    if best and scores[best] >= 0.0:  # few characters, all kanji
        return Decoded(readings[best], best)
    if hints:
        return None
    text = _strict(raw, name := _detected(raw))
    return None if text is None or plausibility(text) < 0.0 else Decoded(text, name)


def _tolerant(raw: bytes, names: tuple[str, ...]) -> Decoded | None:
    """Decode with U+FFFD for bad bytes by the charset that leaves the fewest of them, if they are few."""
    best: tuple[int, str, str] | None = None
    for name in names:
        text = _replacing(raw, name)
        bad = text.count("\ufffd")
        evidence = sum(map(len, _NOT_ASCII.findall(text)))
        if bad <= min(MAX_DAMAGED * len(text), MAX_DAMAGED_EVIDENCE * evidence) and (best is None or bad < best[0]):
            best = bad, name, text
    return best and Decoded(best[2], best[1], (DAMAGED,))


def _replacing(raw: bytes, name: str) -> str:
    if name == "euc_jp":
        return _euc(raw, "euc-extension-or-replacement")
    if name == "iso2022_jp":
        return _iso2022(raw, "euc-extension-or-replacement") or ""
    return raw.decode(name, "replace")


def _utf16(raw: bytes, said: str) -> Decoded | None:
    """UTF-16 without a byte order mark, where zero bytes or the transport say so."""
    sample = raw[: 4 * _SAMPLE]
    units = len(sample) // 2
    zeros = {"utf-16-be": sample[0 : 2 * units : 2].count(0), "utf-16-le": sample[1 : 2 * units : 2].count(0)}
    name = max(zeros, key=lambda order: zeros[order])
    if units and zeros[name] >= UTF16_ZEROS * units and min(zeros.values()) <= UTF16_OTHER_ZEROS * units:
        text = _strict(raw, name)
        return Decoded(text, name) if text and _NO_TEXT.search(text[:_SAMPLE]) is None else None
    if not said.startswith("utf-16"):
        return None
    readings = {order: text for order in ("utf-16-be", "utf-16-le") if (text := _strict(raw, order))}
    best = max(readings, key=lambda order: plausibility(readings[order]), default="")
    return Decoded(readings[best], best) if best and plausibility(readings[best]) >= PLAUSIBLE else None


def _detected(raw: bytes) -> str:
    """What uchardet makes of a page that declares nothing and is no likely Japanese."""
    from resiliparse.parse.encoding import detect_encoding

    return codec_name(detect_encoding(raw) or "") or "utf-8"


def _strict(raw: bytes, name: str) -> str | None:
    """Decode all of `raw`, or all but a character cut in two by the end; None if that is impossible."""
    decoders: dict[str, Callable[[bytes], str]] = {"euc_jp": _euc, "iso2022_jp": _euc}
    decoder = decoders.get(name, lambda data: data.decode(name))
    try:
        return decoder(raw)
    except UnicodeDecodeError as error:
        if error.reason not in _CUT or error.start == 0:
            return None
        whole = raw[: error.start]
    except LookupError:
        return None
    try:
        return decoder(whole)
    except UnicodeDecodeError:
        return None


def _euc(raw: bytes, errors: str = "euc-extension") -> str:
    """EUC-JP with the NEC and IBM extensions (eucJP-ms, CP51932)."""
    codecs.register_error("euc-extension", _euc_extension)
    codecs.register_error("euc-extension-or-replacement", _euc_replacement)
    return raw.decode("euc_jp", errors).translate(_AS_WHATWG)


def _euc_extension(error: UnicodeError) -> tuple[str, int]:
    """Decode error handler: a two-byte code that JIS X 0208 leaves free is looked up at its place in CP932."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    pair = error.object[error.start : error.start + 2]
    if len(pair) < 2 or not all(0xA1 <= byte <= 0xFE for byte in pair):
        raise error
    row, cell = pair[0] - 0xA0, pair[1] - 0xA0  # ku and ten, 1…94
    lead = (row - 1) // 2 + (0x81 if row <= 62 else 0xC1)
    trail = cell + 0x9E if row % 2 == 0 else cell + 0x3F + (cell >= 64)
    try:
        text = bytes((lead, trail)).decode("cp932")
    except UnicodeDecodeError:
        raise error from None
    return text, error.start + 2


def _euc_replacement(error: UnicodeError) -> tuple[str, int]:
    """Decode error handler: as `_euc_extension`, and U+FFFD for what is in no table."""
    try:
        return _euc_extension(error)
    except UnicodeDecodeError as unknown:
        return "\ufffd", unknown.end


def _iso2022(raw: bytes, errors: str = "euc-extension") -> str | None:
    """ISO-2022-JP with half-width katakana, JIS X 0212 and the NEC row (CP50221), or None."""
    parts, mode, end = [], b"(B", 0
    try:
        for escape in _ESCAPE.finditer(raw):
            parts.append(_iso2022_run(raw[end : escape.start()], mode, errors))
            mode, end = escape[1], escape.end()
        parts.append(_iso2022_run(raw[end:], mode, errors))
    except UnicodeDecodeError:
        return None
    return "".join(parts)


def _iso2022_run(run: bytes, mode: bytes, errors: str) -> str:
    """Bytes between two escape sequences; white space and controls stand for themselves in every mode."""
    if mode == b"(B":
        return run.decode("ascii")
    if mode in (b"(J", b"(H"):  # JIS X 0201 Roman is ASCII but for two signs
        return run.decode("ascii").translate({0x5C: "¥", 0x7E: "‾"})
    if mode == b"(I":
        return bytes(byte | 0x80 if 0x21 <= byte <= 0x5F else byte for byte in run).decode("cp932")
    out = []
    for piece in re.split(rb"([\x00-\x20]+)", run):
        high = bytes(byte | 0x80 for byte in piece)
        if not piece or piece[0] <= 0x20:
            out.append(piece.decode("ascii"))
        elif mode == b"$(D":
            out.append(_euc(b"".join(b"\x8f" + high[i : i + 2] for i in range(0, len(high), 2)), errors))
        else:
            out.append(_euc(high, errors))
    return "".join(out)
