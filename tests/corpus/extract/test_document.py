"""From a raw document to its text: what people read stays, navigation goes, the form of the text is fixed."""

import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.extract import html_page as main_text_module
from corpus.extract.document import Extracted, clean_text, extract, full_width
from corpus.extract.html_page import join_lines, main_text
from corpus.readers import DroppedRecord, RawDocument, SourceSettings, plan_shards, read_shard

PROSE = (
    "本モジュールには <code>mod_proxy</code> が<em>必要</em>です。"
    "<code>HTTP</code>, <code>FTP</code> と <code>AJP13</code> を扱います。"
)
PAGE = f"""<!DOCTYPE html><html lang="JA"><head><meta charset="utf-8"><title>手引き
 第一章</title><style>p {{}}</style></head><body>
<header><a href="/">表紙</a> <a href="/s">検索</a></header>
<nav><ul><li><a href="1">前へ</a></li><li><a href="2">次へ</a></li></ul></nav>
<div class="breadcrumb">ここは 手引き の 第一章</div>
<h1>第一章<a class="headerlink" href="#x">¶</a></h1>
<p>{PROSE}</p>
<p>行の終わりが
文の途中に
<b>ある</b>。</p>
<ul><li>一つ目の項目です。</li><li>二つ目は<a href="x">こちら</a>です。</li></ul>
<table><tr><th>名前</th><th>意味</th></tr><tr><td>KILL</td><td>止める</td></tr></table>
<pre>for x in y:
    漢字
    漢字</pre>
<span hidden="hidden">見えない</span><p style="display:none">見えない</p><script>var 見えない = 1;</script>
<p>翻訳: <a href="en">en</a> | <a href="fr">fr</a> | <a href="ko">ko</a></p>
<div><a href="a">関連ページ一</a><br><a href="b">関連ページ二</a></div>
<footer>著作権</footer></body></html>"""

TEXT = """第一章

本モジュールには mod_proxy が必要です。HTTP, FTP と AJP13 を扱います。

行の終わりが文の途中にある。

• 一つ目の項目です。
• 二つ目はこちらです。
名前 | 意味
KILL | 止める
for x in y:
    漢字
    漢字"""


def document(raw: bytes, kind: str = "html", **more: str) -> RawDocument:
    return RawDocument("s", "https://example.jp/", raw, kind, **more)  # pyright: ignore[reportArgumentType] -- kind is tested


def kept(document: RawDocument) -> Extracted:
    got = extract(document)
    assert isinstance(got, Extracted), got
    return got


@pytest.mark.parametrize(
    ("charset", "name"), [("utf-8", "utf-8"), ("shift_jis", "cp932"), ("euc_jp", "euc_jp"), ("iso2022_jp", "iso2022_jp")]
)
def test_a_page_in_every_charset(charset: str, name: str) -> None:
    """The page declares UTF-8 throughout: the declaration is wrong three times."""
    got = kept(document(PAGE.replace("¶", "").encode(charset)))
    assert got == Extracted(TEXT, "手引き第一章", "ja", name, "resiliparse", linked=3)  # こちら


def test_of_hidden_variants_the_default_stays() -> None:
    """LibreOffice help: every variant is hidden until a script shows the reader's."""
    variants = '<span hidden="true" id="MACx_1" class="MAC">⌘</span><span hidden="true" id="defaultx_1">Ctrl</span>'
    assert main_text(f"<body><p>{variants}キーを押します。</p></body>").text == "Ctrlキーを押します。"


def test_a_sidebar_of_prose_stays_and_one_of_links_goes() -> None:
    """DocBook's boxes are prose; menus and profiles beside the text are full of links."""
    box = f"<div class='sidebar'><p>補足</p><p>{PROSE}</p></div>"
    links = "".join(f"<a href='{i}'>記事の題名{i}</a>、" for i in range(9))
    menu = f"<div class='sidebar'><p>新着です。</p><p>{links}最近の記事です。</p></div>"
    assert main_text(f"<body><p>{PROSE}</p>{box}{menu}</body>").text.count("mod_proxy") == 2
    assert "新着" not in main_text(f"<body><p>{PROSE}</p>{box}{menu}</body>").text


def test_main_element_is_taken_alone() -> None:
    outside = "<div><p>お知らせ: 本日は休みです。</p></div>"
    page = f"<body>{outside}<div><main><h1>題</h1><p>{PROSE * 3}</p></main></div>{outside}</body>"
    text = main_text(page).text
    assert "お知らせ" not in text and text.startswith("題")
    small = f"<body><main><p>題だけ。</p></main><p>{PROSE * 3}</p></body>"
    assert "AJP13" in main_text(small).text


def test_pages_of_links_have_no_text() -> None:
    links = "".join(f"<li><a href='{i}'>ページの題名{i}</a></li>" for i in range(50))
    got = extract(document(f"<html><body><h6></h6><ul>{links}</ul></body></html>".encode()))
    assert isinstance(got, DroppedRecord) and got.reason == "no_text" and not got.damaged


def test_trafilatura_takes_over_where_pruning_takes_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prose inside a block that calls itself navigation: pruning empties the page, trafilatura does not."""
    paragraphs = "".join(f"<p>{PROSE}これは{i}番目の段落です。</p>" for i in range(8))
    page = f"<html><body><div class='menu'>{paragraphs}</div></body></html>"
    got = main_text(page)
    assert got.extractor == "trafilatura"
    assert got.text.count("番目の段落です。") == 8
    monkeypatch.setattr(main_text_module, "by_trafilatura", lambda html: "文がない")
    assert main_text(page).extractor == "resiliparse"


@pytest.mark.parametrize("raw", [b"", b"   ", b"<html></html>", b"<body><script>x</script></body>", b"<!-- -->", b"\x00\x00"])
def test_documents_without_text(raw: bytes) -> None:
    got = extract(document(raw))
    assert isinstance(got, DroppedRecord) and got.reason == "no_text"
    assert got.doc_id == document(raw).doc_id


def test_undecodable_documents() -> None:
    got = extract(document("漢字かな".encode() + b"\xff\xfe\x80" + "漢字".encode(), declared="utf-8"))
    assert isinstance(got, DroppedRecord) and got.reason == "undecodable" and got.damaged
    assert "utf-8" in got.detail


def test_other_kinds() -> None:
    page = kept(document(".TH LS 1\n.SH 名前\nls \\- 一覧".encode("euc_jp"), "roff"))
    assert page == Extracted("名前\n\nls - 一覧", "ls(1)", "", "euc_jp", "roff")
    redirect = extract(document(b".so man1/ls.1\n", "roff"))
    assert isinstance(redirect, DroppedRecord) and redirect.reason == "redirect_page" and redirect.detail == "is man1/ls.1"
    row = kept(document("本文\r\n".encode(), "text", text="本文\r\n", title=" 題\n名 "))
    assert row == Extracted("本文", "題 名", "", "utf-8", "text")


def test_source_lines_join_only_between_japanese_and_outside_pre() -> None:
    assert join_lines("漢字\n  かな") == "漢字かな"
    assert join_lines("漢字</b>\n<i>かな") == "漢字</b><i>かな"
    assert join_lines("漢字</p>\n<p>かな") == "漢字</p>\n<p>かな"
    assert join_lines("word\n漢字\nword") == "word\n漢字\nword"
    assert (
        join_lines("<pre>漢字\nかな</pre>漢字\nかな<PRE x=y>あ\nい</PRE>")
        == "<pre>漢字\nかな</pre>漢字かな<PRE x=y>あ\nい</PRE>"
    )


@given(st.text())
@settings(max_examples=300, deadline=None)
def test_form_of_clean_text(text: str) -> None:
    clean = clean_text(text)
    assert unicodedata.is_normalized("NFC", clean)
    assert clean_text(clean) == clean
    assert "\n\n\n" not in clean and " \n" not in clean and clean == clean.strip("\n")
    assert not any((unicodedata.category(c) == "Cc" and c != "\n") or c in "\ufeff\u200b\u2028\xa0" for c in clean)
    clean.encode()  # no lone surrogates


def test_clean_text_keeps_what_it_should() -> None:
    assert clean_text("か\u3099\r\n\r\n\r\n\r\n　段落\tあ\x00\x1b\u00ad \n") == "が\n\n　段落 あ"


HALF = "".join(map(chr, range(0xFF61, 0xFFA0)))
VOICED, SEMI_VOICED = "ｳｶｷｸｹｺｻｼｽｾｿﾀﾁﾂﾃﾄﾊﾋﾌﾍﾎﾜｦ", "ﾊﾋﾌﾍﾎ"
letters = st.one_of(
    st.sampled_from(HALF[:-2]),
    st.sampled_from(VOICED).map(lambda kana: kana + "ﾞ"),
    st.sampled_from(SEMI_VOICED).map(lambda kana: kana + "ﾟ"),
    st.sampled_from("かハ漢a\n゛"),
)


@given(st.lists(letters, max_size=40).map("".join))
@settings(max_examples=300, deadline=None)
def test_half_width_katakana_become_what_nfkc_makes_of_them(text: str) -> None:
    whole = "".join(
        unicodedata.normalize("NFKC", run) if run[0] in HALF else run for run in re.findall(f"[{HALF}]+|[^{HALF}]+", text)
    )
    assert full_width(text) == whole
    assert full_width(whole) == whole


@given(st.text(st.one_of(st.sampled_from(HALF), st.characters())))
@settings(max_examples=300, deadline=None)
def test_half_width_katakana_touch_nothing_else(text: str) -> None:
    wide = full_width(text)
    assert not set(wide) & set(HALF) and full_width(wide) == wide
    assert clean_text(full_width(clean_text(wide))) == clean_text(wide)
    assert re.sub("[\u3001-\u30ff]", "", re.sub(f"[{HALF}]", "", text)) == re.sub("[\u3001-\u30ff]", "", wide)


def test_half_width_katakana_are_flagged() -> None:
    assert full_width("ｶﾞｷﾞﾊﾟ｡(ﾟДﾟ)") == "ガギパ。(゜Д゜)"
    row = kept(document(b"x", "text", text="ﾊﾝｶｸの文", title="ｶﾅ"))
    assert (row.text, row.title, row.flags) == ("ハンカクの文", "カナ", ("halfwidth",))
    assert kept(document(b"x", "text", text="全角の文")).flags == ()


def test_flags_of_decoding_reach_the_document() -> None:
    page = kept(document(PAGE.replace("¶", "").encode().decode("latin-1").encode()))
    assert (page.text, page.flags) == (TEXT, ("mojibake_repaired",))
    row = kept(document(b"x", "text", text=(PROSE * 3).encode("euc_jp").decode("latin-1")))
    assert (row.text, row.flags) == (PROSE * 3, ("mojibake_repaired",))
    damaged = kept(document(b"<p>" + (PROSE * 30).encode() + b"\xff" + (PROSE * 30).encode()))
    assert damaged.flags == ("damaged_bytes",) and damaged.text.count("\ufffd") == 1


@pytest.mark.parametrize(
    ("codec", "name"),
    [("cp932", "cp932"), ("utf-8", "utf-8"), ("utf-8-sig", "utf-8"), ("euc_jp", "euc_jp"), ("iso2022_jp", "iso2022_jp")],
)
def test_an_aozora_file_declares_nothing_and_says_its_charset(tmp_path: Path, codec: str, name: str) -> None:
    work = (
        "こころ\r\n夏目漱石\r\n\r\n" + "　私《わたくし》はその人を常に先生と呼んでいた。\r\n" * 60 + "\r\n底本：「こころ」\r\n"
    )
    (tmp_path / "kokoro.txt").write_bytes(work.encode(codec))
    source = SourceSettings("aozora", "aozora", "public domain", "Aozora Bunko", path=str(tmp_path))
    [shard] = plan_shards(source)
    [record] = read_shard(shard)
    assert isinstance(record, RawDocument)
    got = kept(record)
    assert (got.charset, got.flags, got.title) == (name, (), "こころ／夏目漱石")
    assert got.text.split("\n") == ["　私はその人を常に先生と呼んでいた。"] * 60
    if codec == "utf-8":
        (tmp_path / "kokoro.txt").write_bytes(
            work.encode().replace("　私".encode(), "　".encode() + b"\xff" + "私".encode(), 1)
        )
        [record] = read_shard(shard)
        assert isinstance(record, RawDocument) and kept(record).flags == ("damaged_bytes",)


def test_linked_counts_characters_of_kept_links_only() -> None:
    links = "".join(f"<li><a href='{i}'>ページの題名{i}</a></li>" for i in range(9))
    got = kept(document(f"<body><ul>{links}</ul><p>{PROSE}<a href=x>こ れ</a></p><a name=y>錨</a></body>".encode()))
    assert "題名" not in got.text and got.linked == 2


@given(st.text(st.sampled_from("<>/ab div p table a href='x' 漢字。\n&;#!-=\"pre")))
@settings(max_examples=200, deadline=None)
def test_no_markup_makes_it_fail(html: str) -> None:
    assert isinstance(extract(document(html.encode())), Extracted | DroppedRecord)
