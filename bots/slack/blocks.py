"""Search results as Slack blocks, and the もっと見る button that pages through them.

Passages are in `rich_text` blocks: bold is a style there, not a mark in the text, so nothing in a passage can be taken
for markup or a mention, and bold works beside Japanese punctuation, where neither `*…*` nor `**…**` does.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bots.terminal import excerpt
from pipeline.text.terminal import CONTROL_CHARS
from search.hits import MODE_NAMES, MODES, Hit, Mode, Page

MORE = "more_results"  # action_id
TITLE = "学習データで似ているところ"
# Slack's limits for a button's value and a link [docs: Block Kit].
VALUE_CHARACTERS, URL_CHARACTERS = 2_000, 3_000
PASSAGE_CHARACTERS, TITLE_CHARACTERS = 400, 120

Block = dict[str, Any]


@dataclass(frozen=True)
class More:
    """What a もっと見る button asks for: the next page of one search."""

    query: str
    mode: Mode
    offset: int

    def value(self) -> str:
        """As the button carries it."""
        return json.dumps({"q": self.query, "m": self.mode, "o": self.offset}, ensure_ascii=False)

    @classmethod
    def read(cls, value: str) -> "More":
        """From a button's value.

        Raises: ValueError if it is none of ours.
        """
        try:
            body = json.loads(value)
            query, mode, offset = body["q"], body["m"], body["o"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"button value {value[:80]!r}: not a search") from error
        if not isinstance(query, str) or mode not in MODES or type(offset) is not int or offset < 0:
            raise ValueError(f"button value {value[:80]!r}: not a search")
        return cls(query, mode, offset)


def truncate_query(query: str) -> str:
    """The beginning of a query that a button can carry; the first page searches with it too, so that pages agree."""
    while len(More(query, "vector", 1_000_000_000).value()) > VALUE_CHARACTERS:
        query = query[: len(query) * 9 // 10]
    return query


def results(query: str, pages: Sequence[tuple[Mode, Page, int]]) -> list[Block]:
    """One page of each search.

    Args: pages: (mode, page, offset of its first hit).
    """
    blocks: list[Block] = [{"type": "header", "text": {"type": "plain_text", "text": TITLE}}]
    buttons = []
    for mode, page, offset in pages:
        if not page.hits:
            blocks.append(_note(f"検索: {MODE_NAMES[mode]} | 見つかりませんでした"))
        for hit in page.hits:
            blocks += [_note(_heading(hit)), _passage(hit)]
        shown = offset + len(page.hits)
        if page.hits and shown < page.total:
            text = f"もっと見る（{MODE_NAMES[mode]} {shown}/{page.total}）"
            value = More(query, mode, shown).value()
            label = {"type": "plain_text", "text": text}
            buttons.append({"type": "button", "action_id": f"{MORE}:{mode}", "text": label, "value": value})
    if buttons:
        blocks.append({"type": "actions", "elements": buttons})
    return blocks


def without_button(blocks: Sequence[Block], value: str) -> list[Block]:
    """A posted message's blocks without the button that was pressed."""
    kept = []
    for block in blocks:
        if block.get("type") == "actions":
            elements = [e for e in block["elements"] if e.get("value") != value]
            if not elements:
                continue
            kept.append({**block, "elements": elements})
        else:
            kept.append(block)
    return kept


def _heading(hit: Hit) -> str:
    title = hit.title if len(hit.title) <= TITLE_CHARACTERS else hit.title[:TITLE_CHARACTERS] + "…"
    return CONTROL_CHARS.sub("", f"{hit.label()}\n{title}" if title else hit.label())


def _note(text: str) -> Block:
    return {"type": "context", "elements": [{"type": "plain_text", "text": text}]}


def _passage(hit: Hit) -> Block:
    text, spans = excerpt(hit.text, hit.spans, PASSAGE_CHARACTERS)
    elements: list[Block] = []
    last = 0
    for begin, end in spans:
        elements += [_text(text[last:begin]), _text(text[begin:end], bold=True)]
        last = end
    elements.append(_text(text[last:]))
    elements = [e for e in elements if e["text"]] or [_text("…")]  # Slack takes no empty text
    if hit.url.startswith(("https://", "http://")) and len(hit.url) <= URL_CHARACTERS:
        elements += [_text("\n"), {"type": "link", "url": hit.url}]
    return {"type": "rich_text", "elements": [{"type": "rich_text_quote", "elements": elements}]}


def _text(text: str, *, bold: bool = False) -> Block:
    element: Block = {"type": "text", "text": CONTROL_CHARS.sub("", text)}
    return element | {"style": {"bold": True}} if bold else element
