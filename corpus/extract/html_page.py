"""Main text of an HTML page: navigation goes, what people read stays.

resiliparse parses the page and lays out its text. Its own main-content mode loses Japanese text (text nodes of one character
such as が between two tags, and most lists), so navigation is pruned here: by the names that pages give it and by the share
of a block's characters that are links. Where that leaves too little of a page, trafilatura takes over.
"""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Any

from corpus.extract.html_scan import PRUNABLE, RAW, Block, Census, census, join_lines
from corpus.extract.language_gate import nesting

# What holds no prose, whatever it contains; roles are those of WAI-ARIA. LibreOffice help hides all variants of a phrase,
# MAC…, WRITER… and default…, until a script shows one: the default stays.
_SKIPPED = (
    "script, style, noscript, template, nav, aside, footer, body > header, button, select, iframe, svg, textarea, dialog, "
    "form, a.headerlink, [role=navigation], [role=banner], [role=contentinfo], [role=search], [role=complementary], "
    "[role=menu], [hidden]:not([id^=default]), [style*='display:none'], [style*='display: none']"
)
# Class names and ids that pages give to blocks around their text, as whole words.
_NAVIGATION = re.compile(
    r"(?:^|[\s_-])(?:[a-z]*nav(?:i|bar|igation|header|footer)?|menu|breadcrumbs?|pager|pagination|sphinxsidebar|toc|"
    r"tocframe|toplang|bottomlang|langs?|languages?|skiplink|permalink|related|footer|cookie|share|banner|advert)(?:$|[\s_-])",
    re.IGNORECASE,
)
# Blocks beside the text: menus and profiles on most pages, but DocBook (Publican) writes its boxes of prose so, a quarter of
# the sentences of the Debian Handbook. Such a block stays if it says sentences, with few of its characters in links.
_BESIDE = re.compile(r"(?:^|[\s_-])sidebar(?:$|[\s_-])", re.IGNORECASE)
PROSE_SENTENCES, PROSE_LINK_SHARE = 2, 0.2
_PRUNABLE = ", ".join(PRUNABLE)
# A block is navigation from this share of link characters on; a list of three or more links that says no sentence, sooner.
LINK_SHARE, LINK_LIST_SHARE, LINK_LIST = 0.7, 0.35, 3
CACHED_NAMES = 200  # characters: what longer names say is not kept in memory
# <main> or a single <article> is taken alone if it holds this share of the page's characters outside links.
MAIN_SHARE = 0.4
# Selectors of what may be taken alone, and what a page with such an element says.
_MAIN = {"main, [role=main]": ("<main", 'role="main"'), "article": ("<article",)}
# Where pruning keeps less than this share of the characters outside links, trafilatura is asked, and believed if it finds
# more sentences: 11 of 1,523 Japanese pages of a crawl, most of them tables and lists full of links.
KEPT_SHARE, KEPT_CHARACTERS = 0.3, 200

# Elements inside elements from which a page is not a page: browsers stop at 512 (Blink's kMaximumHTMLParserDOMTreeDepth), and
# taking blocks out of deeper trees costs resiliparse quadratic time and lxml its stack.
MAX_DEPTH = 512
# Beyond these a page is not parsed at all: deeper trees cost the parser quadratic time (300,000 deep: 40 s); it makes about 400
# bytes of every tag, and opens all unclosed formatting elements again in every block. Of 1,883 pages of a crawl the most
# are 40 deep, 6 unclosed and 53,000 tags.
MAX_OPEN, MAX_TAGS, MAX_REOPENED = 20_000, 1_000_000, 1_000_000

_CELLS, _ITEM = re.compile(r"[ ]*\t[\t ]*(?=\S)"), re.compile(r"^[ ]+(?=(?:•|\d+\.) )", re.MULTILINE)
_EMPTY_ITEM = re.compile(r"^[ ]*(?:•|\d+\.|\|)[ ]*$\n?|^ \| ", re.MULTILINE)
_PERMALINK = re.compile(r"[¶§]$", re.MULTILINE)


class Unparsable(Exception):
    """The HTML parser gave up."""


@dataclass(frozen=True)
class MainText:
    """What a page says."""

    text: str
    title: str
    lang: str
    extractor: str
    linked: int = 0  # visible characters of the text inside links


def main_text(html: str) -> MainText:
    """Text, title and language of a page.

    Raises: Unparsable.
    """
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    deepest = _check(html)
    html = join_lines(html)
    try:
        tree = HTMLTree.parse(html)
    except (ValueError, RuntimeError) as error:  # HTMLParserException is a ValueError
        raise Unparsable(f"resiliparse: {error}") from error
    if tree.body is None:
        return MainText("", tree.title or "", "", "resiliparse")
    if deepest > MAX_DEPTH and (deep := depth(tree.body)) > MAX_DEPTH:
        raise Unparsable(f"elements nested {deep} deep, more than {MAX_DEPTH}")
    root: Any = tree.body.parent
    lang = (root.getattr("lang") or root.getattr("xml:lang") or "").strip() if root else ""
    title = tree.title or ""
    for node in reversed(tree.body.query_selector_all(_SKIPPED).values()):  # inner ones first: what is gone cannot go again
        node.decompose()
    whole, kept, linked = prune(tree)
    text = tidy(extract_plain_text(tree, preserve_formatting=True, alt_texts=False))
    if whole >= KEPT_CHARACTERS and kept < KEPT_SHARE * whole:
        other = by_trafilatura(html)
        if other.count("。") > text.count("。"):
            return MainText(other, title, lang.lower(), "trafilatura")
    return MainText(text, title, lang.lower(), "resiliparse", linked)


def _check(html: str) -> int:
    """How deep the page may nest. Raises: Unparsable where parsing it would cost too much."""
    tags = html.count("<")
    if tags > MAX_TAGS:
        raise Unparsable(f"{tags} tags, more than {MAX_TAGS}")
    deepest, formatting = nesting(html)
    if deepest > MAX_OPEN:
        raise Unparsable(f"{deepest} elements open at once, more than {MAX_OPEN}")
    if formatting * tags > MAX_REOPENED and formatting > MAX_DEPTH:
        raise Unparsable(f"{formatting} formatting elements open at once in {tags} tags")
    return max(deepest, formatting)


def depth(root: Any) -> int:
    """How many elements the deepest node below `root` is in."""
    from resiliparse.parse.html import DOMContext, traverse_dom

    deepest = 0

    def enter(context: Any) -> None:
        nonlocal deepest
        deepest = max(deepest, context.depth)

    traverse_dom(root, enter, None, DOMContext(), False)
    return deepest


def prune(tree: Any) -> tuple[int, int, int]:
    """Take navigation out of a page, and all but <main> where there is one.

    Returns: visible characters outside links, before and after, and those inside links after.
    """
    root = tree.body
    page = _census(root)
    whole = page.characters - page.linked
    for selector, signs in _MAIN.items():
        result = tree.body.query_selector_all(selector) if any(sign in page.html for sign in signs) else ()
        if len(result) == 1 and result.item(0).tag not in PRUNABLE:  # <div role=main> never was taken alone
            part = _census(result.item(0))
            if part.characters - part.linked >= MAIN_SHARE * whole:
                root, page = result.item(0), part
                _keep_only(root, tree.body)
                break
    kept, linked = page.characters - page.linked, page.linked
    nodes = root.query_selector_all(_PRUNABLE)
    for block, node in [(block, nodes.item(block.place)) for block in _navigation(page)]:
        kept -= block.characters - block.linked
        linked -= block.linked
        node.decompose()
    return whole, kept, linked


def _census(root: Any) -> Census:
    """Count characters in an element, as they are written out; the page stays as it is."""
    result = census(root.html)
    if not result.has_raw:
        return result
    raws = [raw for raw in (root, *root.query_selector_all(", ".join(RAW)).values()) if raw.tag in RAW]
    texts = [node for raw in raws for node in raw.child_nodes if node.tag == "#text"]
    values = [node.value for node in texts]
    for node, value in zip(texts, values, strict=True):
        node.value = escape(value, quote=False)
    result = census(root.html)
    for node, value in zip(texts, values, strict=True):
        node.value = value
    return result


def _navigation(page: Census) -> Iterator[Block]:
    """The outermost blocks that are navigation."""
    after = 0
    for block in page.blocks(LINK_LIST_SHARE):
        if block.place >= after and is_navigation(block):
            after = block.end
            yield block


def is_navigation(block: Block) -> bool:
    """Whether the name of a block with characters, or its links, say that it is not text."""
    said, share = _said(block.names), block.linked / block.characters
    if said == "navigation":
        return True
    if said == "beside" and (block.sentences < PROSE_SENTENCES or share > PROSE_LINK_SHARE):
        return True
    return share >= LINK_SHARE or (block.links >= LINK_LIST and share >= LINK_LIST_SHARE and not block.sentences)


def _said(names: str) -> str:
    return _say(names) if len(names) <= CACHED_NAMES else _say.__wrapped__(names)


@functools.lru_cache(4096)
def _say(names: str) -> str:
    """What class and id say a block is, "" if nothing."""
    names = names.replace("&nbsp;", " ")
    return "navigation" if _NAVIGATION.search(names) else "beside" if _BESIDE.search(names) else ""


def _keep_only(node: Any, body: Any) -> None:
    """Remove what is beside `node` on every level up to the body."""
    while node is not None and node != body:
        node.parent.replace_children(node)
        node = node.parent


def tidy(text: str) -> str:
    """Table cells between bars, list items at the margin, no empty items, no permalink signs."""
    if "\t" in text:
        text = _CELLS.sub(" | ", text)
    return _PERMALINK.sub("", _EMPTY_ITEM.sub("", _ITEM.sub("", text)))


def by_trafilatura(html: str) -> str:
    """Main text as trafilatura sees it, "" if it sees none."""
    import trafilatura

    return trafilatura.extract(html, include_comments=False, favor_recall=True) or ""
