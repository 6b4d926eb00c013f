"""WARC files made by hand, damaged on purpose: what is whole comes out, what is damaged is counted, nothing raises."""

import gzip
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.readers import DroppedRecord, RawDocument, SourceSettings, plan_shards, read_shard
from pipeline.errors import BadInput

HTML = "Content-Type: text/html; charset=utf-8"


def record(
    number: int, body: bytes, *http: str, status: str = "200 OK", kind: str = "response", length: int | None = None
) -> bytes:
    head = "\r\n".join([f"HTTP/1.1 {status}", *(http or (HTML,))]).encode() + b"\r\n\r\n"
    fields = {
        "WARC-Type": kind,
        "WARC-Record-ID": f"<urn:uuid:00000000-0000-4000-8000-{number:012}>",
        "WARC-Target-URI": f"https://example.jp/{number}",
        "WARC-Date": f"2024-01-{number % 28 + 1:02}T00:00:00Z",
        "Content-Type": "application/http; msgtype=response",
        "Content-Length": str(len(head) + len(body) if length is None else length),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"WARC/1.0\r\n{lines}\r\n".encode() + head + body + b"\r\n\r\n"


def page(number: int) -> bytes:
    """A body that deflate cannot shrink to nothing, so that damage has somewhere to fall."""
    rng = random.Random(number)
    return f"<p>{number}番目のページ {''.join(rng.choices('あいうえおかきくけこ', k=300))}</p>".encode()


def read(path: Path, limit: int = 32 << 20) -> tuple[list[RawDocument], list[DroppedRecord]]:
    source = SourceSettings("w", "warc", "test", "test", path=str(path), max_document_bytes=limit)
    out = [item for shard in plan_shards(source) for item in read_shard(shard)]
    return [x for x in out if isinstance(x, RawDocument)], [x for x in out if isinstance(x, DroppedRecord)]


def write(path: Path, records: list[bytes], *, compress: bool = True) -> list[int]:
    """Write records, a gzip member each. Returns: where each begins, and the file's end."""
    pieces = [gzip.compress(r, mtime=0) if compress else r for r in records]
    path.write_bytes(b"".join(pieces))
    return [sum(map(len, pieces[:i])) for i in range(len(pieces) + 1)]


@pytest.mark.parametrize("compress", [True, False])
def test_reads_html_answers_and_names_the_others(tmp_path: Path, compress: bool) -> None:
    path = tmp_path / ("a.warc.gz" if compress else "a.warc")
    write(path, [
        record(0, b"software: test", kind="warcinfo"),
        record(1, page(1)),
        record(2, b"gone", status="404 Not Found"),
        record(3, b"\x89PNG", "Content-Type: image/png"),
        record(4, page(4), "Content-Type: application/xhtml+xml; charset='Shift_JIS'; x=y"),
        record(5, page(5), kind="request"),
    ], compress=compress)  # fmt: skip
    documents, drops = read(path)
    assert [(d.url, d.raw, d.declared, d.date) for d in documents] == [
        ("https://example.jp/1", page(1), "utf-8", "2024-01-02T00:00:00Z"),
        ("https://example.jp/4", page(4), "Shift_JIS", "2024-01-05T00:00:00Z"),
    ]
    assert [(d.url, d.reason, d.damaged) for d in drops] == [
        ("https://example.jp/2", "http_status", False),
        ("https://example.jp/3", "content_type", False),
    ]


def test_http_codings_are_undone_unless_the_crawler_did(tmp_path: Path) -> None:
    coded = gzip.compress(page(1), mtime=0)
    chunked = b"%x\r\n" % len(page(2)) + page(2) + b"\r\n0\r\n\r\n"
    write(tmp_path / "a.warc.gz", [
        record(1, coded, HTML, "Content-Encoding: gzip"),
        record(2, chunked, HTML, "Transfer-Encoding: chunked"),
        record(3, page(3), HTML, "Content-Encoding: gzip"),
        record(4, page(4), HTML, "Transfer-Encoding: chunked"),
    ])  # fmt: skip
    documents, drops = read(tmp_path / "a.warc.gz")
    assert [d.raw for d in documents] == [page(1), page(2), page(3), page(4)]
    assert not drops


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_damage_costs_only_the_damaged_records(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Overwrite bytes inside some members: every other record still comes out, and every hole is counted.

    Neighbours may be one drop: where both beginnings are destroyed, nothing says how many records there were.
    """
    path = tmp_path_factory.mktemp("damage") / "a.warc.gz"
    starts = write(path, [record(i, page(i)) for i in range(8)])
    hurt = data.draw(st.sets(st.integers(0, 7), min_size=1, max_size=4))
    content = bytearray(path.read_bytes())
    for number in hurt:
        begin, end = starts[number], starts[number + 1]
        # Behind the ten header bytes, before the checksum: the header decides where a member is found again.
        at = data.draw(st.integers(begin + 12, end - 40))
        content[at : at + 24] = bytes(byte ^ 0x55 for byte in content[at : at + 24])
    path.write_bytes(content)
    documents, drops = read(path)
    assert {d.raw for d in documents} == {page(i) for i in range(8) if i not in hurt}
    holes = sum(1 for number in hurt if number - 1 not in hurt)
    assert holes <= len(drops) <= len(hurt)
    assert all(d.damaged for d in drops)


def test_a_destroyed_member_header_loses_only_that_member(tmp_path: Path) -> None:
    path = tmp_path / "a.warc.gz"
    starts = write(path, [record(i, page(i)) for i in range(4)])
    content = bytearray(path.read_bytes())
    content[starts[1] : starts[1] + 20] = bytes(20)
    path.write_bytes(content)
    documents, drops = read(path)
    assert [d.raw for d in documents] == [page(0), page(2), page(3)]
    assert [d.reason for d in drops] == ["damaged_record"]


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("lost", [1, 30, 200])
def test_a_cut_end_loses_the_last_record(tmp_path: Path, compress: bool, lost: int) -> None:
    path = tmp_path / "a.warc"
    write(path, [record(i, page(i)) for i in range(3)], compress=compress)
    path.write_bytes(path.read_bytes()[:-lost])
    documents, drops = read(path)
    assert [d.raw for d in documents] == [page(0), page(1)]
    assert [(d.reason, d.url) for d in drops] == [("truncated_record", "https://example.jp/2")]


def test_a_record_shorter_than_it_says_is_truncated(tmp_path: Path) -> None:
    write(tmp_path / "a.warc.gz", [record(0, page(0)), record(1, page(1), length=99_999), record(2, page(2))])
    documents, drops = read(tmp_path / "a.warc.gz")
    assert [d.raw for d in documents] == [page(0), page(2)]
    assert [d.reason for d in drops] == ["truncated_record"]


def test_damage_in_an_uncompressed_file(tmp_path: Path) -> None:
    path = tmp_path / "a.warc"
    starts = write(path, [record(i, page(i)) for i in range(4)], compress=False)
    content = path.read_bytes()
    path.write_bytes(content[: starts[1] + 500] + content[starts[1] + 560 :])  # record 1 is 60 bytes shorter than it says
    documents, drops = read(path)
    assert [d.raw for d in documents] == [page(0), page(2), page(3)]
    assert [d.reason for d in drops] == ["damaged_record"]


def test_oversized_records_are_drops_and_uncut_files_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.warc.gz", [record(0, page(0)), record(1, b"x" * 50_000), record(2, page(2))])
    documents, drops = read(tmp_path / "a.warc.gz", 20_000)
    assert [d.raw for d in documents] == [page(0), page(2)]
    assert [d.reason for d in drops] == ["too_large"]
    (tmp_path / "whole.warc.gz").write_bytes(gzip.compress(b"".join(record(i, page(i)) for i in range(40))))
    with pytest.raises(BadInput, match="warcio recompress"):
        read(tmp_path / "whole.warc.gz", 20_000)


def test_files_that_are_no_warc(tmp_path: Path) -> None:
    for content in (b"", b"hello", bytes(5000), gzip.compress(b"not a record")):
        (tmp_path / "a.warc.gz").write_bytes(content)
        documents, drops = read(tmp_path / "a.warc.gz")
        assert not documents
        assert [drop.damaged for drop in drops] == [True]


@pytest.mark.sample
def test_the_damaged_crawl(sample_data: Path) -> None:
    """Known: the first part of the whole crawl, one member destroyed, the end cut off inside another."""
    whole, _ = read(sample_data / "web-ja.warc.gz")
    documents, drops = read(sample_data / "web-ja-damaged.warc.gz")
    damaged = [d for d in drops if d.damaged]
    assert [d.reason for d in damaged] == ["damaged_record", "truncated_record"]
    assert {d.raw for d in documents} < {d.raw for d in whole}
    lost = {d.url for d in damaged}
    assert [d.url for d in documents] == [d.url for d in whole[: len(documents) + 1] if d.url not in lost]
