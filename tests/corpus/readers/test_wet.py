"""WET and Zstandard archives, and records that lie about their length."""

import gzip
from pathlib import Path

import pyarrow as pa
import pytest

from corpus.readers.warc_members import frame_end
from tests.corpus.readers.test_readers import documents, read, reasons, source
from tests.corpus.readers.test_warc import page, record


def zstd(data: bytes) -> bytes:
    return pa.compress(data, codec="zstd", asbytes=True)


def conversion(number: int, text: bytes, languages: str = "jpn", length: object = None) -> bytes:
    fields = {
        "WARC-Type": "conversion",
        "WARC-Target-URI": f"https://example.jp/{number}",
        "WARC-Date": "2024-05-18T01:58:10Z",
        "WARC-Record-ID": f"<urn:uuid:00000000-0000-4000-8000-{number:012}>",
        **({"WARC-Identified-Content-Language": languages} if languages else {}),
        "Content-Type": "text/plain",
        **({"Content-Length": str(len(text) if length is None else length)} if length != "absent" else {}),
    }
    return b"WARC/1.0\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields.items()).encode() + b"\r\n" + text + b"\r\n\r\n"


PACK = {".wet": bytes, ".wet.gz": gzip.compress, ".wet.zst": zstd}


@pytest.mark.parametrize("ending", PACK)
def test_wet(tmp_path: Path, ending: str) -> None:
    records = [
        record(0, b"x: y", kind="warcinfo"), conversion(1, "本文。\n二行目。".encode()), conversion(2, b"English", "eng"),
        conversion(3, "混在".encode(), "eng,jpn"), conversion(4, "不明".encode(), ""), conversion(5, b"\xff\xfe"),
    ]  # fmt: skip
    (tmp_path / f"a{ending}").write_bytes(b"".join(PACK[ending](r) for r in records))
    items = read(source("wet", tmp_path, languages=["jpn"]))
    assert [(d.url, d.text, d.kind, d.date) for d in documents(items)] == [
        (f"https://example.jp/{number}", text, "text", "2024-05-18T01:58:10Z")
        for number, text in ((1, "本文。\n二行目。"), (3, "混在"), (4, "不明"))
    ]
    assert reasons(items) == [("https://example.jp/2", "other_language"), ("https://example.jp/5", "undecodable")]
    assert len(documents(read(source("wet", tmp_path)))) == 4


@pytest.mark.parametrize("ending", PACK)
@pytest.mark.parametrize("length", [5, 10_000, -3, 1 << 63, 10**40, "absent", "x"])
def test_a_record_that_lies_about_its_length_is_a_counted_drop(tmp_path: Path, ending: str, length: object) -> None:
    text = "正直でない本文。".encode()
    records = [conversion(1, b"first"), conversion(2, text, length=length), conversion(3, b"last")]
    (tmp_path / f"a{ending}").write_bytes(b"".join(PACK[ending](r) for r in records))
    items = read(source("wet", tmp_path))
    assert [d.text for d in documents(items)] == ["first", "last"]
    assert [url for url, _ in reasons(items)] == ["https://example.jp/2"]
    assert {reason for _, reason in reasons(items)} <= {"damaged_record", "truncated_record"}


def test_zstd_frames_and_their_damage(tmp_path: Path) -> None:
    frames = [zstd(record(i, page(i))) for i in range(4)]
    for frame in frames:
        assert frame_end(frame + b"more", 0) == len(frame)
        assert frame_end(frame[:-1], 0) == 0
    path = tmp_path / "a.warc.zst"
    path.write_bytes(b"".join(frames))
    assert [d.raw for d in documents(read(source("warc", path)))] == [page(i) for i in range(4)]
    path.write_bytes(frames[0] + b"\x00" * 30 + frames[1][30:] + frames[2] + frames[3][:-9])
    items = read(source("warc", path))
    assert [d.raw for d in documents(items)] == [page(0), page(2)]
    assert [reason for _, reason in reasons(items)] == ["damaged_record", "truncated_record"]


def test_bombs_are_drops_wherever_they_stand(tmp_path: Path) -> None:
    bomb = record(0, bytes(40 << 20))
    for name, pack in (("a.warc.gz", gzip.compress), ("b.warc.zst", zstd)):
        (tmp_path / name).write_bytes(pack(bomb) + pack(record(1, page(1))) + pack(bomb))
        items = read(source("warc", tmp_path / name, max_document_bytes=1 << 20))
        assert [d.raw for d in documents(items)] == [page(1)]
        assert [reason for _, reason in reasons(items)] == ["too_large", "too_large"]


def test_a_remote_archive(tmp_path: Path) -> None:
    import fsspec

    fsspec.filesystem("memory").pipe(f"{tmp_path}/a.warc.gz", gzip.compress(record(1, page(1))))
    assert [d.raw for d in documents(read(source("warc", path=f"memory:/{tmp_path}/a.warc.gz")))] == [page(1)]
