"""Raw Aozora Bunko text to plain text; the notation: https://www.aozora.gr.jp/annotation/ ."""

import re

_RULE = re.compile(r"^-{20,}$", re.MULTILINE)  # frames the explanation of symbols after title and author
_HEADER_LINES = 60  # the explanation of symbols ends before; a rule further down belongs to the work
_COLOPHON = re.compile(r"^底本：", re.MULTILINE)
_RUBY = re.compile(r"《[^《》\n]*》")
# A character outside JIS X 0208 stands as ※ and a note that names its place in JIS X 0213 (plane-row-cell) or Unicode.
_GAIJI = re.compile(r"※［＃([^［］]*(?:［[^［］]*］[^［］]*)*)］")
_NOTE = re.compile(r"［＃[^［］]*(?:［[^［］]*］[^［］]*)*］")
_PLACE = re.compile(r"(?<![\d-])([12])-(\d{1,2})-(\d{1,2})(?![\d-])")
_UNICODE = re.compile(r"U\+([0-9A-Fa-f]{4,6})")
_TITLE_LINES = 6  # title, title in the original language, subtitle, its translation, author, translator
_HELPERS = ("訳", "編", "校訂", "編訳", "校注")
GETA = "〓"  # the printers' sign for a character that is not at hand


def clean_aozora(text: str) -> str:
    """Remove title lines, explanation of symbols, ruby, notes and colophon; put characters where notes describe them."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _without_colophon(_without_header(text))
    text = _GAIJI.sub(lambda note: gaiji(note[1]), text)
    text = _NOTE.sub("", text)
    text = _RUBY.sub("", text).replace("｜", "")
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n")


def header_of(text: str) -> str:
    """Title and author of a raw Aozora text, "こころ／夏目漱石": its first line and the last before the first blank one.

    The lines between are subtitles and titles in the original language; translators and editors follow the author.
    """
    lines = [line.strip("\u3000 ") for line in text.partition("\n\n")[0].lstrip("\ufeff\n").split("\n")]
    if len(lines) > _TITLE_LINES:
        return ""
    people = [line for line in lines[1:] if not line.endswith(_HELPERS)]
    return "／".join([lines[0], *people[-1:]])


def gaiji(note: str) -> str:
    """The character that a note describes, or 〓."""
    if match := _PLACE.search(note):
        plane, row, cell = (int(number) for number in match.groups())
        if 1 <= row <= 94 and 1 <= cell <= 94:
            code = bytes((row + 0xA0, cell + 0xA0))
            try:
                return (code if plane == 1 else b"\x8f" + code).decode("euc_jis_2004")
            except UnicodeDecodeError:
                return GETA
    if match := _UNICODE.search(note):
        number = int(match[1], 16)
        return chr(number) if number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF else GETA
    return GETA


def _without_header(text: str) -> str:
    """Title and author end at the first blank line; the explanation of symbols, if any, at the second rule."""
    head = "\n".join(text.split("\n", _HEADER_LINES)[:_HEADER_LINES])
    rules = list(_RULE.finditer(head))
    if len(rules) >= 2:
        return text[rules[1].end() :]
    title, blank, rest = text.partition("\n\n")
    return rest if blank and title.count("\n") < _TITLE_LINES else text


def _without_colophon(text: str) -> str:
    result = list(_COLOPHON.finditer(text))
    return text[: result[-1].start()] if result else text
