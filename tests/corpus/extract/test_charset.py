"""Charsets: Python's own codecs make the bytes, so the right text is known; declarations may lie or be missing."""

import json
import re
from collections import defaultdict, deque
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.extract.charset import DAMAGED, Decoded, codec_name, decode, meta_charset, plausibility
from corpus.readers import RawDocument, SourceSettings, plan_shards, read_shard

SENTENCE = "私は昨日、図書館で古い本を二冊借りて、夜おそくまで読んでいました。「とても面白い」と思う。"
CHARSETS = ["utf-8", "cp932", "euc_jp", "iso2022_jp"]
LABELS = {"utf-8": "utf-8", "cp932": "Shift_JIS", "euc_jp": "EUC-JP", "iso2022_jp": "ISO-2022-JP"}
# Prose: kana, punctuation and the kanji that all four charsets hold (JIS X 0208).
KANJI = bytes(byte for row in range(0xB0, 0xF4) for cell in range(0xA1, 0xFF) for byte in (row, cell)).decode(
    "euc_jp", "ignore"
)
HIRAGANA = "".join(map(chr, range(0x3041, 0x3094)))
prose = st.text(
    st.one_of(*map(st.sampled_from, (HIRAGANA, HIRAGANA, "、。「」ーアイウカキ", KANJI, "abc 123\n"))),
    min_size=40,
    max_size=300,
)


@pytest.mark.parametrize("charset", CHARSETS)
@given(text=prose, declared=st.sampled_from(["", *LABELS.values(), "iso-8859-1", "no-such-charset"]))
@settings(max_examples=60, deadline=None)
def test_prose_comes_back_whatever_is_declared(charset: str, text: str, declared: str) -> None:
    if plausibility(text) < 0.2:  # mostly kanji and ASCII: not the prose that the promise is about
        text += SENTENCE
    got = decode(text.encode(charset), declared)
    assert got is not None
    assert got.text == text
    assert got.charset == ("utf-8" if text.isascii() else charset)


@given(text=prose)
@settings(max_examples=60, deadline=None)
def test_a_cut_last_character_costs_only_itself(text: str) -> None:
    for charset in ("utf-8", "cp932", "euc_jp"):
        got = decode((SENTENCE + text + "漢").encode(charset)[:-1])
        assert got is not None
        assert (got.text, got.charset) == (SENTENCE + text, charset)


def test_extensions_that_the_plain_codecs_refuse() -> None:
    """① ㈱ 髙 are in NEC and IBM rows of CP932; in EUC and ISO-2022-JP at the same row and cell."""
    with pytest.raises(UnicodeEncodeError):
        "①㈱髙".encode("shift_jis")
    got = decode(f"{SENTENCE}①㈱髙".encode("cp932"))
    assert got is not None and got.text.endswith("①㈱髙")
    # Row 13: ① is cell 1, ㈱ is cell 74; 髙 is row 92, cell 66 (NEC-selected IBM extensions). EUC adds 0xA0 to both numbers.
    extension = bytes((13 + 0xA0, 1 + 0xA0, 13 + 0xA0, 74 + 0xA0, 92 + 0xA0, 66 + 0xA0))
    got = decode(SENTENCE.encode("euc_jp") + extension)
    assert got is not None and got.text == SENTENCE + "①㈱髙"
    jis = b"\x1b$B" + bytes(byte & 0x7F for byte in "日本".encode("euc_jp") + extension) + b"\x1b(I\x36\x40\x1b(B ok"
    got = decode(jis)
    assert got is not None and (got.text, got.charset) == ("日本①㈱髙ｶﾀ ok", "iso2022_jp")


def test_one_text_in_three_jis_charsets_is_one_text() -> None:
    """～ and － have two Unicode readings; WHATWG takes CP932's for all three."""
    pages = {decode(f"{SENTENCE}波〜線".encode(charset)) for charset in ("euc_jp", "iso2022_jp")}
    pages |= {decode(f"{SENTENCE}波～線".encode("cp932"))}
    assert {page.text for page in pages if page} == {f"{SENTENCE}波～線"}


@pytest.mark.parametrize(("bom", "codec", "name"), [
    (b"\xef\xbb\xbf", "utf-8", "utf-8"), (b"\xff\xfe", "utf-16-le", "utf-16-le"), (b"\xfe\xff", "utf-16-be", "utf-16-be"),
])  # fmt: skip
def test_byte_order_mark_wins(bom: bytes, codec: str, name: str) -> None:
    got = decode(bom + SENTENCE.encode(codec), "Shift_JIS")
    assert got is not None and (got.text, got.charset) == (SENTENCE, name)


@pytest.mark.parametrize("declared", ["", "utf-8", "Shift_JIS", "EUC-JP"])
def test_undecodable_bytes_are_refused(declared: str) -> None:
    """A lone 0xFF or 0x80 inside fits none of the Japanese charsets."""
    for charset in ("utf-8", "euc_jp"):
        assert decode(SENTENCE.encode(charset) + b"\x80\xff\xff" + SENTENCE.encode(charset), declared) is None
    assert decode(bytes(range(256)) * 8, declared) is None


@pytest.mark.parametrize("charset", ["utf-8", "cp932", "euc_jp"])
@pytest.mark.parametrize("declared", ["", "utf-8", "iso-8859-1", "EUC-JP"])
def test_one_bad_byte_in_a_long_page_costs_one_character(charset: str, declared: str) -> None:
    text = SENTENCE * 60
    raw = text.encode(charset)
    at = len(SENTENCE.encode(charset)) * 30  # between two characters
    got = decode(raw[:at] + b"\xff\n" + raw[at:], declared)
    expected = SENTENCE * 30 + "\ufffd\n" + SENTENCE * 30
    if charset == "cp932":  # 0xFF is nothing there; Python reads it as a private character
        assert got is not None and got.text.replace("\uf8f3", "\ufffd") == expected and got.charset == charset
        got = decode(raw[:at] + b"\x85\n" + raw[at:], declared)
    assert got == Decoded(expected, charset, (DAMAGED,))


@given(prose, st.integers(0), st.sampled_from([b"\xff", b"\x80\x80", b"\xf8"]))
@settings(max_examples=60, deadline=None)
def test_damage_is_flagged_and_small(text: str, at: int, damage: bytes) -> None:
    raw = (SENTENCE * 100 + text).encode()
    at %= len(raw)
    got = decode(raw[:at] + damage + raw[at:])
    assert got is not None and got.charset == "utf-8" and got.flags == (DAMAGED,)
    assert 1 <= got.text.count("\ufffd") <= 0.001 * len(got.text)


def test_a_cut_iso_2022_jp_page() -> None:
    """A line cut inside a character leaves an odd byte before the next escape sequence."""
    line = SENTENCE.encode("iso2022_jp")
    got = decode(b"\n".join([line] * 20 + [line[:-4] + b"\x1b(B"] + [line] * 20))
    assert got is not None and (got.charset, got.flags) == ("iso2022_jp", (DAMAGED,))
    assert got.text.count(SENTENCE) == 40 and got.text.count("\ufffd") == 1


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("declared", ["", "utf-16", "Shift_JIS"])
def test_utf16_without_a_mark(codec: str, declared: str) -> None:
    page = f"<html><head><title>頁</title></head><body><p>{SENTENCE}</p></body></html>\n"
    assert decode(page.encode(codec), declared) == Decoded(page, codec)
    if declared == "utf-16":
        assert decode((SENTENCE * 3).encode(codec), declared) == Decoded(SENTENCE * 3, codec)


def test_utf16_said_in_ascii_is_not_believed() -> None:
    """HTML Standard §13.2.3.2: such a declaration means UTF-8."""
    page = f'<meta charset="utf-16"><p>{SENTENCE}'
    assert decode(page.encode()) == Decoded(page, "utf-8")
    assert decode(page.encode("cp932")) == Decoded(page, "cp932")
    assert decode(b'<meta charset="utf-16"><p>plain') == Decoded('<meta charset="utf-16"><p>plain', "utf-8")


@pytest.mark.parametrize(("text", "codec", "label"), [
    ("모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.", "cp949", "euc-kr"),
    ("人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心。", "gb18030", "gb2312"),
    ("Все люди рождаются свободными и равными в своём достоинстве.", "cp1251", "windows-1251"),
    ("Alle Menschen sind frei und gleich an Würde und Rechten geboren.", "cp1252", "iso-8859-1"),
])  # fmt: skip
def test_declared_other_languages_are_not_taken_for_japanese(text: str, codec: str, label: str) -> None:
    got = decode(text.encode(codec), label)
    assert got is not None and got.text == text


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize(("codec", "label"), [("cp949", "euc-kr"), ("gb18030", "gb2312"), ("big5", "big5")])
@pytest.mark.sample
def test_pages_of_neighbours_in_their_own_charsets(sample_data: Path, codec: str, label: str, declared: bool) -> None:
    """The crawl's Korean and Chinese pages, encoded again: none comes out with kana as Japanese prose has them."""
    lang = {"cp949": "ko-KR", "gb18030": "zh-CN", "big5": "zh-TW"}[codec]
    pages = 0
    for url, document in labelled_pages(sample_data):
        if url["lang"] != lang:
            continue
        raw = re.sub(rb"charset=[^\"' >]+", b"", document.raw).decode().encode(codec, "xmlcharrefreplace")
        got = decode(raw, label if declared else "")
        pages += 1
        assert got is None or got.charset not in ("cp932", "euc_jp", "iso2022_jp") or plausibility(got.text) < 0.1, document.url
    assert pages > 70


def test_names_and_declarations() -> None:
    for label in ("Shift_JIS", "x-sjis", "windows-31j", "MS_Kanji", "cp932", ' "SHIFT-JIS" '):
        assert codec_name(label) == "cp932"
    assert codec_name("ISO-2022-JP") == "iso2022_jp"
    assert codec_name("hex") == codec_name("zlib") == codec_name("") == codec_name("日本") == ""
    assert meta_charset(b'<html><META http-equiv=Content-Type content="text/html; charset=EUC-JP">') == "EUC-JP"
    assert meta_charset(b"<meta charset=utf-8>") == "utf-8"
    assert meta_charset(b'<?xml version="1.0" encoding="Shift_JIS"?>') == "Shift_JIS"
    assert meta_charset(b"<p>charset=utf-8</p>") == ""


@pytest.mark.sample
def test_charsets_of_a_labelled_crawl(sample_data: Path) -> None:
    """At least 99 % of pages right, with their declarations and without them; truth: the only strict codec, or escapes."""
    right = total = 0
    for _, document in labelled_pages(sample_data):
        strict = [charset for charset in ("utf-8", "cp932", "euc_jp") if fits(document.raw, charset)]
        truth = "iso2022_jp" if b"\x1b$B" in document.raw else strict[0]
        total += 2
        for raw, declared in ((document.raw, document.declared), (document.raw.replace(b"charset", b"xxxxxxx"), "")):
            got = decode(raw, declared)
            right += got is not None and got.charset == truth
    assert total == 2 * 1883
    assert right >= 0.99 * total


def labelled_pages(folder: Path) -> list[tuple[dict[str, Any], RawDocument]]:
    """Every labelled page of the crawl; some were crawled twice."""
    rows = [json.loads(line) for line in (folder / "web-ja.labels.jsonl").read_text("utf-8").splitlines()]
    labels = defaultdict(deque)
    for row in rows:
        labels[row["url"]].append(row)
    source = SourceSettings("w", "warc", "test", "test", path=str(folder / "web-ja.warc.gz"))
    pages = [page for shard in plan_shards(source) for page in read_shard(shard) if isinstance(page, RawDocument)]
    return [(labels[page.url].popleft(), page) for page in pages if labels[page.url]]


def fits(raw: bytes, charset: str) -> bool:
    try:
        raw.decode(charset)
    except UnicodeDecodeError:
        return False
    return True
