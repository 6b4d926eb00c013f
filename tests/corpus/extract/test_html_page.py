"""Counting in a page as the parser writes it out, against a walk over its nodes; line ends against a regular expression."""

import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from resiliparse.parse.html import DOMContext, HTMLTree, traverse_dom

from corpus.extract import html_page as main_text_module
from corpus.extract.html_page import RAW, prune
from corpus.extract.html_scan import PRUNABLE, Block, join_lines

INLINE = r"(?:</?(?:a|b|i|u|em|strong|code|span|tt|kbd|var|dfn|cite|q|samp|font|small|abbr|acronym)\b[^<>]*>)*"
CJK = r"[\u2014\u2026\u3001-\u30ff\u3400-\u9fff\uf900-\ufaff\uff01-\uffef]"
LINE_END = re.compile(rf"(?<={CJK})({INLINE})[ \t]*\r?\n\s*({INLINE})(?={CJK})")
LITERAL = re.compile(r"<(/?)(pre|textarea|script|style|xmp)\b[^<>]*>", re.IGNORECASE)

MARKUP = [
    *(
        f"<{name}>"
        for name in (*PRUNABLE, *RAW, "a", "b", "li", "td", "tr", "main", "article", "math", "mi", "svg", "br", "pre")
    ),
    *(f"</{name}>" for name in (*PRUNABLE, *RAW, "a", "b", "li", "td", "main", "math", "mi", "pre")),
    *(
        "<a href=x>",
        '<a class="headerlink" href="#">',
        "<a name=href>",
        "<A/HREF>",
        "<a id=href class=x href='&quot;>'>",
        "<a-b href>",
    ),
    *("<div class=nav>", "<p id='sidebar'>", "<ul class='x&nbsp;menu'>", "<div class='a&amp;nav \"' title='<p>'>", "<p:x>"),
    *(
        "<div role=main>",
        "<td role=main>",
        "<xmp role=main>",
        "<section =x \"y='z>'>",
        "<title>",
        "<style>",
        "<textarea>",
        "<script>",
        "</script>",
    ),
    *("<!-- <p> -->", "<!-->", "<!--->", "<?a?>", "<?div <p>", "<![CDATA[<p>]]>", "</ x>", "<!x>", "<h6/>", "<table><tr><td>"),
    *(
        "&lt;div&gt;",
        "&amp;nbsp;",
        "&nbsp;",
        "&#0;",
        "&#13;",
        "&#12290;",
        "\x00",
        "漢字",
        "かな。",
        "𠮷。",
        "a b",
        "\t",
        "\n",
        " ",
        "<",
        "&",
    ),
    *(
        "文です。これも文です。",
        "これは文である。",
        "</",
        "<a ",
        "'",
        '"',
        ">",
        "ſ",
        "\u3000",
        "<plaintext>",
        "<p><b>",
        "<noembed></div>",
    ),
]
pages = st.lists(st.sampled_from(MARKUP), max_size=40).map("".join)
LINES = [
    *MARKUP,
    *(
        "漢",
        "字",
        "。",
        "—",
        "\n",
        "\n",
        "\r\n",
        " ",
        "\t",
        "\u3000",
        "\xa0",
        "\x1c",
        "\u2028",
        "<b>",
        "</b>",
        "<B>",
        "<b_>",
        "<b漢>",
    ),
    *("<b\u3000>", "<a\nhref=漢\n字>", "<i-x>", "<pre>", "</pre>", "</PRE>", "<pre-x>", "<pre漢>", "<xmp", "a"),
]
sources = st.lists(st.sampled_from(LINES), max_size=30).map("".join)


class Walk:
    """What `census` counts, node by node."""

    def __init__(self, root: Any) -> None:
        self.totals, self.blocks, self.nodes = [0, 0, 0, 0], [], []
        self._open: list[tuple[int, list[int]]] = []
        self._links = 0
        traverse_dom(root, self._enter, self._leave, DOMContext(), False)

    def _enter(self, context: Any) -> None:
        node, tag = context.node, context.node.tag
        if tag == "#text":
            size = len(re.sub("[ \n\t]", "", node.value))
            self.totals[0] += size
            self.totals[1] += size if self._links else 0
            self.totals[3] += 0 if self._links else node.value.count("。")
        elif not hasattr(node, "attrs"):
            return
        if tag in PRUNABLE:
            self.nodes.append(node)
            self.blocks.append((node, [0, 0, 0, 0], len(self.nodes)))
        if tag[0] == "#" or node.first_child is None:  # what is empty is not left
            return
        if tag == "a" and "href" in node.attrs:
            self._links += 1
            self.totals[2] += 1
        elif tag in PRUNABLE:
            self._open.append((len(self.nodes) - 1, list(self.totals)))

    def _leave(self, context: Any) -> None:
        if context.node.tag == "a" and "href" in context.node.attrs:
            self._links -= 1
        elif context.node.tag in PRUNABLE:
            place, before = self._open.pop()
            counts = [now - then for now, then in zip(self.totals, before, strict=True)]
            self.blocks[place] = (self.nodes[place], counts, len(self.nodes))


def parsed(html: str) -> Any:
    """A page without what holds no prose, as `main_text` leaves it to be counted."""
    tree = HTMLTree.parse(html)
    if tree.body is not None:
        for node in reversed(tree.body.query_selector_all(main_text_module._SKIPPED)):
            node.decompose()
    return tree


@given(pages)
@settings(max_examples=400, deadline=None)
def test_counts_are_those_of_a_walk(html: str) -> None:
    tree = parsed(html)
    before = str(tree)
    found = main_text_module._census(tree.body)
    assert str(tree) == before  # texts of <xmp> were escaped and are whole again
    walk = Walk(tree.body)
    assert (found.characters, found.linked, len(found.table)) == (walk.totals[0], walk.totals[1], len(walk.nodes))
    selected = tree.body.query_selector_all(main_text_module._PRUNABLE)
    assert [node.html for node in walk.nodes] == [selected.item(place).html for place in range(len(selected))]
    blocks = {block.place: block for block in found.blocks(0)}
    for place, (node, counts, end) in enumerate(walk.blocks):
        if not counts[0]:
            assert place not in blocks
            continue
        block = blocks[place]
        assert ([block.characters, block.linked, block.links, block.sentences], block.end) == (counts, end)
        said = main_text_module._say.__wrapped__
        assert said(block.names) == said(f"{node.class_name or ''} {node.id or ''}")


@given(pages)
@settings(max_examples=300, deadline=None)
def test_navigation_goes_block_by_block(html: str) -> None:
    """`prune` against judging every block of a walk, outermost first; pages without an element taken alone."""
    html = html.replace("main", "mark").replace("article", "mark")
    walk, tree = Walk((other := parsed(html)).body), parsed(html)
    kept, linked, gone = walk.totals[0] - walk.totals[1], walk.totals[1], 0
    for place, (node, counts, end) in enumerate(walk.blocks):
        names = f"{node.class_name or ''} {node.id or ''}"
        if place >= gone and counts[0] and main_text_module.is_navigation(Block._make((names, place, *counts, end))):
            kept, linked, gone = kept - counts[0] + counts[1], linked - counts[1], end
            node.decompose()
    assert prune(tree) == (walk.totals[0] - walk.totals[1], kept, linked)
    assert str(tree) == str(other)


@given(sources)
@settings(max_examples=400, deadline=None)
def test_lines_join_as_a_regular_expression_says(html: str) -> None:
    parts, begin, literal = [], 0, ""
    for tag in LITERAL.finditer(html):
        name = tag[2].lower()
        if not literal and not tag[1]:
            parts.append(LINE_END.sub(r"\1\2", html[begin : tag.start()]))
            begin, literal = tag.start(), name
        elif literal == name and tag[1]:
            parts.append(html[begin : tag.end()])
            begin, literal = tag.end(), ""
    rest = html[begin:]
    assert join_lines(html) == "".join(parts) + (rest if literal else LINE_END.sub(r"\1\2", rest))
