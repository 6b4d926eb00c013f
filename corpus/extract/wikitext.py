"""Wikitext to plain text: what a reader of the article sees, without tables, notes and pictures.

One pass finds everything that nests (templates, tables, links) and closes it on a stack, so that the work is linear in the
text and depth costs no recursion. What is opened and never closed costs the rest of its line; what is closed and was never
opened costs its brackets. The syntax: https://www.mediawiki.org/wiki/Help:Formatting and
https://www.mediawiki.org/wiki/Preprocessor_ABNF .
"""

import html
import re
from dataclasses import dataclass

# Elements of which nothing is text: notes, formulas, galleries, code, scores.
_SILENT = (
    "ref|references|gallery|math|chem|ce|timeline|score|imagemap|syntaxhighlight|source|graph|hiero|templatestyles|templatedata"
    "|section|inputbox|categorytree|indicator|mapframe|maplink|noinclude|includeonly|rp|rt|style|script"
)
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_NOWIKI = re.compile(r"<nowiki\s*>(.*?)(?:</nowiki\s*>|\Z)", re.DOTALL | re.IGNORECASE)
_MARKS = re.compile(r"[{}\[\]'<>|=*#:;_~]+")
_SILENT_TAG = re.compile(rf"<(/?)({_SILENT})(?![A-Za-z0-9])([^<>]*)>", re.IGNORECASE)
_TAG = re.compile(r"</?[A-Za-z][^<>\n]{0,1000}>")
_BREAK = re.compile(r"<(?:br|/?p|/?div|hr|/?blockquote|/?poem|/?center|/?ul|/?ol|/li|/?dl)\b[^<>\n]{0,1000}>", re.IGNORECASE)
_TOKEN = re.compile(r"\{\{+|\}\}+|^[ \t:*#;]*\{\|(?!\})|^[ \t]*\|\}(?!\})|\[\[|\]\]", re.MULTILINE)
_FILE = r"ファイル|画像|メディア|File|Image|Media|Category|カテゴリ|カテゴリー|Cat"
_SILENT_LINK = re.compile(rf"\s*(?:{_FILE})\s*:", re.IGNORECASE)
_OTHER_WIKI = re.compile(r"\s*[a-z]{2,3}(?:-[a-z-]{2,10})?\s*:[^|]*\Z")  # [[en:Title]], the old links between languages
_OUTSIDE = re.compile(r"\[(?:https?:|ftp:|mailto:)?//[^\s\[\]]*([^\[\]\n]*)\]")
_SWITCH = re.compile(r"__[A-Z]{3,30}__|__[\u3041-\u9fff]{2,20}__")
_QUOTES = re.compile(r"'{2,}")
_SIGNATURE = re.compile(r"~{3,5}")
_ROW = re.compile(r"^[ \t]*(?:\|[-}+|]?|\{\|).*$", re.MULTILINE)  # what an unclosed table or template leaves
_HEADING = re.compile(r"^[ \t]*(={1,6})[ \t]*(.+?)[ \t]*\1[ \t]*$")
_ITEM = re.compile(r"^[ \t\u3000]*([*#:;]+)[ \t]*")
_RULE = re.compile(r"^-{4,}")
_SPACES = re.compile(r"[ \t\u00a0]+")
_HOLLOW = re.compile(r"[（(][（(\s、，,;；:：・/／)）]*[)）]")
_HOLLOW_ANGLES = re.compile(r"〈[\s、]*〉")
_LEADING = re.compile(r"([（(])[ \t\u3000]*(?:[、，,;；:：][ \t\u3000]*)+")
_TRAILING = re.compile(r"[ \t\u3000]*(?:[、，,;；:：][ \t\u3000]*)+([)）])")
_BLANK = re.compile(r"\n{3,}")
_PAIR = re.compile(r"\{\{+|\}\}+")
# Sections of references, by LLM-jp's remove_wikipedia_footnote (llm-jp-corpus v1), notes beside them, and English names.
FOOTNOTES = (
    *("脚注", "関連項目", "日本国内の関連項目", "出典・脚注", "参照", "外部リンク", "参考文献", "その他関連事項"),
    *(
        "See also",
        "Further reading",
        "External links",
        "Footnotes",
        "References",
        "Notes",
        "Citations",
        "Sources",
        "Bibliography",
    ),
    *(
        "出典",
        "注釈",
        "注",
        "註",
        "註釈",
        "脚註",
        "注記",
        "参考",
        "参考資料",
        "参考書籍",
        "参考サイト",
        "関連文献",
        "関連リンク",
    ),
    *("関連書籍", "引用文献", "脚注・出典", "注釈・出典", "脚注と出典", "注釈と出典", "出典・参考文献", "参考文献・出典"),
    *("脚注・参考文献", "ギャラリー"),
)
_FOOTNOTES = frozenset(name.casefold() for name in FOOTNOTES)
# Templates that are in running text and show one of their arguments; which one. Names as in ja.wikipedia, in lower case.
_FIRST = (
    *(
        "ルビ",
        "ruby",
        "ふりがな",
        "読み",
        "読み仮名",
        "読み仮名_ruby不使用",
        "読みがな",
        "要出典範囲",
        "要検証範囲",
        "要説明範囲",
    ),
    *("独自研究範囲", "仮リンク", "日本語版にない記事リンク", "ill", "ill2", "interlang", "nowrap", "nobr", "small", "smaller"),
    *("big", "larger", "vanchor", "visible_anchor", "underline", "下線", "strong", "em", "abbr", "略語", "補助漢字フォント"),
    *(
        "jis2004フォント",
        "jis90フォント",
        "cp932フォント",
        "拡張漢字",
        "補助漢字",
        "繁体字",
        "簡体字",
        "kanji",
        "unicode",
        "ipa",
    ),
    *("mvar", "var", "code", "kbd", "quote", "quotation", "cquote", "blockquote"),
)
_SECOND = ("lang", "lang2", "color", "colors", "fontcolor", "font_color", "fontsize", "size")
_SHOWN = dict.fromkeys(_FIRST, 1) | dict.fromkeys(_SECOND, 2)
_READINGS = ("読み仮名", "読み仮名_ruby不使用", "読みがな")  # shown as 漢字（かんじ）
_LINK_LABEL = ("仮リンク", "日本語版にない記事リンク", "ill", "ill2")
_SIGNS = {"!": "", "=": "=", "·": "・", "・": "・", "-": "", "ndash": "–", "mdash": "—", "spaces": " ", "nbsp": " "}


@dataclass
class _Open:
    """Something that nests and is open."""

    kind: str  # "{", "|" or "["
    place: int  # of its first piece
    width: int = 2  # braces


def clean_wikitext(text: str) -> str:
    """The plain text of an article; headings and list items are lines of their own, sections of references are gone.

    Never raises, whatever the text; plain text comes back as it is, but for white space.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _COMMENT.sub("", text)
    text = _NOWIKI.sub(lambda found: _MARKS.sub("", found[1]), text)
    text = _without_silent(text)
    text = _unnested(text)
    text = _OUTSIDE.sub(r"\1", text)
    text = _SIGNATURE.sub("", _QUOTES.sub("", _SWITCH.sub("", _ROW.sub("", text))))
    text = _TAG.sub("", _BREAK.sub("\n", text))
    text = html.unescape(text)
    text = _PAIR.sub("", text)  # what entities made
    lines = [_SPACES.sub(" ", line) for line in without_hollow(text).split("\n")]
    text = "\n".join(_sections(lines))
    return _BLANK.sub("\n\n", text).strip("\n ")


def without_hollow(text: str) -> str:
    """Without the brackets that a removed template leaves: （、）, （） and separators at the inner edge of others."""
    return _TRAILING.sub(r"\1", _LEADING.sub(r"\1", _HOLLOW.sub(_hollow, _HOLLOW_ANGLES.sub("", text))))


def _hollow(found: re.Match[str]) -> str:
    """A run of brackets and separators without its pairs that hold nothing."""
    out: list[str] = []
    for sign in found[0]:
        if sign in ")）":
            existing = len(out)
            while existing and out[existing - 1] not in "（(":
                existing -= 1
            if existing:
                del out[existing - 1 :]
                continue
        out.append(sign)
    return "".join(out)


def _without_silent(text: str) -> str:
    """Without elements whose content is not text; one that is not closed costs the rest of its line."""
    closers: dict[str, list[int]] = {}
    tags = list(_SILENT_TAG.finditer(text))
    for tag in tags:
        if tag[1]:
            closers.setdefault(tag[2].lower(), []).append(tag.end())
    out, offset = [], 0
    passed = dict.fromkeys(closers, 0)
    for tag in tags:
        if tag.start() < offset:
            continue
        out.append(text[offset : tag.start()])
        offset, name = tag.end(), tag[2].lower()
        if tag[1] or tag[3].rstrip().endswith("/"):
            continue
        ends = closers.get(name, [])
        while passed.get(name, 0) < len(ends) and ends[passed[name]] <= offset:
            passed[name] += 1
        if passed.get(name, 0) < len(ends):
            offset = ends[passed[name]]
        elif (end := text.find("\n", offset)) >= 0:
            offset = end
        else:
            offset = len(text)
    return "".join([*out, text[offset:]])


def _unnested(text: str) -> str:
    """Templates, tables and links replaced by what they show."""
    out: list[str] = []
    stack: list[_Open] = []
    depth = {"{": 0, "|": 0, "[": 0}
    offset = 0
    for token in _TOKEN.finditer(text):
        if token.start() < offset:
            continue
        out.append(text[offset : token.start()])
        offset = token.end()
        sign = token[0].lstrip(" \t:*#;")
        if sign.startswith("{{"):
            _open_braces(len(sign), stack, out, depth)
        elif sign.startswith("}}"):
            _close_braces(len(sign), stack, out, depth)
        elif sign in ("{|", "[["):
            stack.append(_Open("|" if sign == "{|" else "[", len(out)))
            depth[stack[-1].kind] += 1
        elif sign == "|}" and depth["|"]:
            _close("|", stack, out, depth)
        elif sign == "]]" and stack and stack[-1].kind == "[":
            _close("[", stack, out, depth)
    out.append(text[offset:])
    for opened in reversed(stack):
        if opened.kind != "[" or _SILENT_LINK.match("".join(out[opened.place : opened.place + 1])):
            _cut_line(out, opened.place)
    return "".join(out)


def _open_braces(count: int, stack: list[_Open], out: list[str], depth: dict[str, int]) -> None:
    """Pairs, and one of three where the count is odd: {{{parameter}}}."""
    widths = [3] * (count % 2) + [2] * ((count - 3 * (count % 2)) // 2)
    for width in widths:
        stack.append(_Open("{", len(out), width))
        depth["{"] += 1


def _close_braces(count: int, stack: list[_Open], out: list[str], depth: dict[str, int]) -> None:
    while count >= 2 and depth["{"]:
        count -= max(2, min(count, _close("{", stack, out, depth)))


def _close(kind: str, stack: list[_Open], out: list[str], depth: dict[str, int]) -> int:
    """Close the innermost open thing of a kind, and with it what is open inside. Returns: its width."""
    while True:
        opened = stack.pop()
        depth[opened.kind] -= 1
        if opened.kind == kind:
            break
    content = "".join(out[opened.place :])
    del out[opened.place :]
    if kind == "{":
        out.append(_template(content) if opened.width == 2 else "")
    else:
        out.append(_link(content) if kind == "[" else "\n")
    return opened.width


def _cut_line(out: list[str], place: int) -> None:
    """Remove what stands from a piece to the end of the line."""
    for number in range(place, len(out)):
        end = out[number].find("\n")
        if end >= 0:
            out[number] = out[number][end:]
            return
        out[number] = ""


def _link(content: str) -> str:
    if _SILENT_LINK.match(content) or _OTHER_WIKI.match(content):
        return ""
    target, bar, label = content.partition("|")
    if bar and label.strip():
        return label.rpartition("|")[2] if "|" in label else label
    return target.lstrip(": ").rstrip()


def _template(content: str) -> str:
    """What a template shows in running text; most show a box, a note or nothing."""
    name, *values = content.split("|")
    name = name.strip().lower().replace(" ", "_")
    if name in _SIGNS:
        return _SIGNS[name]
    offset = _SHOWN.get(name, 1 if name.startswith("lang-") else 0)
    if not offset:
        return ""
    named, plain = {}, []
    for value in values:
        key, equals, rest = value.partition("=")
        if equals and re.fullmatch(r"\s*[\w -]{1,20}\s*", key):
            named[key.strip()] = rest.strip()
        else:
            plain.append(value)
    given = [named.get(str(number), plain[number - 1] if number <= len(plain) else "") for number in range(1, 4)]
    if name in _LINK_LABEL:
        return named.get("label") or named.get("3") or given[0]
    if name in _READINGS and given[1].strip():
        return f"{given[0]}（{given[1].strip()}）"
    return given[offset - 1]


def _sections(lines: list[str]) -> list[str]:
    """Lines without sections of references, and without headings that nothing follows."""
    out: list[str] = []
    waiting: list[tuple[int, str]] = []  # headings of which no line of text has come yet
    silent = 0  # level of the section of references that we are in
    for line in lines:
        heading = _HEADING.match(line)
        if heading:
            level, title = len(heading[1]), heading[2].strip(" \u3000=")
            if silent and level > silent:
                continue
            silent = level if title.casefold() in _FOOTNOTES else 0
            waiting = [(above, name) for above, name in waiting if above < level]
            if not silent and title:
                waiting.append((level, title))
        elif not silent:
            plain = _plain_line(line)
            if plain:
                for _, title in waiting:
                    out += ["", title]
                waiting = []
            out.append(plain)
    return out


def _plain_line(line: str) -> str:
    """A list item begins with ・; an indented line and the term of a definition with nothing."""
    line = _RULE.sub("", line).strip(" \u3000") if not line.startswith("\u3000") else line.rstrip(" \u3000")
    match = _ITEM.match(line)
    if not match:
        return line
    rest = line[match.end() :]
    return ("・" if match[1][-1] in "*#" else "") + rest if rest.strip() else ""
