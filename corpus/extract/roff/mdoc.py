"""The semantic macros of mdoc(7), in which the BSD manuals are written."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from corpus.extract.roff.escapes import unescape

if TYPE_CHECKING:
    from corpus.extract.roff.engine import Converter

# mdoc(7): macros that put their words between two marks, over the rest of the line, or from …o to …c.
_ENCLOSING = {
    "Op": ("[", "]"), "Dq": ("“", "”"), "Sq": ("‘", "’"), "Ql": ("‘", "’"), "Pq": ("(", ")"), "Bq": ("[", "]"),
    "Aq": ("<", ">"), "Qq": ('"', '"'), "Brq": ("{", "}"), "D1": ("", ""), "Dl": ("", ""),
}  # fmt: skip
_OPENING = {"Oo": "[", "Do": "“", "So": "‘", "Po": "(", "Bo": "[", "Ao": "<", "Qo": '"', "Bro": "{", "Xo": ""}
_CLOSING = {"Oc": "]", "Dc": "”", "Sc": "’", "Pc": ")", "Bc": "]", "Ac": ">", "Qc": '"', "Brc": "}", "Xc": ""}
_FIXED = {
    "Ux": "UNIX", "Bx": "BSD", "Fx": "FreeBSD", "Nx": "NetBSD", "Ox": "OpenBSD", "Bsx": "BSD/OS", "Dx": "DragonFly",
    "At": "AT&T UNIX", "Ud": "currently under development", "Bt": "is currently in beta test",
}  # fmt: skip
_PLAIN = {
    "Ar", "Cm", "Ic", "Pa", "Ad", "An", "Em", "Sy", "Li", "Tn", "Ev", "Va", "Vt", "Er", "Dv", "No", "Sx", "Fa", "Ft", "Ms",
    "Cd", "St", "Lb", "Lk", "Mt", "Fr", "Me", "Hf", "%T", "%A", "%B", "%J", "%N", "%D", "%R", "%O", "%P", "%V", "%I", "%U",
    "%Q", "%C",
}  # fmt: skip
_NO_SPACE_BEFORE, _NO_SPACE_AFTER = set(".,:;)]?!"), set("([")
_BLOCKS = {
    "Sh",
    "Ss",
    "Pp",
    "Lp",
    "Bl",
    "El",
    "It",
    "Bd",
    "Ed",
    "Nd",
    "Dd",
    "Dt",
    "Os",
    "Rs",
    "Re",
    "Sm",
    "Bk",
    "Ek",
    "Fo",
    "Fc",
    "Rv",
    "Ex",
    "In",
}
_INLINE = {*_ENCLOSING, *_OPENING, *_CLOSING, *_FIXED, *_PLAIN, "Fl", "Nm", "Xr", "Fn", "Ns", "Ap", "Pf", "In"}
_MARKS = {"-bullet": "•", "-dash": "-", "-hyphen": "-", "-enum": "1."}


class Mdoc:
    """State of one page: its name, its open lists."""

    def __init__(self, converter: "Converter") -> None:
        self.converter = converter
        self.name = ""
        self.lists: list[str] = []  # kind of each open list
        self.numbers: list[int] = []
        self.function: list[str] | None = None  # words of an open .Fo

    def knows(self, name: str) -> bool:
        """Whether it is a macro of mdoc."""
        return name in _BLOCKS or name in _INLINE

    def line(self, name: str, words: list[str]) -> None:
        """Convert one macro line."""
        block = _HANDLERS.get(name)
        if block is not None:
            block(self, words)
        elif name in ("D1", "Dl"):
            self.converter.out.end()
            self.converter.out.add(self.inline(words))
            self.converter.out.end()
        elif name in _INLINE and name != "In":
            self.say(self.inline([name, *words]))
        elif name == "In" and words:
            self.say(f"#include <{words[0]}>")

    def say(self, text: str) -> None:
        """One line of output; one that begins with closing punctuation follows without a space."""
        out = self.converter.out
        if re.match(r"[.,:;)\]?!]+(\s|$)", text) and out.line:
            out.glue = True
        out.add(text)
        out.glue = text[-1:] in _NO_SPACE_AFTER

    def inline(self, words: list[str]) -> str:
        """Words of a line with the macros among them carried out, and spaces set by mdoc's rules."""
        out, tight, closers = "", True, []
        index = 0

        def put(text: str) -> None:
            nonlocal out, tight
            closing = len(text) == 1 and text in _NO_SPACE_BEFORE
            out += text if tight or closing or not out else f" {text}"
            tight = len(text) == 1 and text in _NO_SPACE_AFTER

        while index < len(words):
            word = words[index]
            index += 1
            if word in _ENCLOSING:
                left, right = _ENCLOSING[word]
                if left:
                    put(left)
                    tight = True
                closers.append(right)
            elif word in _OPENING:
                put(_OPENING[word])
                tight = True
            elif word in _CLOSING:
                tight = True
                put(_CLOSING[word])
                tight = False
            elif word in ("Ns", "Ap"):
                out, tight = out + ("'" if word == "Ap" else ""), True
            elif word == "Pf" and index < len(words):
                put(self.plain(words[index]))
                index, tight = index + 1, True
            elif word in _INLINE:
                texts, index = self.call(word, words, index)
                for text in texts:
                    put(text)
            else:
                put(self.plain(word))
        trailing = ""
        while closers and len(out) > 1 and out[-1] in ".,:;" and words[-1] in _NO_SPACE_BEFORE:
            trailing, out = out[-1] + trailing, out[:-1]
        return out + "".join(reversed(closers)) + trailing

    def call(self, macro: str, words: list[str], index: int) -> tuple[list[str], int]:
        """Carry out an inline macro on the words up to the next one. Returns: its texts, where to go on."""
        own = []
        while index < len(words) and words[index] not in _INLINE:
            own.append(self.plain(words[index]))
            index += 1
        if macro in _FIXED:
            return [_FIXED[macro], *own], index
        if macro == "Fl":
            marks = [word if word in _NO_SPACE_BEFORE | {"|", "(", "["} else f"-{word}" for word in own]
            return marks or ["-"], index
        if macro == "Nm":
            if own and own[0] not in _NO_SPACE_BEFORE:
                self.name = self.name or own[0]
                return own, index
            return [self.name, *own], index
        if macro == "Xr" and own:
            paired = len(own) > 1 and own[1] not in _NO_SPACE_BEFORE
            return ([f"{own[0]}({own[1]})", *own[2:]] if paired else own), index
        if macro == "Fn" and own:
            tail = [word for word in own[1:] if word in _NO_SPACE_BEFORE]
            return [f"{own[0]}({', '.join(word for word in own[1:] if word not in _NO_SPACE_BEFORE)})", *tail], index
        return own, index

    def plain(self, word: str) -> str:
        """A word without escapes."""
        return unescape(word, self.converter.strings)

    def heading(self, words: list[str]) -> None:
        """.Sh, .Ss."""
        out = self.converter.out
        out.fill(True)
        out.tags.clear()
        if words:
            out.blocks.append(self.inline(words))

    def paragraph(self, words: list[str]) -> None:
        """.Pp and what else ends a paragraph."""
        self.converter.out.end()

    def begin_list(self, words: list[str]) -> None:
        """.Bl -kind."""
        self.converter.out.end()
        kinds = [word for word in words if word.startswith("-")]
        self.lists.append(kinds[0] if kinds else "-item")
        self.numbers.append(0)

    def end_list(self, words: list[str]) -> None:
        """.El."""
        self.converter.out.end()
        if self.lists:
            self.lists.pop()
            self.numbers.pop()

    def item(self, words: list[str]) -> None:
        """.It: a bullet, a number, the cells of a row, or a tag."""
        out, kind = self.converter.out, self.lists[-1] if self.lists else "-item"
        out.end()
        if kind == "-enum":
            self.numbers[-1] += 1
            out.tags = [f"{self.numbers[-1]}."]
        elif kind in _MARKS:
            out.tags = [_MARKS[kind]]
        elif kind == "-column":
            out.add(self.inline(["" if word == "Ta" else word for word in words]))
        elif words:
            out.tags = [self.inline(words)]

    def begin_display(self, words: list[str]) -> None:
        """.Bd: literal and unfilled ones keep their lines."""
        self.converter.out.fill(not {"-literal", "-unfilled"} & set(words))

    def end_display(self, words: list[str]) -> None:
        """.Ed."""
        self.converter.out.fill(True)

    def describe(self, words: list[str]) -> None:
        """.Nd: what the page is about, after its name."""
        self.say(f"- {self.inline(words)}")

    def title(self, words: list[str]) -> None:
        """.Dt NAME SECTION."""
        if len(words) >= 2:
            self.converter.title = f"{self.plain(words[0]).lower()}({self.plain(words[1])})"

    def begin_function(self, words: list[str]) -> None:
        """.Fo name, whose arguments follow as .Fa lines."""
        self.say(f"{self.inline(words)}(")
        self.converter.out.glue = True

    def end_function(self, words: list[str]) -> None:
        """.Fc."""
        self.say(")")

    def nothing(self, words: list[str]) -> None:
        """Macros that set what plain text does not have."""


_HANDLERS: dict[str, Callable[[Mdoc, list[str]], None]] = {
    "Sh": Mdoc.heading, "Ss": Mdoc.heading, "Pp": Mdoc.paragraph, "Lp": Mdoc.paragraph, "Bl": Mdoc.begin_list,
    "El": Mdoc.end_list, "It": Mdoc.item, "Bd": Mdoc.begin_display, "Ed": Mdoc.end_display, "Nd": Mdoc.describe,
    "Dt": Mdoc.title, "Fo": Mdoc.begin_function, "Fc": Mdoc.end_function,
    **dict.fromkeys(("Dd", "Os", "Rs", "Re", "Sm", "Bk", "Ek", "Rv", "Ex"), Mdoc.nothing),
}  # fmt: skip
