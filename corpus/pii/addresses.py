"""E-mail addresses, postal codes and addresses.

Sources: RFC 5321 and 1035 (lengths, labels), IANA's root zone (top-level domains); 日本郵便 (postal codes: 〒, seven
digits); 地方自治法 (the 47 prefectures); how addresses are written: 住居表示に関する法律 (丁目, 番, 号).
"""

import re
from collections.abc import Iterator

_LOCAL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._%+\-]{0,63})$")
_AT = re.compile(r"@|\s?[\[(<{（［【〈《]\s?(?:@|at|At|AT|アット(?:マーク)?|a)\s?[\])>}）］】〉》]\s?")
_DOT = r"(?:\.|\s?[\[(（［]\s?(?:dot|DOT|ドット)\s?[\])）］]\s?)"
_DOMAIN = re.compile(rf"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{{0,61}}[A-Za-z0-9])?{_DOT})+(?P<top>[A-Za-z]{{2,24}})(?![A-Za-z0-9@_-])")
# Country codes, and of the others those in common use; without a list, `getty@tty1.service` would be an address.
_TOPS_TEXT = """
    ac ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bm bn bo br bs bt bv bw by bz ca cc cd
    cf cg ch ci ck cl cm cn co cr cu cv cw cx cy cz de dj dk dm do dz ec ee eg er es et eu fi fj fk fm fo fr ga gb gd ge
    gf gg gh gi gl gm gn gp gq gr gs gt gu gw gy hk hm hn hr ht hu id ie il im in io iq ir is it je jm jo jp ke kg kh ki
    km kn kp kr kw ky kz la lb lc li lk lr ls lt lu lv ly ma mc md me mg mh mk ml mm mn mo mp mq mr ms mt mu mv mw mx my
    mz na nc ne nf ng ni nl no np nr nu nz om pa pe pf pg ph pk pl pm pn pr ps pt pw py qa re ro rs ru rw sa sb sc sd se
    sg sh si sj sk sl sm sn so sr ss st su sv sx sy sz tc td tf tg th tj tk tl tm tn to tr tt tv tw tz ua ug uk us uy uz
    va vc ve vg vi vn vu wf ws ye yt za zm zw com net org edu gov mil int info biz name pro museum aero coop jobs mobi
    travel tel asia cat post app dev tokyo osaka nagoya kyoto yokohama okinawa ryukyu online site xyz club shop store tech
    blog work works email cloud link live me world life space website design company group studio agency media news top
    win fun example test invalid
"""
_TOPS = frozenset(_TOPS_TEXT.split())
_PREFECTURE = (
    "東京都|北海道|京都府|大阪府|(?:青森|岩手|宮城|秋田|山形|福島|茨城|栃木|群馬|埼玉|千葉|神奈川|新潟|富山|石川|福井|山梨|長野|岐阜|静岡|愛知|三重|滋賀|兵庫|奈良"
    "|和歌山|鳥取|島根|岡山|広島|山口|徳島|香川|愛媛|高知|福岡|佐賀|長崎|熊本|大分|宮崎|鹿児島|沖縄)県"
)
_NAME = "[ぁ-んァ-ヶー一-鿿々〆-]"  # ー is written - in number_form
_NUMBER = "(?:[0-9]{1,5}|[〇一二三四五六七八九十百]{1,5})"
_TOWN = f"(?:(?!番地|丁目){_NAME}){{0,16}}?"
_MUNICIPALITY = f"(?:{_NAME}{{1,8}}?[市区町村郡]){{1,3}}?"
_BLOCK = (
    f"(?:{_NUMBER} ?丁目 ?{_NUMBER} ?(?:番地?|-|の) ?(?:の ?)?{_NUMBER}(?:号|(?:-{_NUMBER}){{1,2}})?"
    f"|{_NUMBER} ?丁目 ?{_NUMBER}(?:番地?)?|{_NUMBER}丁目"
    f"|[0-9]{{1,5}}(?:-[0-9]{{1,5}}){{1,4}}(?:号)?"
    f"|{_NUMBER} ?番地(?: ?の ?{_NUMBER})?(?: ?{_NUMBER}号)?|{_NUMBER} ?番 ?{_NUMBER} ?号)"
)
_BUILDING = (
    r"(?: ?[^\s\d、。,()「」〈〉]{1,15}?(?:ビル(?:ディング)?|マンション|ハイツ|コ-ポ|荘|アパ-ト|メゾン"
    r"|レジデンス|タワ-|ハイム|団地|寮|会館|プラザ|ヴィラ|パレス"
    r"|コ-ト|ハウス)(?:[A-Z0-9]{1,2}棟)? ?(?:[A-Z]?-?[0-9]{1,4}(?:号室|号|F|階|室)?)?|(?: |の)?[0-9]{1,4}(?:号室|F|階))?"
)
_FULL = f"(?:{_PREFECTURE})? ?{_MUNICIPALITY} ?{_TOWN} ?{_BLOCK}{_BUILDING}"
_POSTAL_CODE = r"〒 ?\d{3}[- ]?\d{4}(?![\d-])"
_TO_TOWN = rf"(?:{_PREFECTURE}) ?{_MUNICIPALITY}(?:[一-鿿々ァ-ヶ]{{1,10}}?(?=[\s、。,()「」]|$))?"
_AFTER_POSTAL = re.compile(rf"{_POSTAL_CODE}(?:[ ,、:]{{0,2}}(?:{_FULL}|{_TO_TOWN}))?")
_NEXT_LINE = re.compile(rf"[ :]*\n *({_FULL})")
_ADDRESS_CUE = re.compile(
    r"(?:住所|所在地|届け先|届先|送付先|送り先|居住地|自宅|本籍地?|勤務先)[はがのを]?[ :、「(\n]{0,4}"
    rf"((?:{_PREFECTURE}) ?{_MUNICIPALITY} ?{_TOWN} ?{_BLOCK}{_BUILDING})"
)
_REACH = 120  # characters of the longest address


def email(text: str, at: int) -> tuple[int, int] | None:
    """The e-mail address whose @, or bracket with a written-out "at", is at `at`; `text` in `ascii_form`."""
    sign = _AT.match(text, at - 1 if at and text[at - 1] in " \u3000" else at) or _AT.match(text, at)
    if not sign:
        return None
    before = text[max(0, sign.start() - 80) : sign.start()]
    local, domain = _LOCAL.search(before), _DOMAIN.match(text[sign.end() : sign.end() + 256])
    if not local or not domain or domain["top"].lower() not in _TOPS:
        return None
    end = sign.end() + domain.end()
    is_remote_path = re.match(r":[A-Za-z~/]", text[end : end + 2])  # git@example.com:group/project
    if is_remote_path or re.search(r"://\S*$|[A-Za-z0-9]/$", before[: local.start()]):
        return None
    return sign.start() - len(before) + local.start(), end


def postal(line: str, at: int) -> Iterator[tuple[int, int]]:
    """The postal code whose 〒 is at `at`, with the address after it, on the same line or on the next one."""
    match = _AFTER_POSTAL.match(line, at, at + _REACH)
    if not match:
        return
    yield match.span()
    if below := _NEXT_LINE.match(line, match.end(), match.end() + _REACH):
        yield below.span(1)


def announced(line: str) -> tuple[int, int] | None:
    """The address down to the number, from the prefecture on, after the word such as 住所 that `line` begins with."""
    match = _ADDRESS_CUE.match(line)
    return match.span(1) if match else None
