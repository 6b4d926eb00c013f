"""Wikitext and dumps, against hand-written articles and what a reader of them would see."""

import bz2
from html import escape
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.extract.wikitext import clean_wikitext, without_hollow
from corpus.readers import plan_shards, read_shard
from tests.corpus.readers.test_readers import documents, read, reasons, source

ARTICLE = """{{Infobox 人物
|氏名 = 夏目 漱石
|画像 = [[ファイル:a.jpg|200px]]
|生年 = {{生年月日|1867|2|9}}
}}
<!-- 編集者へ -->'''夏目 漱石'''（なつめ、[[1867年]]〈{{和暦|1867}}〉 - ）は、[[日本]]の[[小説家|作家]]<ref>{{Cite|x}}</ref>。
{{ルビ|吾輩|わがはい}}は（{{要出典}}、）猫<ref />。
[[ファイル:x.jpg|thumb|right|[[東京]]の{{lang|en|pic}}]]
== 経歴 ==
{| class="wikitable"
|-
! a !! b
|-
| {{フラグ|{|x|}}} || {{t|a|}}
{| class="inner"
| 入れ子
|}
|}
* 一つ
** 二つ<br />改行
# 三
: 字下げ
=== 空 ===
=== 作品 ===
『{{仮リンク|こころ|en|Kokoro|label=心}}』と[https://a.jp 外部]。&amp;&nbsp;x &lt; y
{{未閉じ|a
次の行は残る。
== 脚注 ==
{{Reflist}}
=== 注 ===
消える
== 晩年 ==
胃を病んだ。
== 外部リンク ==
* [http://a a]
[[Category:小説家]]
{{DEFAULTSORT:なつめ}}__NOTOC__"""
PLAIN = """夏目 漱石（なつめ、1867年 - ）は、日本の作家。
吾輩は猫。

経歴
・一つ
・二つ
改行
・三
字下げ

作品
『心』と 外部。& x < y

次の行は残る。

晩年
胃を病んだ。"""


def test_an_article() -> None:
    assert clean_wikitext(ARTICLE) == PLAIN
    assert clean_wikitext(PLAIN) == PLAIN


@pytest.mark.parametrize(("wikitext", "plain"), [
    ("{{a|{{b|{{c}}}}}}前", "前"),
    ("{{{引数|既定}}}x{{{{{二重}}}|y}}z", "xz"),
    ("a{{テーブル|\n{|\n|x\n|}\n}}b", "ab"),
    ("a\n{|\n|{{t\n|}\nb", "a\n\nb"),
    ("一<ref>閉じない\n二", "一\n二"),
    ("一<ref name=x>{{cite|y}}</ref>二<REF />三</ref>四", "一二三四"),
    ("{{読み仮名|髙畑|たかはた}}氏", "髙畑（たかはた）氏"),
    ("{{ Lang-en|Japan}}と{{lang|fr|Japon}}、{{要出典範囲|確か|date=x}}", "JapanとJapon、確か"),
    ("[[ファイル:a.png|thumb|[[b]]の{{c}}図]]文", "文"),
    ("[[:Category:猫]]と[[Category:犬]]と[[en:Cat]]", "Category:猫とと"),
    ("[[閉じない\n次", "閉じない\n次"),
    ("閉じる]]}}|}文", "閉じる|}文"),
    ("<nowiki>[[x]]{{y}}</nowiki>", "xy"),
    ("<!-- 閉じない\n全部", ""),
    ("'''''太字'''''と''斜体''", "太字と斜体"),
    ("水は<math>\\mathrm{H_2O}</math>と<sub>2</sub>", "水はと2"),
    ("<gallery>\nA.jpg|x\n</gallery>文", "文"),
    ("== 見出し ==\n本文\n== References ==\n消える", "見出し\n本文"),
    ("&#123;&#123;x&#125;&#125;", "x"),
    ("x&lt;ref&gt;y", "x<ref>y"),
    ("----\n文", "文"),
    ("", ""),
])  # fmt: skip
def test_pieces_of_wikitext(wikitext: str, plain: str) -> None:
    assert clean_wikitext(wikitext) == plain


@pytest.mark.parametrize(("text", "clean"), [
    ("（、）a（）b（ ； ）", "ab"), ("（（））（、1900年）", "（1900年）"), ("猫（ねこ、）", "猫（ねこ）"), ("(())(a)", "(a)"),
    ("（）（", "（"),
    ("）（", "）（"), ("1)、2)", "1)、2)"),
])  # fmt: skip
def test_empty_brackets(text: str, clean: str) -> None:
    assert without_hollow(text) == clean


MARKUP = ["'''", "{{", "}}", "{{{", "}}}", "{|", "|}", "[[", "]]", "|", "\n", "=", "==", "<ref>", "</ref>", "<!--",
          "-->", "&#123;",
          "<nowiki>", "</nowiki>", "ファイル:", "Category:", "*", ":", "（", "）", "、", "あ", "漢字",
          "<br>", "{", "}", "[", "ルビ"]  # fmt: skip


@given(st.lists(st.sampled_from(MARKUP), max_size=60).map("".join))
@settings(max_examples=400, deadline=None)
def test_whatever_is_written_no_template_is_left(wikitext: str) -> None:
    text = clean_wikitext(wikitext)
    assert "{{" not in text and "}}" not in text
    assert not text or text == text.strip("\n ")
    text.encode()


@given(st.text("あ漢x。、（）「」()0\n \u3000", max_size=80))
@settings(max_examples=300, deadline=None)
def test_plain_text_is_cleaned_once(text: str) -> None:
    once = clean_wikitext(text)
    assert clean_wikitext(once) == once
    letters = [sign for sign in text if sign in "あ漢x。0"]
    assert [sign for sign in once if sign in "あ漢x。0"] == letters


def test_depth_and_repetition_take_linear_time() -> None:
    for wikitext in ("{{" * 50_000, "[[" * 50_000 + "]]" * 50_000, "<ref>" * 50_000, "{{a|" * 20_000 + "}}" * 20_000,
                     "（" * 50_000 + "）" * 50_000, "<ref" * 50_000, "{|\n" * 30_000, "'" * 100_000, "= " * 9_000):  # fmt: skip
        clean_wikitext(wikitext)


def page(title: str, text: str, ns: int = 0, redirect: str = "") -> str:
    to = f'<redirect title="{redirect}" />' if redirect else ""
    return (
        f"<page><title>{escape(title)}</title><ns>{ns}</ns><id>1</id>{to}<revision><timestamp>2024-05-01T00:00:00Z</timestamp>"
        f'<text bytes="1" xml:space="preserve">{escape(text)}</text></revision></page>\n'
    )


HEAD = '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" xml:lang="ja"><siteinfo><base>x</base></siteinfo>\n'
PAGES = [
    page("猫 (動物)", "'''猫'''は動物。&"),
    page("ねこ", "#転送 [[猫]]", redirect="猫 (動物)"),
    page("Template:猫", "{{x}}", ns=10),
    page("犬?", "{{box}}\n犬は[[動物]]。"),
    page("箱", "{{box}}"),
]


@pytest.mark.parametrize("ending", ["", ".bz2"])
def test_a_dump(tmp_path: Path, ending: str) -> None:
    content = (HEAD + "".join(PAGES) + "</mediawiki>").encode()
    path = tmp_path / f"jawiki-pages-articles.xml{ending}"
    path.write_bytes(bz2.compress(content) if ending else content)
    items = read(source("wikipedia", tmp_path))
    wiki = "https://ja.wikipedia.org/wiki/"
    assert [(d.url, d.title, d.text, d.date, d.raw.decode()) for d in documents(items)] == [
        (wiki + "猫_(動物)", "猫 (動物)", "猫は動物。&", "2024-05-01T00:00:00Z", "'''猫'''は動物。&"),
        (wiki + "犬%3F", "犬?", "犬は動物。", "2024-05-01T00:00:00Z", "{{box}}\n犬は[[動物]]。"),
    ]
    assert reasons(items) == [
        (wiki + "ねこ", "redirect_page"), (wiki + "Template:猫", "other_namespace"), (wiki + "箱", "no_text"),
    ]  # fmt: skip
    big = read(source("wikipedia", tmp_path, max_document_bytes=12))
    assert (wiki + "猫_(動物)", "too_large") in reasons(big)
    assert len(big) == 5
    whole = path.read_bytes()
    path.write_bytes(whole[:-60] if ending else whole[:-250])
    assert reasons(read(source("wikipedia", tmp_path)))[-1][1] == "truncated_record"


def multistream(folder: Path, count: int = 12) -> tuple[Path, list[int]]:
    """A dump of streams of one page each, and its index. Returns: its path, where each stream begins."""
    streams = [bz2.compress(HEAD.encode())]
    streams += [bz2.compress(page(f"記事{i}", f"第{i}の記事。").encode()) for i in range(count)]
    streams.append(bz2.compress(b"</mediawiki>"))
    offsets = [sum(map(len, streams[:i])) for i in range(len(streams))]
    path = folder / "jawiki-20240501-pages-articles-multistream.xml.bz2"
    path.write_bytes(b"".join(streams))
    index = "".join(f"{offset}:{i}:記事{i}\n" for i, offset in enumerate(offsets[1:-1]))
    (folder / "jawiki-20240501-pages-articles-multistream-index.txt.bz2").write_bytes(bz2.compress(index.encode()))
    return path, offsets


def test_shards_of_a_multistream_dump_are_the_dump(tmp_path: Path) -> None:
    path, _ = multistream(tmp_path)
    whole = read(source("wikipedia", path))
    assert [d.text for d in documents(whole)] == [f"第{i}の記事。" for i in range(12)]
    cut = source("wikipedia", path, shard_bytes=2000)
    shards = plan_shards(cut)
    assert 2 < len(shards) < 13
    assert [item for shard in shards for item in read_shard(shard)] == whole
    index = next(tmp_path.glob("*index*"))
    index.write_bytes(b"broken")
    assert read(cut) == whole


def test_a_damaged_stream_costs_its_own_pages(tmp_path: Path) -> None:
    path, offsets = multistream(tmp_path)
    content = bytearray(path.read_bytes())
    content[offsets[5] + 40 : offsets[5] + 60] = bytes(20)
    path.write_bytes(content)
    for size in (1 << 30, 2000):
        items = read(source("wikipedia", path, shard_bytes=size))
        assert [d.text for d in documents(items)] == [f"第{i}の記事。" for i in range(12) if i != 4]
        assert [reason for _, reason in reasons(items)] == ["damaged_record"]


def test_xml_that_is_none(tmp_path: Path) -> None:
    for number, content in enumerate((b"no xml", b"<mediawiki><page></mediawiki>", b"")):
        (tmp_path / f"{number}.xml").write_bytes(content)
    items = read(source("wikipedia", tmp_path))
    assert not documents(items)
    assert [reason for _, reason in reasons(items)][:2] == ["damaged_record", "damaged_record"]
