"""What a preset may do to the text of a document that passed: each cleaner only takes characters away, and never twice.

They are LLM-jp v1's (llm-jp-corpus scripts/filters.py) with two repairs: lines stay lines, where theirs run sentences of
different lines together, and what a first pass lays open goes with it, so that cleaning clean text changes nothing.
"""

import functools
import re
from collections.abc import Callable

# Scripts.txt of Unicode as regex 2026.11.15 has it, Hiragana and Katakana, and ー (Common), which LLM-jp adds.
_KANA = (
    "\u3041-\u3096\u309d-\u309f\U0001b001-\U0001b11f\U0001b132\U0001b150-\U0001b152\U0001f200"
    "\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u32d0-\u32fe\u3300-\u3357\uff66-\uff6f\uff71-\uff9d"
    "\U0001aff0-\U0001aff3\U0001aff5-\U0001affb\U0001affd-\U0001affe\U0001b000\U0001b120-\U0001b128\U0001b155\U0001b164-\U0001b168"
)
# LLM-jp's \w takes Japanese that follows an address without a space along; kept, for the preset is to do what theirs does.
_URL = r"https?://[\w/:%#\$&\?\(\)~\.=\+\-]+"
_ASCII_RUN = r"[\x00-\x7f]{100,}"
_FOOTNOTE_SECTIONS = (
    "脚注", "関連項目", "日本国内の関連項目", "出典", "出典・脚注", "参照", "外部リンク", "参考文献", "その他関連事項",
    "Footnotes", "See also", "Further reading", "Bibliography", "References", "Notes", "Citations", "Sources", "External links",
)  # fmt: skip
_CLOSED_BY = {"）": "（", ")": "("}
# What may be between brackets, beside spaces that end no line.
_FILLING = {"（": ",，、;；", "(": ",;"}


def japanese_lines(text: str) -> str:
    """Lines with kana only, without addresses and without runs of 100 or more ASCII characters; paragraphs stay apart."""
    lines: list[str] = []
    for line in text.split("\n"):
        kept = _japanese_line(line)
        if kept:
            lines.append(kept)
        elif not line.strip() and lines and lines[-1]:
            lines.append("")
    return "\n".join(lines).rstrip("\n")


def wikipedia_footnotes(text: str) -> str:
    """The text up to the first line that is the heading of a section of notes, references or links."""
    match = _patterns()["footnotes"].search(text)
    return text[: match.start()] if match else text


def empty_parentheses(text: str) -> str:
    """No brackets that hold nothing but spaces, commas and semicolons, and none of these beside a bracket's inner side.

    In one pass with a stack, so that brackets around empty brackets go too and deep nesting costs no more than length.
    """
    brackets = _patterns()["brackets"]
    out: list[str] = []
    for piece in brackets.split(text):
        if piece in _CLOSED_BY:
            _close(out, piece)
        elif piece in _FILLING:
            out.append(piece)
        elif kept := piece[_filled(piece, _FILLING[out[-1]]) if out and out[-1] in _FILLING else 0 :]:
            out.append(kept)
    return "".join(out)


def _close(out: list[str], bracket: str) -> None:
    """Add a closing bracket, or take its opening one away where nothing is between them."""
    opening = _CLOSED_BY[bracket]
    while out and out[-1] not in _FILLING and out[-1] not in _CLOSED_BY:
        last = out.pop()
        kept = last[: len(last) - _filled(last[::-1], _FILLING[opening])]
        if kept:
            out.append(kept)
            break
    if not out or out[-1] != opening:
        out.append(bracket)
        return
    out.pop()
    if bracket == ")" and out and out[-1][-1].isspace() and out[-1][-1] != "\n":  # "word (): …" keeps no space
        last = out.pop()[:-1]
        if last:
            out.append(last)


def _filled(text: str, marks: str) -> int:
    """How many characters at the start of `text` are spaces within a line or `marks`."""
    return next((i for i, mark in enumerate(text) if mark == "\n" or not (mark.isspace() or mark in marks)), len(text))


def _japanese_line(line: str) -> str:
    """What stays of one line, "" for nothing; one pass is enough, for what follows an address or a run is not a part of one."""
    patterns = _patterns()
    if not patterns["kana"].search(line):
        return ""
    line = patterns["ascii"].sub("", patterns["url"].sub("", line))
    return line if patterns["kana"].search(line) else ""


@functools.cache
def _patterns() -> dict[str, re.Pattern[str]]:
    patterns = {"kana": f"[{_KANA}]", "url": _URL, "ascii": _ASCII_RUN, "brackets": r"([（）()])"}
    patterns["footnotes"] = rf"\n(?:{'|'.join(_FOOTNOTE_SECTIONS)})\s*(?:\n|\Z)"
    return {name: re.compile(pattern) for name, pattern in patterns.items()}


# By the names that presets use.
CLEANERS: dict[str, Callable[[str], str]] = {
    "japanese_lines": japanese_lines,
    "wikipedia_footnotes": wikipedia_footnotes,
    "empty_parentheses": empty_parentheses,
}


def clean(text: str, names: tuple[str, ...]) -> str:
    """The text after the named cleaners, in this order."""
    for name in names:
        text = CLEANERS[name](text)
    return text
