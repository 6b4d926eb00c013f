"""The gate against real parsers: it may let anything pass, and drops nothing in which a parser finds Japanese."""

import json
import re
import time
from pathlib import Path

import lxml.html
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from corpus.extract.charset import decode
from corpus.extract.document import extract
from corpus.extract.html_page import Unparsable, main_text
from corpus.extract.language_gate import MIN_KANA, is_foreign, nesting
from corpus.filters import rules
from corpus.filters.rules import load_preset, preset_names
from corpus.readers import DroppedRecord, RawDocument
from corpus.stats.measure import COLUMN, measure
from tests.corpus.extract.test_charset import labelled_pages

KANA = re.compile(r"[\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f]")
TOKENS = ["<", ">", "<!--", "-->", "--!>", "<script>", "</script>", "<script src='a'>", "</script ", "<style>", "</style>"]
TOKENS += ["<textarea>", "</textarea>", "<title>", "</title>", "<p>", "</p>", '<a href="x>y">', "<a title='", "'", '"', "<b"]
TOKENS += [
    "かなかな",
    "&#12354;&#x3042;&#X30AB;",
    "漢字",
    "ｶﾅ",
    "text ",
    "\n",
    "<?php ",
    "<!DOCTYPE html>",
    "<!-->",
    "</",
    "<div>",
]
TOKENS += ["<noscript>", "</noscript>", "<iframe>", "</iframe>", "<xmp>", "</xmp>", "</STYLE\n>", "<svg>", "</svg>", "&#", "<1"]
markup = st.lists(st.sampled_from(TOKENS), max_size=30).map("".join)


@given(markup)
@example("<textarea><script></textarea>かなかなかな<script></script>")
@example("<!-- <script> -->かなかなかな<script></script>")
@example("<script><!--<script></script>かなかなかな")
@example("かなかな<svg><style><b>かなかな</STYLE\n>")
@example("<p>a<svg><![CDATA[かなかなかな]]></svg>")
@settings(max_examples=1500, deadline=None)
def test_what_a_parser_reads_is_counted(html: str) -> None:
    tree = HTMLTree.parse(html)
    text = extract_plain_text(tree, preserve_formatting=True, alt_texts=False, noscript=True) if tree.body else ""
    for node in tree.body.query_selector_all("svg") if tree.body else ():
        text = text.replace(node.text or "", "")  # in drawings <style> and <script> are markup; main_text takes them out
    if len(KANA.findall(text)) >= MIN_KANA:
        assert not is_foreign(html), text
    if is_foreign(html):
        assert len(KANA.findall(main_text(html).text)) < MIN_KANA


def test_what_it_drops_and_what_it_keeps() -> None:
    assert is_foreign("<p>All human beings are born free.")
    assert is_foreign("<p>人人生而自由")
    assert is_foreign("<script>ひらがなのある台本</script><style>/* ひらがな */</style><!-- ひらがなの註釈 --><p>Hello")
    assert is_foreign("<a title='ひらがなのある属性'>Hello</a>")
    assert not is_foreign("<p>これは日本語の文章です。")
    assert not is_foreign("&#12354;&#12356;&#12358;&#x3048;&#x304A;")
    assert not is_foreign("<p>ﾆﾎﾝｺﾞﾃﾞｽ")
    assert not is_foreign("<!-- never ends <p>これは日本語の文章です。")
    assert not is_foreign("<html><body></body></html>")  # no text, in no language


JAPANESE = ["短い頁です。", "日", "の", "漢字", "人権宣言" * 30, "かなとカナ。", "ｶﾅ", "&#12354;", "&#x30AB;", "。", "駅ノ前"]
FOREIGN = ["All human beings are born free. ", "人人生而自由，在尊严和权利上一律平等。" * 9, "Все люди рождаются свободными. "]
MENU = "<nav><a href=/>top</a> <a href=/map>map</a></nav>"
JSON = "<script type='application/ld+json'>{}</script>" + "<div class='menu'><p>The quick brown fox runs away.</p></div>" * 9
phrases = st.lists(st.sampled_from(JAPANESE + FOREIGN), max_size=8)
frames = st.sampled_from(
    ["{}", "<p>{}</p>", MENU + "<main><p>{}</p></main>", "<p>Rights</p><p>{}</p><footer>{}</footer>", JSON]
)
JA_PRESETS = [name for name in preset_names() if load_preset(name).language == "ja"]
changes = st.fixed_dictionaries(
    {},
    optional={
        "kana": st.sampled_from([0.01, 0.05, 0.2, 0.9, False]),
        "length": st.sampled_from([1, 7, 100, 400, False]),
        "japanese": st.sampled_from([0.05, 0.5, False]),
        "kuten": st.just(False),
        "top_2gram": st.just(False),
        "dup_10gram": st.just(False),
        "compression": st.just(False),
    },
)


def test_kana_that_the_rules_ask_for() -> None:
    """By hand: 100 characters, of which a twentieth; one of the first fifty; a fifth of some; none."""
    assert {name: load_preset(name).least_kana for name in preset_names()} == {
        "minamoto": MIN_KANA, "llmjp-v1": 1, "llmjp-v1-strict": 1, "swallow-v1": 1, "en": 0, "code": 0,
    }  # fmt: skip
    assert load_preset("minamoto", {"length": 400}).least_kana == MIN_KANA
    assert load_preset("minamoto", {"length": 40, "kana": 0.07}).least_kana == 3
    assert load_preset("minamoto", {"length": 40, "kana": 0.05}).least_kana == 2
    assert load_preset("minamoto", {"length": False}).least_kana == 1
    assert load_preset("minamoto", {"kana": False}).least_kana == 0


@given(st.sampled_from(JA_PRESETS), changes, phrases, frames)
@example("llmjp-v1", {}, ["人人生而自由，在尊严和权利上一律平等。" * 9, "の"], "<p>{}</p>")
@example("minamoto", {"length": 7}, ["駅ノ前", "人権宣言" * 2, "の"], "<p>{}</p>")
@example("minamoto", {"kana": False}, ["人人生而自由，在尊严和权利上一律平等。" * 9], "<p>{}</p>")
@example("minamoto", {}, ["短い頁です。"] * 12, JSON)
@settings(max_examples=600, deadline=None)
def test_what_the_gate_drops_the_rules_drop(name: str, changed: dict[str, float | bool], said: list[str], frame: str) -> None:
    """Whatever the preset and the changes to it: a page that is dropped unparsed has no text, or one that fails a rule."""
    preset = load_preset(
        name, {rule: to for rule, to in changed.items() if rule in {one.name for one in load_preset(name).rules}}
    )
    words = "".join(said)
    html = frame.replace("{}", json.dumps({"articleBody": words}) if frame == JSON else words)
    page = RawDocument("s", "https://example.jp/a", f"<html><body>{html}</body></html>".encode(), "html")
    gated = extract(page, "ja", preset.least_kana)
    if not isinstance(gated, DroppedRecord) or gated.reason != "foreign_page":
        return
    got = extract(page, "any")
    if not isinstance(got, DroppedRecord):
        table_DC = rules.table([got.text], [page.url], preset, [got.linked])
        assert rules.verdicts(rules.values(table_DC, preset), preset)[0] >= 0, got.text


def test_a_sentence_or_two_in_an_english_frame() -> None:
    """The gate drops fewer than five kana; a page with more is the rules' to judge, and is dropped for its length."""
    frame = f"<html lang=en><body>{MENU}<main><p>{{}}</p></main><footer>All rights reserved.</footer></body></html>"
    for words, reason in (("短い頁です。", "foreign_page"), ("この頁はまだ短いので、ここで終わります。", "length")):
        page = RawDocument("s", "https://example.jp/a", frame.format(words).encode(), "html")
        got, text = extract(page), extract(page, "any")
        assert not isinstance(text, DroppedRecord) and text.text == words
        preset = load_preset("minamoto")
        table_DC = rules.table([text.text], [page.url], preset)
        verdict = rules.verdicts(rules.values(table_DC, preset), preset)[0]
        assert preset.rules[verdict].name == "length"
        assert (got.reason if isinstance(got, DroppedRecord) else "length") == reason


def test_text_that_only_trafilatura_finds_is_counted() -> None:
    """schema.org's articleBody and Discourse's posts, with and without escapes."""
    body = "これは日本語の本文です。かなと漢字が混じる文章が続きます。" * 20
    for escaped in (True, False):
        page = JSON.format(json.dumps({"@type": "Article", "articleBody": body}, ensure_ascii=escaped))
        assert main_text(f"<html><body>{page}</body></html>").text.startswith("これは日本語")
        assert not is_foreign(page)
    posts = json.dumps({"topic_1": json.dumps({"post_stream": {"posts": [{"cooked": f"<p>{body}</p>"}]}})})
    assert not is_foreign(f"<div id='data-preloaded' data-preloaded='{posts}'></div><p>Forum</p>")
    assert is_foreign(JSON.format(json.dumps({"articleBody": "All human beings are born free."})))


def test_it_is_asked_for_japanese_only() -> None:
    page = RawDocument("s", "u", b"<html><body><p>All human beings are born free and equal.</p></body></html>", "html")
    got = extract(page)
    assert isinstance(got, DroppedRecord) and got.reason == "foreign_page" and not got.damaged
    assert not isinstance(extract(page, "any"), DroppedRecord)


@given(
    st.lists(st.sampled_from(["<div>", "<span>", "</div>", "</span>", "<table>", "</table>", "x"]), max_size=40).map("".join)
)
@settings(max_examples=300, deadline=None)
def test_nesting_is_never_less_than_lxml_finds(html: str) -> None:
    root = lxml.html.document_fromstring(f"<html><body>{html}</body></html>")
    deepest = max(sum(parent.tag not in ("html", "body") for parent in (*node.iterancestors(), node)) for node in root.iter())
    assert nesting(html)[0] >= deepest


def test_nesting_of_what_needs_no_end() -> None:
    assert nesting("<p>a<p>b<br><ul><li>c<li>d</ul>" * 1000) == (1, 0)
    assert nesting("<div>" * 7 + "</div>" * 7 + "<section>") == (7, 0)
    assert nesting("<p><b>x<p><i>y</b>") == (0, 2)


HOSTILE = {
    "div": "<div>", "nav": "<nav>", "block link": "<aside><a href=x>", "list": "<ul><li>", "pre": "<pre>",
    "article": "<article>", "bold": "<b><p>", "scope": "<nav><table><td></nav>", "unended": "あ\n<b ",
    "comment": "<!--", "table": "<table>",
    "paragraphs": "<p>あ", "reference": "&#", "script": "<script>", "end": "</script", "lines": "あ\n\n\n ",
}  # fmt: skip


@pytest.mark.parametrize("times", [500, 10_000, 1_000_000])
@pytest.mark.parametrize("kind", HOSTILE)
def test_deep_and_broken_markup_takes_bounded_time(kind: str, times: int) -> None:
    html = "これは日本語の文章です。" + HOSTILE[kind] * times + "深い所の文章です。"
    if kind in ("paragraphs", "lines") and times > 10_000:
        html = html[: 10**5]  # big, not deep: linear
    began = time.process_time()
    try:
        main_text(html)
    except Unparsable as error:
        assert times > 500 or kind == "scope", error
    assert time.process_time() - began < 10


def test_a_deep_page_is_a_counted_drop() -> None:
    page = RawDocument("s", "u", ("<div>" * 10_000 + "これは日本語の文章です。").encode(), "html")
    got = extract(page)
    assert isinstance(got, DroppedRecord) and (got.reason, got.damaged) == ("unparsable", True)
    assert "nested 10001 deep" in got.detail


@pytest.mark.sample
def test_no_page_of_a_crawl_is_dropped_that_the_rules_would_keep(sample_data: Path) -> None:
    """Rules `length` and `kana` of the default preset: 100 Japanese characters, .05 of them kana."""
    dropped = {"ja": [], "other": []}
    pages = labelled_pages(sample_data)
    for label, page in pages:
        found = decode(page.raw, page.declared)
        assert found is not None
        if is_foreign(found.text):
            dropped["ja" if label["lang"] == "ja" else "other"].append(found.text)
    kana = measure([main_text(html).text for html in dropped["ja"]])[:, [COLUMN["hiragana"], COLUMN["katakana"]]].sum(axis=1)
    assert np.all(kana < 0.05 * 100)
    other = sum(label["lang"] != "ja" for label, _ in pages)
    print(
        f"\ngate: {len(dropped['other'])} of {other} foreign pages; {len(dropped['ja'])} labelled ja, all without Japanese text"
    )
    assert len(dropped["other"]) >= 0.9 * other and len(dropped["ja"]) <= 0.005 * len(pages)
