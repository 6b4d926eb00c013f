"""Text decoded by the wrong charset and encoded again: found by its signature, repaired only where that is certain.

What was UTF-8, Shift_JIS or EUC-JP and was read as Latin (ISO-8859-1, Windows-1252) comes back byte by byte; UTF-8 read as
CP932 comes back where CP932 gave every byte pair a character of its own. A repair is certain if the whole text goes back
to bytes, the bytes decode strictly, and what comes out is full of kana.
"""

import codecs
import re

# Kana that a repaired text must hold: in Latin text of another language, pairs of bytes that read as kana are chance.
MIN_KANA = 8
# Their share of the repaired text's characters beyond ASCII; Japanese prose has .45 or more, chance readings below .1.
MIN_KANA_SHARE = 0.2
# Signs of mojibake among the characters beyond ASCII from which a text is called so. Prose of Aozora and Wikipedia that
# says 縺れる stays below .002; mojibake of Japanese prose has .15 or more (tests/corpus/test_mojibake.py).
MIN_SIGNS, MIN_SIGN_SHARE = 8, 0.08

_KANA = re.compile(r"[\u3041-\u3096\u30a1-\u30fa\u30fc]")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
# The first two bytes of kana in UTF-8, E3 81…E3 83, are these kanji in CP932; the third joins what follows.
_AS_CP932 = "縺繧繝"
# The same bytes as Latin letters, in ISO-8859-1 and in Windows-1252.
_UTF8_AS_LATIN = re.compile("ã[\x81\x82\x83‚ƒ]")
# Lead bytes of kana in Shift_JIS (82, 83) before a trail byte, and in EUC-JP (A4, A5).
_SJIS_AS_LATIN = re.compile("[\x82\x83‚ƒ][@-~\x80-\xff€-™]")
_EUC_AS_LATIN = re.compile("[¤¥][¡-ÿ]")
# A text without any of these characters needs no closer look.
SUSPICIOUS = "縺繧繝ã\x82\x83‚ƒ¤¥"
_ANY_SUSPICIOUS = re.compile(f"[{SUSPICIOUS}]")


def is_mojibake(text: str) -> bool:
    """Whether a text bears the signature of Japanese that was decoded by the wrong charset."""
    if text.isascii() or not _ANY_SUSPICIOUS.search(text):
        return False
    signs = max(
        sum(map(text.count, _AS_CP932)),
        len(_UTF8_AS_LATIN.findall(text)),
        len(_SJIS_AS_LATIN.findall(text)),
        len(_EUC_AS_LATIN.findall(text)),
    )
    if signs < MIN_SIGNS:
        return False
    return signs >= MIN_SIGN_SHARE * sum(map(len, _NOT_ASCII.findall(text)))


def repair(text: str) -> str | None:
    """The text as it was before it was read wrongly, or None where that is not certain."""
    if not is_mojibake(text):
        return None
    for raw in (_latin_bytes(text), _cp932_bytes(text)):
        if raw is None:
            continue
        for charset in ("utf-8", "cp932", "euc_jp"):
            try:
                repaired = raw.decode(charset)
            except UnicodeDecodeError:
                continue
            if _is_japanese(repaired):
                return repaired
    return None


def _is_japanese(text: str) -> bool:
    kana = len(_KANA.findall(text))
    return kana >= MIN_KANA and kana >= MIN_KANA_SHARE * sum(map(len, _NOT_ASCII.findall(text))) and not is_mojibake(text)


def _latin_bytes(text: str) -> bytes | None:
    """Bytes of a text read as ISO-8859-1 or as Windows-1252, whose undefined bytes browsers read as C1 controls."""
    codecs.register_error("c1-control", _c1_control)
    try:
        return text.encode("cp1252", "c1-control")
    except UnicodeEncodeError:
        return None


def _c1_control(error: UnicodeError) -> tuple[bytes, int]:
    """Encode error handler: U+0080…U+009F stand for their own bytes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    run = error.object[error.start : error.end]
    if not all("\x80" <= character <= "\x9f" for character in run):
        raise error
    return run.encode("latin-1"), error.end


def _cp932_bytes(text: str) -> bytes | None:
    try:
        return text.encode("cp932")
    except UnicodeEncodeError:
        return None
