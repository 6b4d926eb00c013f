"""What Slack refuses in blocks, with its own error codes. Source: https://docs.slack.dev/reference/block-kit."""

from typing import Any


class SlackError(Exception):
    """An answer with `ok: false`."""

    def __init__(self, code: str, **extra: Any) -> None:
        super().__init__(code)
        self.code, self.extra = code, extra


Faults = list[str]
MAX_BLOCKS, MARKDOWN_CHARACTERS = 50, 12_000
TEXT_STYLES = {"bold", "italic", "strike", "code"}


def validate(blocks: Any) -> list[dict[str, Any]]:
    """The blocks, if Slack would take them.

    Raises: SlackError invalid_blocks with Slack's JSON pointers.
    """
    if not isinstance(blocks, list):
        raise SlackError("invalid_blocks_format")
    faults: Faults = []
    if len(blocks) > MAX_BLOCKS:
        faults.append("no more than 50 items allowed [json-pointer:/blocks]")
    for number, block in enumerate(blocks):
        check = CHECKS.get(block.get("type"))
        where = f"/blocks/{number}"
        if check is None:
            faults.append(f"unsupported type: {block.get('type')} [json-pointer:{where}/type]")
        else:
            check(block, where, faults)
    names = [b["block_id"] for b in blocks if b.get("block_id")]
    if len(names) != len(set(names)):
        faults.append("`block_id` already exists")
    if sum(len(b["text"]) for b in blocks if b.get("type") == "markdown") > MARKDOWN_CHARACTERS:
        faults.append("markdown blocks over 12000 characters in all")
    if faults:
        raise SlackError("invalid_blocks", errors=faults, response_metadata={"messages": [f"[ERROR] {f}" for f in faults]})
    return blocks


def _length(value: Any, low: int, high: int, where: str, faults: Faults) -> None:
    if not isinstance(value, str) or not low <= len(value) <= high:
        faults.append(f"must be {low}..{high} characters [json-pointer:{where}]")


def _section(block: dict[str, Any], where: str, faults: Faults) -> None:
    if not block.get("text") and not block.get("fields"):
        faults.append(f"missing required field: text [json-pointer:{where}]")
    elif block.get("text"):
        _length(block["text"].get("text"), 1, 3_000, f"{where}/text/text", faults)


def _header(block: dict[str, Any], where: str, faults: Faults) -> None:
    if block["text"].get("type") != "plain_text":
        faults.append(f"must be plain_text [json-pointer:{where}/text/type]")
    _length(block["text"].get("text"), 1, 150, f"{where}/text/text", faults)


def _context(block: dict[str, Any], where: str, faults: Faults) -> None:
    if not 1 <= len(block["elements"]) <= 10:
        faults.append(f"1..10 items [json-pointer:{where}/elements]")
    for number, element in enumerate(block["elements"]):
        if element.get("type") not in ("plain_text", "mrkdwn", "image"):
            faults.append(f"unsupported type [json-pointer:{where}/elements/{number}]")
        elif element["type"] != "image":
            _length(element.get("text"), 1, 2_000, f"{where}/elements/{number}/text", faults)


def _actions(block: dict[str, Any], where: str, faults: Faults) -> None:
    if not 1 <= len(block["elements"]) <= 25:
        faults.append(f"1..25 items [json-pointer:{where}/elements]")
    names = [e.get("action_id") for e in block["elements"]]
    if len(names) != len(set(names)):
        faults.append(f"`action_id` already exists [json-pointer:{where}/elements]")
    for number, element in enumerate(block["elements"]):
        spot = f"{where}/elements/{number}"
        _length(element["text"].get("text"), 1, 75, f"{spot}/text/text", faults)
        _length(element.get("value", ""), 0, 2_000, f"{spot}/value", faults)
        _length(element.get("action_id", ""), 1, 255, f"{spot}/action_id", faults)


def _rich_text(block: dict[str, Any], where: str, faults: Faults) -> None:
    for number, part in enumerate(block["elements"]):
        spot = f"{where}/elements/{number}"
        if part.get("type") not in ("rich_text_section", "rich_text_quote", "rich_text_preformatted", "rich_text_list"):
            faults.append(f"unsupported type [json-pointer:{spot}/type]")
            continue
        if not part["elements"]:
            faults.append(f"no elements [json-pointer:{spot}/elements]")
        for element in part["elements"]:
            if element.get("type") == "text":
                _length(element.get("text"), 1, 40_000, f"{spot}/elements", faults)
            elif element.get("type") == "link":
                _length(element.get("url"), 1, 3_000, f"{spot}/elements/url", faults)
            else:
                faults.append(f"unsupported type {element.get('type')} [json-pointer:{spot}/elements]")
            if not element.get("style", {}).keys() <= TEXT_STYLES:
                faults.append(f"unsupported style [json-pointer:{spot}/elements]")


def _anything(block: dict[str, Any], where: str, faults: Faults) -> None:
    """Blocks without rules that our tests could break."""


CHECKS = {
    "section": _section,
    "header": _header,
    "context": _context,
    "actions": _actions,
    "rich_text": _rich_text,
    "markdown": _anything,
    "divider": _anything,
}
