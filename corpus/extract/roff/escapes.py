"""Escape sequences of roff (groff(7), groff_char(7)) as plain characters."""

import re
from collections.abc import Mapping

# groff_char(7): two-letter names that occur in manual pages; longer ones are looked up the same way.
CHARACTERS = {
    "aq": "'", "dq": '"', "oq": "‘", "cq": "’", "lq": "“", "rq": "”", "Bq": "„", "Fo": "«", "Fc": "»", "fo": "‹", "fc": "›",
    "em": "—", "en": "–", "hy": "-", "mi": "−", "pl": "+", "+-": "±", "mu": "×", "di": "÷", "eq": "=", "!=": "≠", "==": "≡",
    "<=": "≤", ">=": "≥", "->": "→", "<-": "←", "ua": "↑", "da": "↓", "<>": "↔", "rA": "⇒", "lA": "⇐", "if": "∞", "~~": "≈",
    "bu": "•", "ci": "○", "sq": "□", "dg": "†", "dd": "‡", "de": "°", "co": "©", "rg": "®", "tm": "™", "sc": "§", "ps": "¶",
    "rs": "\\", "sl": "/", "ba": "|", "br": "|", "or": "|", "bv": "|", "ha": "^", "ti": "~", "ga": "`", "aa": "´", "ul": "_",
    "la": "⟨", "ra": "⟩", "lB": "[", "rB": "]", "lC": "{", "rC": "}", "at": "@", "sh": "#", "Do": "$", "ct": "¢", "Po": "£",
    "Ye": "¥", "Eu": "€", "Cs": "¤", "fm": "′", "sd": "″", "12": "½", "14": "¼", "34": "¾", "S1": "¹", "S2": "²", "S3": "³",
    "**": "∗", "pd": "∂", "no": "¬", "tno": "¬", "AN": "∧", "OR": "∨", "fa": "∀", "te": "∃", "mo": "∈", "sr": "√", "gr": "∇",
    "OK": "✓", "lh": "☜", "rh": "☞", "ss": "ß", "ae": "æ", "AE": "Æ", "oe": "œ", "OE": "Œ", "/o": "ø", "/O": "Ø", "oa": "å",
    "oA": "Å", "ts": "ς", "*p": "π", "*m": "μ", "*a": "α", "*b": "β", "*g": "γ", "*d": "δ", "*e": "ε", "*l": "λ", "*s": "σ",
    "*w": "ω", "*W": "Ω", "*D": "Δ", "*S": "Σ", "*G": "Γ", "lf": "⌊", "rf": "⌋", "lc": "⌈", "rc": "⌉", "CR": "↵", "u": "µ",
}  # fmt: skip
_ACCENTS = {":": "\u0308", "'": "\u0301", "`": "\u0300", "^": "\u0302", "~": "\u0303", ",": "\u0327"}
# man(7), mdoc(7) and roff give these strings their values; a page may define more with .ds.
STRINGS = {
    "lq": "“", "rq": "”", "Lq": "“", "Rq": "”", "R": "®", "Tm": "™", "S": "", "Aq": "'", "q": '"', "C`": '"', "C'": '"',
    'L"': '"', 'R"': '"', "--": "—", "PI": "π", "Gt": ">", "Lt": "<", "Le": "≤", "Ge": "≥", "Ne": "≠", "Pm": "±", "Am": "&",
    "Ba": "|", "Na": "NaN", "If": "∞", ".T": "utf8", "Ua": "↑", "aa": "´", "ga": "`",
}  # fmt: skip
_SINGLE = {
    "e": "\\", "\\": "\\", "-": "-", "'": "'", "`": "`", " ": " ", "~": " ", "0": " ", "t": "\t", ".": ".", "_": "_", "E": "\\",
}  # fmt: skip
# The three spellings of a name after \*, \f, \n, …: one character, (two characters, [any number].
_NAME = r"(?:\[(?P<{0}_long>[^\]]*)\]|\((?P<{0}_two>..)|(?P<{0}_one>[^\[(]))"
_ESCAPE = re.compile(
    r"\\(?:"
    r'(?P<comment>["#].*)'
    rf"|\*{_NAME.format('string')}"
    r"|(?:\[(?P<long>[^\]]*)\]|\((?P<two>..))"
    r"|[fFmMgkVY](?:\[[^\]]*\]|\(..|.)"
    r"|n[-+]?(?:\[[^\]]*\]|\(..|.)"
    r"|s(?:\[[^\]]*\]|'[^']*'|[-+]?\([0-9]{2}|[-+]?[0-9]|\([-+]?[0-9]{2})"
    r"|N'(?P<number>[0-9]+)'"
    r"|[hvwDlLxXSHRAbBZ](?P<quote>['\"|])(?P<dropped>.*?)(?P=quote)"
    r"|o'(?P<over>.)[^']*'"
    r"|z(?P<zero>.)"
    r"|\$(?:[*@0-9]|\[[^\]]*\]|\(..)"
    r"|(?P<single>.)"
    r"|$)"
)  # fmt: skip
_DEPTH = 8  # strings defined by strings; a page that nests deeper defines itself by itself


def unescape(text: str, strings: Mapping[str, str] = STRINGS, depth: int = 0) -> str:
    """Plain text of one line: fonts, motions and sizes go, characters and strings are put in."""

    def plain(found: re.Match[str]) -> str:
        name = found["string_long"] or found["string_two"] or found["string_one"]
        if name is not None:
            return unescape(strings.get(name, ""), strings, depth + 1) if depth < _DEPTH else ""
        name = found["long"] or found["two"]
        if name is not None:
            return character(name)
        if found["number"]:
            return chr(min(int(found["number"]), 0x10FFFF))
        return found["over"] or found["zero"] or _SINGLE.get(found["single"] or "", "")

    return _ESCAPE.sub(plain, text)


def character(name: str) -> str:
    """The character that \\(xx or \\[name] stands for, "" for one that is unknown."""
    if name in CHARACTERS:
        return CHARACTERS[name]
    if re.fullmatch(r"u[0-9A-F]{4,6}(_[0-9A-F]{4,6})*", name):
        numbers = [int(part, 16) for part in name[1:].split("_")]
        return "".join(chr(number) for number in numbers if number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF)
    if len(name) == 2 and name[0] in _ACCENTS and name[1].isalpha():
        return name[1] + _ACCENTS[name[0]]
    return ""
