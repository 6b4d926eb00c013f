"""Personal data: the evaluation file, check digits and marks against other ways to get them, text that stays whole."""

import re
import string
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.corpus.personal import sentences
from corpus.pii import addresses, numbers
from corpus.pii import mask as masking
from corpus.pii.mask import KINDS, PLACEHOLDERS, MaskSettings, find, mask
from corpus.pii.numbers import luhn, my_number_check
from corpus.pii.scan import HYPHENS, SPACES, ascii_form, number_form, scan

PIECES = (
    "090-1234-5678", "０３－１２３４－５６７８", "(03)1234-5678", "+81-90-1234-5678", "0312345678", "電話", "お電話は",
    "taro@example.com", "＠", "a", "[at]", ".jp", "〒100-0001", "東京都千代田区千代田9-9", "住所：", "自宅は", "1丁目2番3号",
    "マイナンバー", "123456789018", "1234-5678-9018", "4111 1111 1111 1111", "3782-822463-10005", "普通", "銀行", "1234567",
    "記号10140 番号12345671", "口座番号", "ISBN", "番号",
    "、", "。", " ", "　", "\n", "-", "ー", "円", "第", "号", "𠮷", "が", "é", "1", "０",
    *PLACEHOLDERS.values(),
)  # fmt: skip
TEXT = st.lists(st.one_of(st.sampled_from(PIECES), st.text(st.characters(exclude_categories=("Cs",)), max_size=4)), max_size=14)


@pytest.mark.parametrize("kind", KINDS)
def test_the_evaluation_file_is_masked_well(kind: str) -> None:
    gold, found = Counter(), Counter()
    for row in sentences():
        spans = {(one.begin, one.end) for one in find(row.text) if one.kind == kind}
        truth = {(begin, end) for k, begin, end in row.spans if k == kind}
        gold["found"] += sum(any(b < end and begin < e for b, e in spans) for begin, end in truth)
        gold["all"] += len(truth)
        found["right"] += sum(any(b < end and begin < e for b, e in truth) for begin, end in spans)
        found["all"] += len(spans)
    assert gold["all"] >= 20
    assert found["right"] / found["all"] >= 0.97, f"precision {found}"
    assert gold["found"] / gold["all"] >= 0.93, f"recall {gold}"


def test_the_evaluation_file_holds_what_it_says() -> None:
    rows = sentences()
    assert len(rows) >= 300 and sum(bool(row.trap) for row in rows) >= 100
    for row in rows:
        assert bool(row.trap) != bool(row.spans)
        for kind, begin, end in row.spans:
            digits = re.sub(r"\D", "", number_form(row.text[begin:end]))
            assert kind != "card" or luhn(digits), row.text
            assert kind != "my_number" or my_number_check(digits[:11]) == int(digits[11]), row.text


def test_sentences_without_personal_data_stay_as_they_are() -> None:
    assert [row.text for row in sentences() if row.trap and mask(row.text)[1]] == []


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("電話０３－１２３４－５６７８（代表）。", "電話〈電話〉（代表）。"),
        ("連絡先は taro＠example.co.jp です", "連絡先は 〈メールアドレス〉 です"),
        ("〒100-0001\n東京都千代田区千代田9番9号\n宛先", "〈所番地〉\n〈所番地〉\n宛先"),
        ("〒100-0001\nあて先", "〈所番地〉\nあて先"),
        ("みなもと銀行本店 普通 1234567 へ", "みなもと銀行本店 普通 〈口座〉 へ"),
        ("個人番号１２３４５６７８９０１８は", "個人番号〈マイナンバー〉は"),
        ("4111-1111-1111-1111", "〈カード〉"),
    ],
)
def test_placeholders_stand_for_the_data_alone(text: str, masked: str) -> None:
    assert mask(text)[0] == masked


@given(TEXT)
@settings(max_examples=500, deadline=None)
def test_masking_again_changes_nothing_and_text_stays_whole(pieces: list[str]) -> None:
    text = "".join(pieces)
    once, counts = mask(text)
    assert mask(once) == (once, Counter())
    assert find(once) == []
    assert once.count("\n") == text.count("\n")  # no sentence joins another line's
    once.encode()
    added = sum(once.count(p) - text.count(p) for p in PLACEHOLDERS.values())
    assert added <= counts.total()  # a placeholder of the text itself may go with an address around it


@given(TEXT, st.sets(st.sampled_from(KINDS)))
@settings(max_examples=300, deadline=None)
def test_findings_are_ordered_apart_and_of_the_kinds_asked_for(pieces: list[str], kinds: set[str]) -> None:
    text = "".join(pieces)
    found = find(text, tuple(kinds))
    assert {one.kind for one in found} <= kinds
    ends = [0]
    for kind, begin, end in found:
        assert ends[-1] <= begin < end <= len(text)
        assert "\n" not in text[begin:end]
        assert kind == "email" or sum(c in string.digits for c in number_form(text[begin:end])) >= 3
        ends.append(end)
    if kinds == set(KINDS):
        assert found == find(text)


@given(st.text(st.sampled_from("0１9 -－ー（)\n。a@＠〒住所記号[t"), max_size=60))
@settings(max_examples=1000, deadline=None)
def test_marks_are_those_of_regular_expressions(text: str) -> None:
    marks = scan(text)
    gap = f"[{re.escape(HYPHENS + SPACES)}()（）]{{0,2}}"
    assert marks.numbers == [m.span() for m in re.finditer(rf"[0-9０-９](?:{gap}[0-9０-９]){{6,}}", text)]
    assert marks.ats == [m.start() for m in re.finditer(r"[@＠]|[\[(（](?=at|a\)|a\])", text)]
    assert marks.postals == [m.start() for m in re.finditer("〒", text)]
    assert marks.addresses == [m.start() for m in re.finditer("住所", text)]
    assert marks.banks == [m.start() for m in re.finditer("記号", text)]


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=60))
def test_forms_change_characters_one_by_one(text: str) -> None:
    assert ascii_form(text) == "".join(chr(ord(c) - 0xFEE0) if "！" <= c <= "～" else c for c in text)
    wide = "".join("-" if c in HYPHENS else " " if c in SPACES else c for c in text)
    assert number_form(text) == ascii_form(wide)


@given(st.text(string.digits, min_size=11, max_size=11))
def test_my_number_check_digit_is_the_ordinance_s(digits: str) -> None:
    # 11 - (P1*2 + P2*3 + … + P6*7 + P7*2 + … + P11*6) mod 11, Pn counted from the right; a remainder of 0 or 1 gives 0
    p = [int(d) for d in digits[::-1]]
    total = (
        p[0] * 2 + p[1] * 3 + p[2] * 4 + p[3] * 5 + p[4] * 6 + p[5] * 7 + p[6] * 2 + p[7] * 3 + p[8] * 4 + p[9] * 5 + p[10] * 6
    )
    assert my_number_check(digits) == (0 if total % 11 in (0, 1) else 11 - total % 11)


def test_luhn() -> None:
    assert luhn("79927398713")  # the example of ISO/IEC 7812-1's annex in common use
    for number in ("4111111111111111", "378282246310005", "30569309025904"):
        assert luhn(number)
        for at in range(len(number)):
            wrong = number[:at] + str((int(number[at]) + 1) % 10) + number[at + 1 :]
            assert not luhn(wrong)  # every single wrong digit is noticed


@dataclass
class Counting:
    """A pattern that adds up the characters that it goes over; its repeats are bounded, so a character takes so many steps."""

    pattern: re.Pattern[str]
    tally: list[int]

    def _noted(self, found: re.Match[str] | None, text: str, begin: int, end: int = sys.maxsize) -> re.Match[str] | None:
        self.tally.append((found.end() if found else min(end, len(text))) - begin)
        return found

    def search(self, text: str, begin: int = 0) -> re.Match[str] | None:
        return self._noted(self.pattern.search(text, begin), text, begin)

    def fullmatch(self, text: str) -> re.Match[str] | None:
        return self._noted(self.pattern.fullmatch(text), text, 0)

    def match(self, text: str, begin: int = 0, end: int = sys.maxsize) -> re.Match[str] | None:
        return self._noted(self.pattern.match(text, begin, end), text, begin, end)

    def finditer(self, text: str, begin: int = 0) -> Iterator[re.Match[str]]:
        while found := self.search(text, begin):
            yield found
            begin = found.end()


@pytest.mark.parametrize("piece", ["a@example.com ", "1 2-3", "090-1234-5678、", "(a@", "〒1", "住所：東京都", "0", "記号1"])
def test_work_grows_with_length_only(piece: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Characters that forms and patterns go over: of twice the text twice as many, but for what the ends cost."""
    tally = list[int]()
    for module in (numbers, addresses):
        for name, value in list(vars(module).items()):
            if isinstance(value, re.Pattern):
                monkeypatch.setattr(module, name, Counting(value, tally))
    for name in ("ascii_form", "number_form"):
        form = getattr(masking, name)
        monkeypatch.setattr(masking, name, lambda text, form=form: (tally.append(len(text)), form(text))[1])

    def work(repeats: int) -> int:
        tally.clear()
        find(piece * repeats)
        return sum(tally)

    ends, once, twice = work(300), work(4000), work(8000)
    assert once > 4000, "nothing was looked at"
    assert twice <= 2 * once + ends


@pytest.mark.parametrize("kinds", [("emails",), ("email", "email")])
def test_settings_refuse_unknown_kinds(kinds: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="expected each at most once"):
        MaskSettings(kinds)


def test_nothing_is_masked_by_default() -> None:
    assert MaskSettings().kinds == ()
    assert mask("090-1234-5678", MaskSettings().kinds) == ("090-1234-5678", Counter())
