"""Text between Slack and the model: what people typed, what the model may say, and how long a message may be."""

import re

# Ends at which a long answer may be cut into two messages, best first.
CUTS = ("\n\n", "\n", "。", "、", " ")
# Words that call a whole channel when they follow an at sign; a zero-width space between the two defuses them.
CALLS = ("channel", "here", "everyone")
DEFUSED_AT = "@\u200b"
# `<@U…>`, `<!here>`, `<#C…>` are Slack's control sequences: with another bracket they are only text.
DEFUSED_BRACKET = "\u2039"

_ENTITY = re.compile(r"<(?P<kind>[@#!]?)(?P<body>[^<>|]*)(?:\|(?P<label>[^<>]*))?>")
_DANGER = re.compile(rf"<(?=[@!#])|(?<![\w.])@(?=(?:{'|'.join(CALLS)})(?!\w))", re.IGNORECASE | re.ASCII)
# The end of a piece that may become one of the above with the next piece.
_OPEN_END = re.compile(r"<$|(?<![\w.])@\w{0,8}$", re.ASCII)


def message_text(text: str, bot_user: str) -> str:
    """What a person typed, from the text of an event.

    The mention of the bot is taken out, links and mentions become what people see, `&lt;` becomes `<` again.
    Source: https://docs.slack.dev/messaging/formatting-message-text
    """

    def seen(match: re.Match[str]) -> str:
        kind, body, label = match["kind"], match["body"], match["label"]
        if kind == "@":
            return "" if body == bot_user else f"@{label or body}"
        if kind == "#":
            return f"#{label or body}"
        if kind == "!":
            return label or f"@{body}"
        return label or body

    text = _ENTITY.sub(seen, text)
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").strip()


class Defuser:
    """Makes a streamed answer unable to call anybody, also where a mention is split over pieces."""

    def __init__(self) -> None:
        self._before, self._held = "", ""  # the last character that was let go, and what is held back

    def feed(self, piece: str) -> str:
        """Text that is safe to send now; an end that may become a mention is held back."""
        text = self._before + self._held + piece
        begin = len(self._before)
        open_end = _OPEN_END.search(text, begin)
        end = open_end.start() if open_end else len(text)
        if end > begin:
            self._before = text[end - 1]
        self._held = text[end:]
        return defuse(text, begin, end)

    def end(self) -> str:
        """What was held back."""
        text = self._before + self._held
        begin = len(self._before)
        self._held = ""
        return defuse(text, begin, len(text))


def defuse(text: str, begin: int, end: int) -> str:
    """`text[begin:end]` with every mention of people and channels made plain; what stands around it counts."""
    parts, last = [], begin
    for match in _DANGER.finditer(text, begin):
        if match.start() >= end:
            break
        parts += [text[last : match.start()], DEFUSED_BRACKET if match[0] == "<" else DEFUSED_AT]
        last = match.end()
    return "".join([*parts, text[last:end]])


def cut(text: str, most_bytes: int) -> tuple[str, str]:
    """The longest beginning of at most `most_bytes` UTF-8 bytes, and the rest.

    Cuts after a paragraph, line, sentence or word where one ends in the second half.
    """
    data = text.encode()
    if len(data) <= most_bytes:
        return text, ""
    head = data[:most_bytes].decode(errors="ignore")
    for end in CUTS:
        offset = head.rfind(end)
        if offset > len(head) // 2:
            offset += len(end)
            return text[:offset], text[offset:]
    return head, text[len(head) :]
