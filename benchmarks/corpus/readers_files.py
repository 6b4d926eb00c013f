"""Files for `benchmarks.corpus.readers`: every format that a reader reads, made of the development data, once and repeated."""

import bz2
import gzip
import json
import re
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

WORKS_MB = 8  # of works of Aozora Bunko in CP932: about as much text as the articles
PAGES_A_STREAM = 100  # of a multistream dump of Wikimedia
ROWS_A_GROUP = 250
FILES = {
    "WARC.gz": "crawl.warc.gz",
    "WET.gz": "crawl.warc.wet.gz",
    "JSONL": "rows.jsonl",
    "JSONL.gz": "rows.jsonl.gz",
    "JSONL.zst": "rows.jsonl.zst",
    "Parquet": "rows.parquet",
    "Wikipedia.bz2": "jawiki-pages-articles-multistream.xml.bz2",
    "Aozora (CP932)": "aozora",
}
FRAME = 8  # bytes of a text's number in a digest


@dataclass(frozen=True)
class Row:
    """A document that files are made of."""

    title: str
    url: str
    text: str


def rows_of(data: Path) -> list[Row]:
    """Wikipedia's articles, 10 MB of text in all."""
    with gzip.open(data / "wikipedia-ja.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [Row(row["title"], row["url"], row["text"]) for row in map(json.loads, file)]
    return [row for row in rows if row.text.strip()]


def wikitext_of(row: Row) -> str:
    """The article in wikitext: an infobox, bold, links, references, a gallery and categories around what it says."""
    box = f"{{{{基礎情報|名称={row.title}|画像=[[File:a.jpg|thumb|図]]|説明={{{{lang|en|x}}}}}}}}\n"
    note = f"<ref name=a>{{{{Cite web|title={row.title}|url=https://example.jp/}}}}</ref>"
    text = re.sub(r"[ァ-ヴー]{3,}", lambda name: f"[[{name[0]} (曖昧さ回避)|{name[0]}]]", row.text)
    return f"{box}{text}{note}\n\n== 脚注 ==\n<references />\n[[Category:{row.title}]]\n"


def build(data: Path, folders: dict[int, Path]) -> dict[int, dict[str, tuple[int, str]]]:
    """Write every case's files.

    Args:
        folders: how many times the data is repeated -> where to.
    Returns: the same key -> case -> documents that went in and the digest of their texts, "" where unknown.
    """
    rows = rows_of(data)
    lines = "".join(json.dumps(vars(row), ensure_ascii=False) + "\n" for row in rows).encode()
    first, streams, last = _dump(rows)
    repeated = {  # before, what is repeated, after
        "WARC.gz": (b"", (data / "web-ja.warc.gz").read_bytes(), b""),
        "WET.gz": (b"", b"".join(gzip.compress(_conversion(row), 6) for row in rows), b""),
        "JSONL": (b"", lines, b""),
        "JSONL.gz": (b"", gzip.compress(lines, 6), b""),
        "JSONL.zst": (b"", _zstd(lines), b""),
        "Wikipedia.bz2": (first, streams, last),
    }
    works = _works(data)
    went_in: dict[int, dict[str, tuple[int, str]]] = {}
    for times, folder in folders.items():
        folder.mkdir()
        for name, (before, content, behind) in repeated.items():
            (folder / FILES[name]).write_bytes(before + content * times + behind)
        _parquet(folder / FILES["Parquet"], rows, times)
        texts, found = [row.text for row in rows] * times, _put_works(works, folder / FILES["Aozora (CP932)"], times)
        same = len(texts), digest(texts)
        went_in[times] = {
            "WARC.gz": (_html_answers(data) * times, ""),  # its pages: those of fastwarc alone
            "WET.gz": same, "JSONL": same, "JSONL.gz": same, "JSONL.zst": same, "Parquet": same,
            "Wikipedia.bz2": (len(rows) * times, ""),  # its texts: articles_come_back
            "Aozora (CP932)": (len(found), digest(found)),
        }  # fmt: skip
    return went_in


def _html_answers(data: Path) -> int:
    """Answers in the crawl that are pages, by the labels made with it: one a line."""
    return len((data / "web-ja.labels.jsonl").read_text(encoding="utf-8").splitlines())


def _conversion(row: Row) -> bytes:
    body = row.text.encode()
    head = f"WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Target-URI: {row.url}\r\nWARC-Date: 2024-01-01T00:00:00Z\r\n"
    head += f"WARC-Record-ID: <urn:uuid:0>\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body + b"\r\n\r\n"


def _zstd(content: bytes) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as file:
        file.write(content)
    return sink.getvalue().to_pybytes()


def _parquet(path: Path, rows: list[Row], times: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist([vars(row) for row in rows])
    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        for _ in range(times):
            writer.write_table(table, row_group_size=ROWS_A_GROUP)


def _dump(articles: list[Row]) -> tuple[bytes, bytes, bytes]:
    """The first stream of a multistream dump, those of its pages, and the last."""
    pages = [
        f"<page><title>{escape(row.title)}</title><ns>0</ns><id>{number}</id><revision><id>1</id>"
        f'<timestamp>2024-01-01T00:00:00Z</timestamp><text xml:space="preserve">{escape(wikitext_of(row))}</text>'
        "</revision></page>\n"
        for number, row in enumerate(articles, 1)
    ]
    cuts = range(0, len(pages), PAGES_A_STREAM)
    streams = [bz2.compress("".join(pages[at : at + PAGES_A_STREAM]).encode()) for at in cuts]
    head = '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/"><siteinfo><sitename>w</sitename></siteinfo>\n'
    return bz2.compress(head.encode()), b"".join(streams), bz2.compress(b"</mediawiki>\n")


def _works(data: Path) -> list[str]:
    """Raw works of Aozora Bunko that CP932 can say."""
    import pyarrow.parquet as pq

    works, size = [], 0
    for text in pq.read_table(data / "aozora.parquet", columns=["text"])["text"].to_pylist():
        try:
            size += len(text.encode("cp932"))
        except UnicodeEncodeError:
            continue
        if size > WORKS_MB * 1e6:
            break
        works.append(text)
    return works


def _put_works(works: list[str], folder: Path, times: int) -> list[str]:
    """A work a file in CP932, with Windows' line ends, as Aozora Bunko gives them. Returns: cleaned texts in name order."""
    from corpus.extract.aozora import clean_aozora

    folder.mkdir()
    for number, text in enumerate(works):
        for again in range(times):
            (folder / f"{again}-{number:05d}.txt").write_bytes(text.replace("\n", "\r\n").encode("cp932"))
    cleaned = [clean_aozora(text) for text in works]
    assert all("《" not in text and "［＃" not in text for text in cleaned)
    return cleaned * times


def digest(texts: list[str]) -> str:
    import xxhash

    made = xxhash.xxh3_128()
    for text in texts:
        made.update(framed(text))
    return made.hexdigest()


def framed(text: str | bytes) -> bytes:
    """A text's bytes preceded by their number, so that texts cannot run into one another."""
    raw = text.encode() if isinstance(text, str) else text
    return len(raw).to_bytes(FRAME, "little") + raw
