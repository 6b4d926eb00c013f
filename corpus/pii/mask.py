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
    found = [*_numbers(text, marks, kinds), *_places(text, marks, kinds)]
    found.sort(key=lambda one: (_PRIORITY.index(one.kind), one.begin))
    chosen: list[Personal] = []  # by begin
    for one in found:
        at = bisect.bisect(chosen, one.begin, key=lambda other: other.begin)
        if (not at or chosen[at - 1].end <= one.begin) and (at == len(chosen) or one.end <= chosen[at].begin):
            chosen.insert(at, one)
    return chosen


def mask(text: str, kinds: tuple[str, ...] = KINDS) -> tuple[str, Counter[str]]:
    """The text with a placeholder for each piece of personal data, and how many of each kind; masked again, it stays.

    Until nothing is found: next to a placeholder may stand what only then is a number of its own.
    """
    counts: Counter[str] = Counter()
    while found := find(text, kinds):
        parts, at = [], 0
        for kind, begin, end in found:
            parts += [text[at:begin], PLACEHOLDERS[kind]]
            at = end
            counts[kind] += 1
        text = "".join([*parts, text[at:]])
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
    for at in marks.banks if "bank" in kinds else ():
        if span := numbers.post_account(number_form(text[at : at + _BEFORE])):
            yield Personal("bank", at + span[0], at + span[1])


def _places(text: str, marks: Marks, kinds: tuple[str, ...]) -> Iterator[Personal]:
    for at in marks.ats if "email" in kinds else ():
        start = max(0, at - 96)
        if span := addresses.email(ascii_form(text[start : at + 288]), at - start):
            yield Personal("email", start + span[0], start + span[1])
    if "address" not in kinds:
        return
    for at in marks.postals:
        for first, last in addresses.postal(number_form(text[at : at + 256]), 0):
            yield Personal("address", at + first, at + last)
    for at in marks.addresses:
        if span := addresses.announced(number_form(text[at : at + 128])):
            yield Personal("address", at + span[0], at + span[1])
