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
_DANGER = re.compile(rf"<(?=[@!#])|(?<![\w.])@(?=(?:{'|'.join(CALLS)})(?!\w))", re.IGNORECASE)
# The end of a piece that may become one of the above with the next piece.
_OPEN_END = re.compile(r"<$|(?<![\w.])@\w{0,8}$")


def typed(text: str, bot_user: str) -> str:
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
        self._held = ""

    def feed(self, piece: str) -> str:
        """Text that is safe to send now; an end that may become a mention is held back."""
        text = self._held + piece
        open_end = _OPEN_END.search(text)
        cut = open_end.start() if open_end else len(text)
        self._held = text[cut:]
        return defuse(text[:cut], text[cut:])

    def end(self) -> str:
        """What was held back."""
        text, self._held = self._held, ""
        return defuse(text)


def defuse(text: str, following: str = "") -> str:
    """`text` with every mention of people and channels made plain; `following` is what comes after it."""
    ends = len(text)

    def plain(match: re.Match[str]) -> str:
        return DEFUSED_BRACKET if match[0] == "<" else DEFUSED_AT

    whole = text + following
    parts, last = [], 0
    for match in _DANGER.finditer(whole):
        if match.start() >= ends:
            break
        parts += [whole[last : match.start()], plain(match)]
        last = match.end()
    return "".join([*parts, whole[last:ends]])


def cut(text: str, most_bytes: int) -> tuple[str, str]:
    """The longest beginning of at most `most_bytes` UTF-8 bytes, and the rest.

    Cuts after a paragraph, line, sentence or word where one ends in the second half.
    """
    data = text.encode()
    if len(data) <= most_bytes:
        return text, ""
    head = data[:most_bytes].decode(errors="ignore")
    for end in CUTS:
        at = head.rfind(end)
        if at > len(head) // 2:
            at += len(end)
            return text[:at], text[at:]
    return head, text[len(head) :]
