"""Personal data in Japanese text: found exactly, masked by stable placeholders.

One compiled pass finds where digits, @ or 〒 stand (`corpus.pii.scan`); only there are forms and check digits looked at.
A text without them costs that pass and a search for a few words.
"""

import bisect
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from corpus.pii import addresses, numbers
from corpus.pii.scan import Marks, ascii_form, number_form, scan

KINDS = ("email", "phone", "address", "my_number", "card", "bank")
# No digit, @ or 〒 is in them, so they are never found again.
PLACEHOLDERS = {
    "email": "〈メールアドレス〉",
    "phone": "〈電話〉",
    "address": "〈所番地〉",
    "my_number": "〈マイナンバー〉",
    "card": "〈カード〉",
    "bank": "〈口座〉",
}
# Where two overlap, the longer and surer form goes first.
_PRIORITY = ("address", "card", "my_number", "bank", "email", "phone")
# Characters before and after digits that decide what they are.
_BEFORE, _AFTER = 64, 8


@dataclass(frozen=True)
class MaskSettings:
    """`[corpus.mask]`: kinds of personal data to mask; none: switched off."""

    kinds: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown or len(set(self.kinds)) != len(self.kinds):
            raise ValueError(f"kinds = {list(self.kinds)}: expected each at most once, of {list(KINDS)}")


class Personal(NamedTuple):
    """One piece of personal data; offsets in code points, no line end within."""

    kind: str
    begin: int
    end: int


def find(text: str, kinds: tuple[str, ...] = KINDS) -> list[Personal]:
    """Personal data of a text in order, without overlaps."""
    marks = scan(text)
    matches = [*_numbers(text, marks, kinds), *_places(text, marks, kinds)]
    matches.sort(key=lambda one: (_PRIORITY.index(one.kind), one.begin))
    chosen: list[Personal] = []  # by begin
    for one in matches:
        index = bisect.bisect(chosen, one.begin, key=lambda other: other.begin)
        if (not index or chosen[index - 1].end <= one.begin) and (index == len(chosen) or one.end <= chosen[index].begin):
            chosen.insert(index, one)
    return chosen


def mask(text: str, kinds: tuple[str, ...] = KINDS) -> tuple[str, Counter[str]]:
    """The text with a placeholder for each piece of personal data, and how many of each kind; masked again, it stays.

    Until nothing is found: next to a placeholder may stand what only then is a number of its own.
    """
    counts: Counter[str] = Counter()
    while result := find(text, kinds):
        parts, offset = [], 0
        for kind, begin, end in result:
            parts += [text[offset:begin], PLACEHOLDERS[kind]]
            offset = end
            counts[kind] += 1
        text = "".join([*parts, text[offset:]])
    return text, counts


def _numbers(text: str, marks: Marks, kinds: tuple[str, ...]) -> Iterator[Personal]:
    finders = {
        "phone": numbers.phones,
        "my_number": numbers.my_numbers,
        "card": numbers.cards,
        "bank": numbers.accounts,
    }
    asked = [(kind, finder) for kind, finder in finders.items() if kind in kinds]
    for begin, end in marks.numbers if asked else ():
        start = max(text.rfind("\n", max(0, begin - _BEFORE), begin) + 1, begin - _BEFORE)
        line = number_form(text[start : end + _AFTER].split("\n", 1)[0])
        for kind, finder in asked:
            for first, last in finder(line, begin - start, end - start):
                yield Personal(kind, start + first, start + last)
    for offset in marks.banks if "bank" in kinds else ():
        if span := numbers.post_account(number_form(text[offset : offset + _BEFORE])):
            yield Personal("bank", offset + span[0], offset + span[1])


def _places(text: str, marks: Marks, kinds: tuple[str, ...]) -> Iterator[Personal]:
    for offset in marks.ats if "email" in kinds else ():
        start = max(0, offset - 96)
        if span := addresses.email(ascii_form(text[start : offset + 288]), offset - start):
            yield Personal("email", start + span[0], start + span[1])
    if "address" not in kinds:
        return
    for offset in marks.postals:
        for first, last in addresses.postal(number_form(text[offset : offset + 256]), 0):
            yield Personal("address", offset + first, offset + last)
    for offset in marks.addresses:
        if span := addresses.announced(number_form(text[offset : offset + 128])):
            yield Personal("address", offset + span[0], offset + span[1])
