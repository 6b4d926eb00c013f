"""Main text of an HTML page: navigation goes, what people read stays.

resiliparse parses the page and lays out its text. Its own main-content mode loses Japanese text (text nodes of one character
such as が between two tags, and most lists), so navigation is pruned here: by the names that pages give it and by the share
of a block's characters that are links. Where that leaves too little of a page, trafilatura takes over.
"""

import re
from dataclasses import dataclass
from typing import Any

from corpus.gate import nesting

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
# Blocks that may go as a whole; cells, terms and single items stay with their table or list.
_PRUNABLE = {"div", "p", "ul", "ol", "dl", "table", "section", "center", "header", "h6"}
# A block is navigation from this share of link characters on; a list of three or more links that says no sentence, sooner.
LINK_SHARE, LINK_LIST_SHARE, LINK_LIST = 0.7, 0.35, 3
# <main> or a single <article> is taken alone if it holds this share of the page's characters outside links.
MAIN_SHARE = 0.4
# Where pruning keeps less than this share of the characters outside links, trafilatura is asked, and believed if it finds
# more sentences: 11 of 1,523 Japanese pages of a crawl, most of them tables and lists full of links.
KEPT_SHARE, KEPT_CHARACTERS = 0.3, 200

# Elements inside elements from which a page is no page: browsers stop at 512 (Blink's kMaximumHTMLParserDOMTreeDepth), and
# taking blocks out of deeper trees costs resiliparse quadratic time and lxml its stack.
MAX_DEPTH = 512
# Beyond these a page is not parsed at all: deeper trees cost the parser quadratic time (300,000 deep: 40 s); it makes about 400
# bytes of every tag, and opens all unclosed formatting elements again in every block. Of 1,883 pages of a crawl the most
# are 40 deep, 6 unclosed and 53,000 tags.
MAX_OPEN, MAX_TAGS, MAX_REOPENED = 20_000, 1_000_000, 1_000_000

_INLINE = r"(?:</?(?:a|b|i|u|em|strong|code|span|tt|kbd|var|dfn|cite|q|samp|font|small|abbr|acronym)\b[^<>]*>)*"
_CJK = r"[\u2014\u2026\u3001-\u30ff\u3400-\u9fff\uf900-\ufaff\uff01-\uffef]"
# A line end of the source between two Japanese characters is no space; browsers show one, writers mean none.
_SOURCE_LINE_END = re.compile(rf"(?<={_CJK})({_INLINE})[ \t]*\r?\n\s*({_INLINE})(?={_CJK})")
_LITERAL = re.compile(r"<(/?)(pre|textarea|script|style|xmp)\b[^<>]*>", re.IGNORECASE)
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


@dataclass
class _Block:
    """Characters counted below one element."""

    node: Any
    inner: int = 0  # navigation blocks found before it
    characters: int = 0
    linked: int = 0
    links: int = 0
    sentences: int = 0  # 。 outside links

    def add(self, other: "_Block") -> None:
        """Count what is below a child, too."""
        self.characters += other.characters
        self.linked += other.linked
        self.links += other.links
        self.sentences += other.sentences

    def is_navigation(self) -> bool:
        """Whether its name or its links say so."""
        if not self.characters:
            return False
        names, share = f"{self.node.class_name or ''} {self.node.id or ''}", self.linked / self.characters
        if _NAVIGATION.search(names):
            return True
        if _BESIDE.search(names) and (self.sentences < PROSE_SENTENCES or share > PROSE_LINK_SHARE):
            return True
        return share >= LINK_SHARE or (self.links >= LINK_LIST and share >= LINK_LIST_SHARE and not self.sentences)


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
    for node in reversed(tree.body.query_selector_all(_SKIPPED)):  # inner ones first: what is gone cannot go again
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
    """How many elements the deepest node below `root` lies in."""
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
    page, navigation = _census(tree.body)
    whole = page.characters - page.linked
    for selector in ("main, [role=main]", "article"):
        found = tree.body.query_selector_all(selector)
        if len(found) == 1:
            part, inner = _census(found[0])
            if part.characters - part.linked >= MAIN_SHARE * whole:
                _keep_only(found[0], tree.body)
                page, navigation = part, inner
                break
    kept, linked = page.characters - page.linked, page.linked
    for block in navigation:
        kept -= block.characters - block.linked
        linked -= block.linked
        block.node.decompose()
    return whole, kept, linked


def _census(root: Any) -> tuple[_Block, list[_Block]]:
    """Count characters below `root`. Returns: the counts, and the outermost blocks that are navigation."""
    from resiliparse.parse.html import DOMContext, traverse_dom

    navigation: list[_Block] = []
    stack, links = [_Block(root)], 0

    def enter(context: Any) -> None:
        nonlocal links
        node = context.node
        tag = node.tag
        block = stack[-1]
        if tag == "#text":
            value = node.value
            size = len(value) - value.count(" ") - value.count("\n") - value.count("\t")
            block.characters += size
            if links:
                block.linked += size
            else:
                block.sentences += value.count("。")
        elif node.first_child is None:  # resiliparse does not leave what is empty
            return
        elif tag == "a" and node.hasattr("href"):
            links += 1
            block.links += 1
        elif tag in _PRUNABLE:
            stack.append(_Block(node, len(navigation)))

    def leave(context: Any) -> None:
        nonlocal links
        node = context.node
        tag = node.tag
        if tag == "a" and node.hasattr("href"):
            links -= 1
        elif tag in _PRUNABLE and len(stack) > 1:
            block = stack.pop()
            stack[-1].add(block)
            if block.is_navigation():
                del navigation[block.inner :]
                navigation.append(block)

    traverse_dom(root, enter, leave, DOMContext(), False)
    return stack[0], navigation


def _keep_only(node: Any, body: Any) -> None:
    """Remove what stands beside `node` on every level up to the body."""
    while node is not None and node != body:
        for sibling in list(node.parent.child_nodes):
            if sibling != node:
                sibling.decompose()
        node = node.parent


def join_lines(html: str) -> str:
    """Join source lines that end and begin in Japanese, outside preformatted text; linear whatever is left open."""
    parts, begin, literal = [], 0, ""
    for tag in _LITERAL.finditer(html):
        name = tag[2].lower()
        if not literal and not tag[1]:
            parts.append(_SOURCE_LINE_END.sub(r"\1\2", html[begin : tag.start()]))
            begin, literal = tag.start(), name
        elif literal == name and tag[1]:
            parts.append(html[begin : tag.end()])
            begin, literal = tag.end(), ""
    rest = html[begin:]
    return "".join(parts) + (rest if literal else _SOURCE_LINE_END.sub(r"\1\2", rest))


def tidy(text: str) -> str:
    """Table cells between bars, list items at the margin, no empty items, no permalink signs."""
    text = _CELLS.sub(" | ", text)
    return _PERMALINK.sub("", _EMPTY_ITEM.sub("", _ITEM.sub("", text)))


def by_trafilatura(html: str) -> str:
    """Main text as trafilatura sees it, "" if it sees none."""
    import trafilatura

    return trafilatura.extract(html, include_comments=False, favor_recall=True) or ""
