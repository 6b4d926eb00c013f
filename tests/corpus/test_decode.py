"""Charsets: Python's own codecs make the bytes, so the right text is known; declarations may lie or be missing."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.decode import codec_name, decode, meta_charset, plausibility
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
    """① ㈱ 髙 stand in NEC and IBM rows of CP932; in EUC and ISO-2022-JP at the same row and cell."""
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


@pytest.mark.parametrize(("text", "codec", "label"), [
    ("모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.", "cp949", "euc-kr"),
    ("人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心。", "gb18030", "gb2312"),
    ("Все люди рождаются свободными и равными в своём достоинстве.", "cp1251", "windows-1251"),
    ("Alle Menschen sind frei und gleich an Würde und Rechten geboren.", "cp1252", "iso-8859-1"),
])  # fmt: skip
def test_declared_other_languages_are_not_taken_for_japanese(text: str, codec: str, label: str) -> None:
    got = decode(text.encode(codec), label)
    assert got is not None and got.text == text


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
    labels = [json.loads(line)["url"] for line in (sample_data / "web-ja.labels.jsonl").open(encoding="utf-8")]
    labelled = set(labels)  # some pages were crawled twice
    source = SourceSettings("w", "warc", "test", "test", path=sample_data / "web-ja.warc.gz")
    right = total = 0
    for document in read_shard(plan_shards(source)[0]):
        if not isinstance(document, RawDocument) or document.url not in labelled:
            continue
        strict = [charset for charset in ("utf-8", "cp932", "euc_jp") if fits(document.raw, charset)]
        truth = "iso2022_jp" if b"\x1b$B" in document.raw else strict[0]
        total += 2
        for raw, declared in ((document.raw, document.declared), (document.raw.replace(b"charset", b"xxxxxxx"), "")):
            got = decode(raw, declared)
            right += got is not None and got.charset == truth
    assert total == 2 * len(labels)
    assert right >= 0.99 * total


def fits(raw: bytes, charset: str) -> bool:
    try:
        raw.decode(charset)
    except UnicodeDecodeError:
        return False
    return True
