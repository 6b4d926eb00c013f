"""Telephone, My Number, card and account numbers: exact forms, numbering plans, check digits.

All functions take `line`, text in `number_form` (where ー is -), and the range of one run of digits in it; they yield
ranges of `line`.
Sources: Japan's numbering plan (総務省, 電気通信番号計画); the check digit of My Number (平成26年総務省令第85号,
article 5); cards: ISO/IEC 7812-1 (Luhn) and the networks' published ranges.
"""

import re
from collections.abc import Iterator

# Area codes of five digits (総務省, 市外局番の一覧); all shorter ones follow a pattern.
_FIVE_TEXT = """
    01267 01372 01374 01377 01392 01397 01398 01456 01457 01466 01547 01558 01564 01586 01587 01632 01634 01635 01648
    01654 01655 01656 01658 04992 04994 04996 04998 05769 05979 07468 08387 08388 08396 08477 08512 08514 09802 09912
    09913 09969
"""
_FIVE = frozenset(_FIVE_TEXT.split())
_PHONE = re.compile(
    r"(?<!\d)(?:\+81[- ]?(?:\(0\)|0)?[- ]?(?P<i1>\d{1,4})[- ]?(?P<i2>\d{1,4})[- ]?(?P<i3>\d{4})"
    r"|\((?P<b1>0\d{1,4})\)[- ]?(?P<b2>\d{1,4})[- ]?(?P<b3>\d{3,4})"
    r"|(?P<p1>0\d{1,4})\((?P<p2>\d{1,4})\)[- ]?(?P<p3>\d{3,4})"
    r"|(?P<h1>0\d{1,4}) ?- ?(?P<h2>\d{1,4}) ?- ?(?P<h3>\d{3,4})"
    r"|(?P<s1>0\d{1,4}) (?P<s2>\d{1,4}) (?P<s3>\d{3,4})"
    r"|(?P<t1>0\d{1,4})-(?P<t2>\d{6,8})"
    r"|(?P<u1>0\d{9,10}))"
)
_PHONE_CUE = re.compile(
    r"電話(?!〉)|携帯|TEL|Tel|tel|℡|☎|☏|📞|FAX|Fax|fax|ファッ?クス|連絡|問い?合わ?せ|ダイヤル|直通|代表"
    r"|フリ-|かけて|番号は|スマホ|[Pp]hone|[Mm]obile"
)
# A number so announced is no telephone number, no card, no My Number.
_OTHER_NUMBER = re.compile(
    r"(?:(?<=[一-鿿々ァ-ヶせ-])(?<!電話)(?<!携帯)(?<!クス)(?<!ヤル)(?<!絡先)(?<!個人)(?<!カ-ド)(?<!レカ)(?<!ット)(?<!ナン)番号"
    r"|コ-ド|品番|型番|型式|ISBN|ISSN|JAN|EAN|UPC|DOI|doi|シリアル|ロット|S/N|№|No\.?|ID|追跡|伝票|第)"
    r"(?:-?1[03])?[はがをの:「『(#=, 第]*$"
)
# Units and words that make a number no telephone or account number.
_UNITS = re.compile(r"[A-Za-z_%]|-[A-Za-z]|円|個|頁|ペ-ジ|条|項|号(?!室)")
_MY_NUMBER = re.compile(r"(?<!\d)\d{4}(?P<s>[- ]?)\d{4}(?P=s)\d{4}")
_MY_NUMBER_CUE = re.compile(r"マイナ(?!ンバ-〉)|個人番号|[Mm]y ?[Nn]umber")
_CARD = re.compile(r"(?<!\d)(?:\d{4}(?P<s>[- ])\d{4}(?P=s)\d{4}(?P=s)\d{4}|\d{4}(?P<t>[- ])\d{6}(?P=t)\d{4,5}|\d{14,16})")
# Issuer ranges and lengths: Visa, Mastercard, American Express, JCB, Diners Club, Discover, UnionPay.
_ISSUERS = re.compile(
    r"4\d{15}|5[1-5]\d{14}|(?:222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}|3[47]\d{13}|35(?:2[89]|[3-8]\d)\d{12}"
    r"|3(?:0[0-5]|[689]\d)\d{11}|6(?:011|4[4-9]\d|5\d\d)\d{12}|62\d{14}"
)
_ACCOUNT = re.compile(r"(?<!\d)\d{7}")
_ACCOUNT_TYPE = re.compile(
    r"(?:普通|当座|貯蓄)(?:預金|口座)*(?:の?口座)?(?:番号)?[はがの:、,・()「# ]*(?:No\.?|番号)?[: ]*$"
    r"|\((?:普|当)\) ?$|口座番号[はがの:、()「# ]*$"
)
_BANK = re.compile(
    r"銀行|信用金庫|信金|信用組合|信組|農協|農業協同組合|JA|労金|労働金庫|ゆうちょ|支店|本店|営業部|出張所|口座|預金|振込|振り込"
)
_POST_BANK = re.compile(
    r"記号(?:番号)?[はがの:、 ]*(?P<a>1\d{3}0(?:-\d)?[-、, /・]*(?:番号)?[はがの:、 ]*\d{1,7}1)(?!\d)"
    r"|(?:ゆうちょ|郵便貯金|郵貯)[^\d\n]{0,12}(?P<b>1\d{3}0(?:-\d)?[- ]+\d{1,7}1)(?![-\d])"
)


def phones(line: str, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Japanese telephone numbers, domestic and with +81."""
    offset = max(0, begin - 2)
    while match := _PHONE.search(line, offset):
        if match.start() >= end:
            return
        first, last = match.span()
        if last <= end + 1 and _is_phone(line, match):
            yield first, last
            offset = last
        else:
            offset = first + 1


def my_numbers(line: str, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Twelve digits whose check digit is right: grouped by four, or announced as My Number."""
    for match in _MY_NUMBER.finditer(line, begin):
        if match.end() > end:
            return
        digits = re.sub(r"\D", "", match[0])
        is_valid = my_number_check(digits[:11]) == int(digits[11]) and len(set(digits)) > 1
        if not is_valid or not _stands_alone(line, *match.span(), spaced=match["s"] == " "):
            continue
        before = line[max(0, match.start() - 30) : match.start()]
        if _MY_NUMBER_CUE.search(before) or (match["s"] and not _OTHER_NUMBER.search(before)):
            yield match.span()


def cards(line: str, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Card numbers: an issuer's range and length, and the Luhn check."""
    for match in _CARD.finditer(line, begin):
        if match.end() > end:
            return
        digits = re.sub(r"\D", "", match[0])
        is_card = _ISSUERS.fullmatch(digits) and luhn(digits) and _stands_alone(line, *match.span())
        if is_card and not _OTHER_NUMBER.search(line[max(0, match.start() - 20) : match.start()]):
            yield match.span()


def accounts(line: str, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Seven digits after the type of account, with a bank, branch or transfer named before."""
    for match in _ACCOUNT.finditer(line, begin):
        if match.end() > end:
            return
        before = line[max(0, match.start() - 60) : match.start()]
        if _stands_alone(line, *match.span()) and _ACCOUNT_TYPE.search(before) and _BANK.search(before):
            yield match.span()


def post_account(line: str) -> tuple[int, int] | None:
    """The account of the Post Bank, 記号 1xxx0 and 番号 that ends with 1, whose 記号 or bank's name `line` begins with."""
    match = _POST_BANK.match(line)
    return match.span("a" if match["a"] else "b") if match else None


def my_number_check(digits: str) -> int:
    """Check digit of eleven digits of a My Number: 11 - (sum of P_n * Q_n mod 11), 0 where that is 10 or 11."""
    weights = [n + 1 if n <= 6 else n - 5 for n in range(11, 0, -1)]  # n counts from the last of the eleven
    rest = sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=True)) % 11
    return 0 if rest <= 1 else 11 - rest


def luhn(digits: str) -> bool:
    """Whether the last digit is the Luhn check digit (ISO/IEC 7812-1, annex B)."""
    doubled = (2 * int(digit) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(value // 10 + value % 10 for value in doubled)) % 10 == 0


def _is_phone(line: str, match: re.Match[str]) -> bool:
    form = next(name for name, group in match.groupdict().items() if group)[0]
    groups = [group for name, group in match.groupdict().items() if name[0] == form]
    first, last = match.span()
    before = line[max(0, first - 20) : first]
    if not _stands_alone(line, first, last, spaced=form == "s") or (form != "i" and _OTHER_NUMBER.search(before)):
        return False
    if form == "i":
        groups[0] = "0" + groups[0]
    number, sizes = "".join(groups), tuple(map(len, groups))
    splits = [split for split in _splits(number) if _sizes_fit(number, split)]
    if form == "i" and match[0][1:].isdigit():
        return bool(splits)
    if form == "t":
        return any(split[0] == sizes[0] for split in splits)
    if form == "u":
        is_mobile = re.match(r"0[5789]0[1-9]", number) and len(number) == 11
        return bool(is_mobile) or (bool(splits) and bool(_PHONE_CUE.search(before)))
    return _sizes_fit(number, sizes)


def _splits(number: str) -> list[tuple[int, ...]]:
    """Ways to write a number in three groups."""
    if len(number) == 11:
        return [(3, 4, 4), (4, 3, 4)]
    return [(2, 4, 4), (3, 3, 4), (4, 2, 4), (5, 1, 4), (4, 3, 3)]


def _sizes_fit(number: str, sizes: tuple[int, ...]) -> bool:
    """Whether a number with its leading 0 is written in the groups of its kind."""
    if re.match(r"0[5789]0", number) and len(number) == 11 and sizes == (3, 4, 4):
        return True
    if number.startswith("0800"):
        return len(number) == 11 and sizes == (4, 3, 4)
    if number[:4] in ("0120", "0570", "0180", "0990"):
        return len(number) == 10 and sizes in ((4, 3, 3), (4, 2, 4))
    if len(number) != 10 or len(sizes) != 3 or sizes[2] != 4:
        return False
    area = number[: sizes[0]]
    if sizes[0] + sizes[1] != 6 or number[1] == "0":
        return False
    return {2: area in ("03", "04", "06"), 3: area[2:] not in ("", "0"), 4: area[2:3] != "0", 5: area in _FIVE}[sizes[0]]


def _stands_alone(line: str, begin: int, end: int, *, spaced: bool = False) -> bool:
    """Whether a number is not a part of a longer number, a decimal, a word or a chain of numbers."""
    before, after = line[max(0, begin - 5) : begin], line[end : end + 3]
    if re.search(r"\d[-.,/:_+(]? ?$" if spaced else r"\d[-.,/:_+(]?$", before):
        return False
    if re.search(r"[A-Za-z_$¥=&%]-?$", before) and not re.search(r"(?:[Tt][Ee][Ll]|[Ff][Aa][Xx]|one|ile|h|m)$", before):
        return False
    return not re.match(r"[-.,/:_]?\d| \d" if spaced else r"[-.,/:_]?\d", after) and not _UNITS.match(after)
