"""A small mixed corpus whose every verdict is known: made pages in four charsets, copies, other languages, garbage."""

import gzip
import random
import zlib
from pathlib import Path

CHARSETS = ("utf-8", "cp932", "euc_jp", "iso2022_jp")
WHO = ["技術者", "利用者", "管理者", "先生", "学生", "彼女", "友人", "研究者", "開発者", "編集者", "作家", "職人"]
WHERE = ["図書館", "研究室", "会議室", "駅前", "公園", "教室", "工場", "港町", "山小屋", "事務所", "広場", "台所"]
WHAT = ["新しい辞書", "古い地図", "長い手紙", "大きな機械", "小さな箱", "美しい絵", "難しい本", "便利な道具", "珍しい石"]
HOW = ["静かに", "急いで", "丁寧に", "何度も", "少しずつ", "ゆっくりと", "楽しそうに", "真剣に", "黙って", "慎重に"]
DID = ["調べました", "直しました", "探しています", "作りました", "読みました", "運びます", "見つけました", "並べています"]
ENGLISH = "All human beings are born free and equal in dignity and rights. They are endowed with reason and conscience."
CHINESE = "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。"


def prose(rng: random.Random, sentences: int) -> list[str]:
    """Sentences no two pages share by more than chance."""
    return [
        f"{rng.choice(WHO)}は{rng.choice(WHERE)}で{rng.choice(WHAT)}を{rng.choice(HOW)}{rng.choice(DID)}。"
        for _ in range(sentences)
    ]


def html(sentences: list[str], *, charset: str = "utf-8", title: str = "日誌", lang: str = "ja") -> bytes:
    """A page with a head, a menu and paragraphs."""
    body = "".join(f"<p>{''.join(sentences[i : i + 4])}</p>\n" for i in range(0, len(sentences), 4))
    menu = "<nav><ul><li><a href='/'>top</a></li><li><a href='/map'>map</a></li></ul></nav>"
    head = f'<html lang="{lang}"><head><meta charset="{charset}"><title>{title}</title></head>'
    return f"<!DOCTYPE html>{head}<body>{menu}<main><h1>{title}</h1>{body}</main></body></html>".encode(charset)


def make_pages(folder: Path, *, originals: int = 12, seed: int = 0) -> dict[str, str]:
    """Write the pages.

    Returns: file name -> the rule that must drop it, "" where it must stay, "copy" where one of its family must.
    """
    rng, expected = random.Random(seed), {}
    folder.mkdir(parents=True)

    def put(name: str, raw: bytes, verdict: str) -> None:
        (folder / name).write_bytes(raw)
        expected[name] = verdict

    for number in range(originals):
        sentences = prose(rng, 40)
        charset = CHARSETS[number % len(CHARSETS)]
        put(f"{number:03}.html", html(sentences, charset=charset, title=f"日誌{number}"), "copy" if number % 4 == 0 else "")
        if number % 4 == 0:
            put(f"{number:03}-copy.html", html(sentences, charset="euc_jp", title=f"日誌{number}"), "copy")
            put(f"{number:03}-near.html", html([*sentences[:-1], *prose(rng, 1)], title=f"日誌{number}"), "copy")
    put("english.html", html([ENGLISH] * 8, lang="en", title="Rights"), "foreign_page")
    put("chinese.html", html([CHINESE] * 8, lang="zh", title="人权"), "foreign_page")
    put("short.html", html(["この頁はまだ短いので、ここで終わります。", "続きは明日書きます。"]), "length")
    put("empty.html", b"<html><body></body></html>", "no_text")
    put("garbage.html", b"\xff\xfe\x00\xd8\x00\xd8" + bytes(rng.choices(range(128, 256), k=600)), "undecodable")
    return expected


def warc_record(url: str, raw: bytes, charset: str = "") -> bytes:
    """One response as a gzip member, as crawlers write it."""
    kind = "text/html" + (f"; charset={charset}" if charset else "")
    http = b"HTTP/1.1 200 OK\r\nContent-Type: " + kind.encode() + f"\r\nContent-Length: {len(raw)}\r\n\r\n".encode() + raw
    head = (
        f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {url}\r\nWARC-Date: 2024-01-01T00:00:00Z\r\n"
        f"WARC-Record-ID: <urn:uuid:00000000-0000-0000-0000-{zlib.crc32(url.encode()):012}>\r\n"
        f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(http)}\r\n\r\n"
    )
    return gzip.compress(head.encode() + http + b"\r\n\r\n", mtime=0)
