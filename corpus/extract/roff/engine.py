"""Manual pages from roff source to plain text: man(7) and mdoc(7) macros, conditionals, strings and a page's own macros.

Not a typesetter: equations and pictures are left out, tables lose their rules, indentation is flattened, a tagged paragraph
becomes the tag's line and its text below. Lines that end and begin in Japanese are joined without a space.
"""

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from corpus.extract.roff.escapes import STRINGS, unescape
from corpus.extract.roff.tables import table_lines

_REQUEST = re.compile(r"^[.'][ \t]*(?P<name>[^\s\\]*)[ \t]*(?P<rest>.*)$")
_CJK = r"\u2014\u2026\u3001-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef"
_CJK_END, _CJK_BEGIN = re.compile(f"[{_CJK}]$"), re.compile(f"^[{_CJK}]")
# Translation tools wrap lines at Japanese punctuation and leave a space there.
_AFTER_PUNCTUATION = re.compile(r"(?<=[、。]) +(?=\S)")
_BULLETS = {"•", "*", "-", "o", "○", "□", "·", "—", "–", "−", "+"}
_ARGUMENT = re.compile(r'"((?:[^"]|"")*)"?|((?:\\.|[^\s\\])+)')
_IGNORED = {"ig", "am", "am1"}  # like .de, they end at `..`
MAX_LINES = 200_000  # a page's own macros may call themselves; no page is so long


def arguments(rest: str) -> list[str]:
    """Words of a macro line; "…" holds spaces together, and "" inside is a quotation mark."""
    rest = re.sub(r'(?<!\\)\\".*$', "", rest)
    return [m[1].replace('""', '"') if m[2] is None else m[2] for m in _ARGUMENT.finditer(rest)]


def join(left: str, right: str) -> str:
    """Two lines as one: no space where Japanese meets Japanese."""
    if not left or not right or left.endswith(" "):
        return left + right
    return left + right if _CJK_END.search(left) and _CJK_BEGIN.search(right) else f"{left} {right}"


@dataclass
class Paragraphs:
    """Output so far: finished blocks, and the paragraph being filled."""

    blocks: list[str] = field(default_factory=list)
    line: str = ""
    tags: list[str] = field(default_factory=list)
    wants_tag: bool = False  # the next line is the tag of a paragraph
    filling: bool = True
    glue: bool = False  # the next line follows without a space (\c)

    def add(self, text: str) -> None:
        """One line of output."""
        if self.wants_tag:
            if text.strip():
                self.tags.append(text.strip())
                self.wants_tag = False
            return
        if not self.filling:
            self.line = self.line + text if self.glue else f"{self.line}\n{text}" if self.line else text
        elif not text.strip():
            self.end()
        else:
            self.line = self.line + text if self.glue else join(self.line, text.strip())
        self.glue = False

    def end(self) -> None:
        """Finish the paragraph."""
        body = self.line.strip("\n")
        if self.filling:
            body = _AFTER_PUNCTUATION.sub("", re.sub(" {2,}", " ", body)).strip()
        tag = "、".join(self.tags)
        if body.strip() or tag:
            bullet = tag in _BULLETS
            self.blocks.append(f"• {body}" if bullet else f"{tag}\n{body}" if tag and body else tag or body)
        self.line, self.tags, self.wants_tag, self.glue = "", [], False, False

    def new_line(self) -> None:
        """A line break inside a paragraph (.br)."""
        if self.filling and self.line and not self.wants_tag:
            self.line = self.line.rstrip(" ") + "\n"
            self.glue = True

    def fill(self, on: bool) -> None:
        """Switch filling of lines (.fi, .nf); a tag keeps waiting for its text."""
        tags, self.tags = (self.tags, []) if not self.line else ([], self.tags)
        self.end()
        self.tags, self.filling = tags, on

    def text(self) -> str:
        """All of it."""
        self.end()
        return "\n\n".join(self.blocks)


class MacroPackage(Protocol):
    """Macros beyond those of man(7), with the state that they need on one page."""

    def knows(self, name: str) -> bool:
        """Whether a macro is one of the package."""
        ...

    def line(self, name: str, words: list[str]) -> None:
        """Convert one macro line."""
        ...


class Converter:
    """Converts the lines of one page; macros that it does not know itself go to a macro package."""

    def __init__(self, source: str, package: "Callable[[Converter], MacroPackage]") -> None:
        self.lines: deque[str] = deque(re.sub(r"\\\n", "", source.replace("\r\n", "\n")).split("\n"))
        self.out = Paragraphs()
        self.title, self.url = "", ""
        self.strings = dict(STRINGS)
        self.macros: dict[str, list[str]] = {}
        self.branches: list[bool] = []  # what .ie decided, for its .el
        self.package = package(self)

    def run(self) -> None:
        """Convert every line."""
        left = MAX_LINES
        while self.lines and left:
            left -= 1
            self.one(self.lines.popleft())

    def one(self, line: str) -> None:
        """Convert one input line."""
        match = _REQUEST.match(line)
        if line.startswith(("''", "..")) or line.strip() in ("\\}", "\\{"):  # comments of old pages, ends of blocks
            return
        if match is None:
            glue = line.endswith("\\c")
            self.out.add(unescape(line, self.strings).expandtabs(8) if not self.out.filling else unescape(line, self.strings))
            self.out.glue = glue
            return
        name, rest = match["name"], match["rest"]
        if name in self.macros:
            self.expand(name, arguments(rest))
        elif (request := REQUESTS.get(name)) is not None:
            request(self, rest)
        elif self.package.knows(name):
            self.package.line(name, arguments(rest))

    def words(self, rest: str) -> list[str]:
        """Arguments of a macro line as plain text."""
        return [unescape(word, self.strings) for word in arguments(rest)]

    def expand(self, name: str, words: list[str]) -> None:
        """Put the body of a page's own macro in front of the lines to come."""

        def argument(found: re.Match[str]) -> str:
            return (
                words[int(found[1]) - 1]
                if found[1].isdigit() and 0 < int(found[1]) <= len(words)
                else (" ".join(words) if found[1] in "*@" else "")
            )

        body = [re.sub(r"\\{1,2}\$([0-9*@])", argument, line) for line in self.macros[name]]
        self.lines.extendleft(reversed(body))

    def until(self, end: str) -> list[str]:
        """Take the lines up to the request `end`, which goes too."""
        taken = []
        while self.lines:
            line = self.lines.popleft()
            if re.match(rf"^[.'][ \t]*{re.escape(end)}(\s|$)", line):
                break
            taken.append(line)
        return taken

    def branch(self, rest: str, taken: bool) -> None:
        """The rest of a conditional: one request or text, or a block in \\{ … \\}."""
        if not rest.lstrip().startswith("\\{"):
            if taken:
                self.lines.appendleft(rest.lstrip())
            return
        block, line = [], rest.lstrip()
        depth = 0
        while True:
            depth += line.count("\\{") - line.count("\\}")
            block.append(line.replace("\\}", "") if depth <= 0 else line)
            if depth <= 0 or not self.lines:
                break
            line = self.lines.popleft()
        if taken:
            block[0] = block[0].lstrip()[2:].lstrip()
            self.lines.extendleft(reversed([line for line in block if line.strip() not in ("", ".")]))


def condition(converter: Converter, rest: str) -> tuple[bool, str]:
    """Whether a conditional of .if or .ie holds on a terminal, and what follows it."""
    rest = rest.lstrip()
    wanted = not rest.startswith("!")
    rest = rest.lstrip("!")
    if rest[:1] in ("n", "t", "o", "e", "v") and (len(rest) == 1 or not rest[1].isalnum()):
        return (rest[0] in "no") == wanted, rest[1:]
    if rest[:1] in ("'", '"'):
        parts = rest[1:].split(rest[0], 2)
        if len(parts) == 3:
            left, right = (unescape(part, converter.strings) for part in parts[:2])
            return (left == right) == wanted, parts[2]
    if match := re.match(r"^([dcrm])\s*(\S+)\s*", rest):
        return (match[2] in converter.strings or match[2] in converter.macros) == wanted, rest[match.end() :]
    head = re.match(r"^(?:\\n(?:\[[^\]]*\]|\(..|.)|\\w'[^']*'|\([^)]*\)|[^\s\\])+", rest)
    end = head.end() if head else 0
    number = re.match(r"^[0-9]+", rest)
    return (bool(number) and int(rest[: number.end()] if number else "0") > 0) == wanted, rest[end:]


def _text_macro(separator: str) -> Callable[[Converter, str], None]:
    """A font macro: its words as one line of text; without words the font of the next line, which says nothing here."""

    def macro(converter: Converter, rest: str) -> None:
        if words := converter.words(rest):
            converter.out.add(separator.join(words))
            converter.out.glue = rest.endswith("\\c")

    return macro


def _heading(converter: Converter, rest: str) -> None:
    converter.out.fill(True)
    converter.out.tags.clear()
    if words := converter.words(rest):
        converter.out.blocks.append(" ".join(words))
    else:
        converter.out.wants_tag = True


def _paragraph(converter: Converter, rest: str) -> None:
    converter.out.end()


def _tagged(converter: Converter, rest: str) -> None:
    converter.out.end()
    converter.out.wants_tag = True


def _also_tagged(converter: Converter, rest: str) -> None:
    converter.out.wants_tag = True


def _indented(converter: Converter, rest: str) -> None:
    converter.out.end()
    if words := converter.words(rest):
        converter.out.tags = [words[0].strip()] if words[0].strip() else []


def _title(converter: Converter, rest: str) -> None:
    words = converter.words(rest)
    if len(words) >= 2:
        converter.title = f"{words[0].lower()}({words[1]})"


def _define_string(converter: Converter, rest: str) -> None:
    name, _, value = rest.partition(" ")
    if name:
        converter.strings[name] = value.lstrip().removeprefix('"')


def _define_macro(converter: Converter, rest: str) -> None:
    words = rest.split()
    body = converter.until(words[1] if len(words) > 1 else ".")
    if words and words[0] not in REQUESTS and not converter.package.knows(words[0]):
        converter.macros[words[0]] = body


def _conditional(keep: bool) -> Callable[[Converter, str], None]:
    def request(converter: Converter, rest: str) -> None:
        holds, rest = condition(converter, rest)
        if keep:
            converter.branches.append(holds)
        converter.branch(rest, holds)

    return request


def _else(converter: Converter, rest: str) -> None:
    converter.branch(rest, not (converter.branches.pop() if converter.branches else True))


def _url(converter: Converter, rest: str) -> None:
    words = converter.words(rest)
    converter.url = words[0] if words else ""


def _url_end(converter: Converter, rest: str) -> None:
    if converter.url:
        converter.out.add(f"<{converter.url}>{''.join(converter.words(rest))}")
    converter.url = ""


def _option(converter: Converter, rest: str) -> None:
    converter.out.add(f"[{' '.join(converter.words(rest))}]")


def _table(converter: Converter, rest: str) -> None:
    filling = converter.out.filling
    converter.out.fill(False)
    for line in table_lines(converter.until("TE")):
        converter.out.add(unescape(line, converter.strings))
    converter.out.fill(filling)


def _skip_to(end: str) -> Callable[[Converter, str], None]:
    """A request whose lines up to `end` have no place in plain text."""

    def request(converter: Converter, rest: str) -> None:
        converter.until(end)

    return request


REQUESTS: dict[str, Callable[[Converter, str], None]] = {
    **dict.fromkeys(("B", "I", "SM", "SB", "R", "C", "CW"), _text_macro(" ")),
    **dict.fromkeys(("BI", "BR", "IB", "IR", "RB", "RI"), _text_macro("")),
    **dict.fromkeys(("SH", "SS", "SHB"), _heading),
    **dict.fromkeys(("PP", "LP", "P", "sp", "Sp", "RS", "RE", "HP", "in", "ti", "bp", "ne", "ce"), _paragraph),
    **dict.fromkeys(("nf", "EX", "Vb"), lambda converter, rest: converter.out.fill(False)),
    **dict.fromkeys(("fi", "EE", "Ve"), lambda converter, rest: converter.out.fill(True)),
    "br": lambda converter, rest: converter.out.new_line(),
    "TP": _tagged, "TQ": _also_tagged, "IP": _indented, "TH": _title, "ds": _define_string, "de": _define_macro,
    "de1": _define_macro, "if": _conditional(False), "ie": _conditional(True), "el": _else,
    "UR": _url, "UE": _url_end, "MT": _url, "ME": _url_end, "OP": _option,
    "TS": _table, "EQ": _skip_to("EN"), "PS": _skip_to("PE"), **dict.fromkeys(_IGNORED, _skip_to(".")),
}  # fmt: skip
