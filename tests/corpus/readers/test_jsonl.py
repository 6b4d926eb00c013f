"""JSONL, Parquet, places and lists: ranges, codecs, URLs, and inputs that are too large to be held."""

import bz2
import gzip
import io
import json
import random
import uuid
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.readers import input_digest, plan_shards
from corpus.readers.parquet_pages import pages_of_chunk
from corpus.readers.streams import BrokenStream, bunzip2, chunks, gunzip, lines
from pipeline.errors import ConfigError, MissingInput
from tests.corpus.readers.test_readers import documents, read, reasons, source
from tests.helpers import busy_core


def zstd(data: bytes) -> bytes:
    return pa.compress(data, codec="zstd", asbytes=True)


PACK = {"": bytes, ".gz": gzip.compress, ".zst": zstd, ".bz2": bz2.compress}


@given(st.lists(st.text('あa \\"', max_size=12), max_size=30), st.integers(1, 400), st.booleans())
@settings(max_examples=80, deadline=None)
def test_byte_ranges_make_the_same_documents(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], size: int, ended: bool
) -> None:
    path = tmp_path_factory.mktemp("r") / "a.jsonl"
    content = b"\n".join(json.dumps({"text": text}, ensure_ascii=False).encode() for text in texts)
    path.write_bytes(content + b"\n" * (ended and bool(texts)))
    whole = read(source("jsonl", path))
    assert read(source("jsonl", path, shard_bytes=size)) == whole
    assert len(plan_shards(source("jsonl", path, shard_bytes=size))) == max(1, -(-path.stat().st_size // size))
    assert [d.text for d in documents(whole)] == [text for text in texts if text.strip()]
    for item in whole:
        place = int(item.url.partition("@")[2])
        assert place == 0 or content[place - 1 : place] == b"\n"


@pytest.mark.long
@pytest.mark.parametrize("repeat", range(20))
def test_byte_ranges_beside_a_busy_core(tmp_path_factory: pytest.TempPathFactory, repeat: int) -> None:
    with busy_core():
        test_byte_ranges_make_the_same_documents(tmp_path_factory)


@given(
    st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"x")), max_size=12), st.integers(1, 30), st.integers(0, 30)
)
def test_lines_are_those_of_split(parts: list[bytes], step: int, limit: int) -> None:
    content = b"".join(part + b"\n" for part in parts)
    got = list(lines((content[i : i + step] for i in range(0, len(content), step)), limit))
    assert [line.size for line in got] == [len(part) for part in parts]
    assert [line.data for line in got] == [part if len(part) <= limit else None for part in parts]
    assert all(part.startswith(line.seen) and line.seen for line, part in zip(got, parts, strict=True) if line.data is None)
    assert [content[line.begin : line.begin + line.size] for line in got] == parts


@pytest.mark.parametrize("ending", [".gz", ".zst", ".bz2"])
def test_streams_behind_one_another_are_one_content(tmp_path: Path, ending: str) -> None:
    rows = [json.dumps({"text": f"本文{i}" * 9}) + "\n" for i in range(3000)]
    blocks = ["".join(rows[i : i + 700]).encode()[::1] for i in range(0, 3000, 700)]
    whole = b"".join(blocks)
    cut = [whole[:1000], whole[1000:5001], whole[5001:]]  # frames that end inside a line
    name = tmp_path / f"a.jsonl{ending}"
    name.write_bytes(b"".join(PACK[ending](block) for block in cut))
    items = read(source("jsonl", name))
    assert [d.text for d in documents(items)] == [f"本文{i}" * 9 for i in range(3000)]
    assert documents(items)[4].url == f"a.jsonl{ending}#5"
    name.write_bytes(name.read_bytes()[:-20])
    damaged = read(source("jsonl", name))
    assert reasons(damaged)[-1][1] == "truncated_record"
    assert documents(damaged) == documents(items)[: len(documents(damaged))]


@given(st.binary(max_size=3000), st.integers(0, 40))
def test_gunzip_is_gzip(data: bytes, zeros: int) -> None:
    packed = gzip.compress(data) + bytes(zeros) + gzip.compress(data[::-1])
    assert b"".join(gunzip(io.BytesIO(packed))) == data + data[::-1]
    assert b"".join(bunzip2(io.BytesIO(bz2.compress(data) + bz2.compress(b"x")))) == data + b"x"
    with pytest.raises(BrokenStream):
        b"".join(gunzip(io.BytesIO(gzip.compress(data)[:-1])))
    with pytest.raises(BrokenStream):
        b"".join(gunzip(io.BytesIO(gzip.compress(data) + b"garbage")))


@pytest.mark.parametrize("ending", ["", ".gz", ".zst", ".bz2"])
def test_a_huge_line_is_a_drop_that_is_not_held(tmp_path: Path, ending: str) -> None:
    """32 MiB in one line: no piece is ever larger than 1 MiB, and its neighbours come out."""
    good = [json.dumps({"text": f"行{i}"}).encode() + b"\n" for i in range(2)]
    path = tmp_path / f"a.jsonl{ending}"
    path.write_bytes(PACK[ending](good[0] + b'{"text": "' + b"x" * (32 << 20) + b'"}\n' + good[1]))
    with path.open("rb") as file:
        assert max(map(len, chunks(file, path.name))) <= 1 << 20
    items = read(source("jsonl", path, max_document_bytes=1 << 20, shard_bytes=5 << 20))
    assert [d.text for d in documents(items)] == ["行0", "行1"]
    assert [reason for _, reason in reasons(items)] == ["too_large"]


def test_json_that_nests_too_deep_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"text": ' + b"[" * 200_000 + b"\n" + b'{"text": "x"}\n')
    items = read(source("jsonl", tmp_path))
    assert [reason for _, reason in reasons(items)] == ["damaged_record"]
    assert [d.text for d in documents(items)] == ["x"]


def test_folders_skip_what_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_bytes(b"<p>" + b"x" * 5000)
    (tmp_path / "b.html").write_bytes(b"<p>y")
    (tmp_path / "man1").mkdir()
    (tmp_path / "man1/bomb.1.gz").write_bytes(gzip.compress(bytes(50 << 20)))
    html = read(source("html", tmp_path, max_document_bytes=4096))
    assert [d.raw for d in documents(html)] == [b"<p>y"]
    assert reasons(html) == [("a.html", "too_large")]
    assert reasons(read(source("man", tmp_path, max_document_bytes=1 << 20))) == [("man1/bomb.1.gz", "too_large")]


def test_page_headers_tell_what_arrow_tells(tmp_path: Path) -> None:
    rng = random.Random(1)
    texts = ["".join(rng.choices("あいうえお", k=rng.randrange(400))) for _ in range(9000)]
    for version in ("1.0", "2.0"):
        path = tmp_path / f"{version}.parquet"
        pq.write_table(pa.table({"text": texts}), path, data_page_version=version, data_page_size=1 << 16, use_dictionary=False)
        part = pq.read_metadata(path).row_group(0).column(0)
        with path.open("rb") as file:
            pages = pages_of_chunk(file, part.data_page_offset, part.data_page_offset + part.total_compressed_size)
        assert len(pages) > 5
        assert sum(page.values for page in pages) == 9000
        assert sum(len(text.encode()) for text in texts) < sum(page.size for page in pages) <= part.total_uncompressed_size


def test_a_row_group_with_a_huge_cell_is_dropped_row_by_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corpus.readers.parquet.MAX_PAGE_BYTES", 8 << 20)
    rows = [f"行{i}" for i in range(6)]
    rows[2] = "大" * (3 << 20)
    pq.write_table(pa.table({"text": rows}), tmp_path / "a.parquet", row_group_size=2)
    items = read(source("parquet", tmp_path))
    assert [d.text for d in documents(items)] == ["行0", "行1", "行4", "行5"]
    assert reasons(items) == [("a.parquet#3", "too_large"), ("a.parquet#4", "too_large")]
    one = read(source("parquet", tmp_path, max_document_bytes=1 << 20))  # a cell alone, in a page that fits
    assert len(one) == 6


def test_a_cell_over_the_limit_costs_only_its_row(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a", "b" * 3000, "c", None]}), tmp_path / "a.parquet")
    items = read(source("parquet", tmp_path, max_document_bytes=2000))
    assert [d.text for d in documents(items)] == ["a", "c"]
    assert reasons(items) == [("a.parquet#2", "too_large"), ("a.parquet#4", "no_text")]


def test_a_damaged_row_group_costs_its_own_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    rng = random.Random(2)
    texts = ["".join(rng.choices("あいうえおかきくけこ", k=400)) for _ in range(60)]
    pq.write_table(pa.table({"text": texts}), path, row_group_size=20, compression="gzip", use_dictionary=False)
    part = pq.read_metadata(path).row_group(1).column(0)
    content = bytearray(path.read_bytes())
    begin = part.data_page_offset + 80
    content[begin : begin + 4000] = b"\xff" * 4000
    path.write_bytes(content)
    items = read(source("parquet", path))
    assert len(items) == 60
    assert [d.text for d in documents(items)] == texts[:20] + texts[40:]
    assert {reason for _, reason in reasons(items)} == {"damaged_record"}


@pytest.fixture
def remote() -> str:
    """A folder of fsspec's memory file system."""
    import fsspec

    root = f"/{uuid.uuid4().hex}"
    system = fsspec.filesystem("memory")
    system.pipe(f"{root}/a.jsonl", b'{"text": "a"}\n{"text": "b"}\n')
    system.pipe(f"{root}/deep/b.jsonl.zst", zstd(b'{"text": "c"}\n'))
    system.pipe(f"{root}/skip/c.jsonl", b'{"text": "d"}\n')
    return f"memory:/{root}"


def test_urls_and_globs(remote: str, tmp_path: Path) -> None:
    items = read(source("jsonl", path=f"{remote}", exclude=["skip/*"]))
    assert [(d.url, d.text) for d in documents(items)] == [("a.jsonl@0", "a"), ("a.jsonl@14", "b"), ("deep/b.jsonl.zst#1", "c")]
    assert read(source("jsonl", path=remote, exclude=["skip/*"], shard_bytes=10)) == items
    assert [d.text for d in documents(read(source("jsonl", path=f"{remote}/*/*.jsonl*")))] == ["c", "d"]
    assert [d.url for d in documents(read(source("jsonl", path=f"{remote}/a.jsonl")))] == ["a.jsonl@0", "a.jsonl@14"]
    for name in ("x/1.jsonl", "x/2.jsonl", "y/3.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps({"text": name}))
    assert [d.text for d in documents(read(source("jsonl", path=f"{tmp_path}/*/[12].jsonl")))] == ["x/1.jsonl", "x/2.jsonl"]
    assert [d.text for d in documents(read(source("jsonl", tmp_path, take=1)))] == ["x/1.jsonl"]
    url = f"file://{tmp_path}/x"
    assert [d.url for d in documents(read(source("jsonl", path=url)))] == ["1.jsonl@0", "2.jsonl@0"]
    with pytest.raises(MissingInput):
        plan_shards(source("jsonl", path=f"{remote}/nothing"))


def test_a_protocol_without_its_package_names_it() -> None:
    pytest.importorskip("fsspec")
    try:
        import s3fs  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        with pytest.raises(ConfigError, match="s3fs"):
            plan_shards(source("jsonl", path="s3://bucket/a"))
    with pytest.raises(ConfigError, match="nosuch"):
        plan_shards(source("jsonl", path="nosuch://bucket/a"))


def test_digest_of_remote_files_is_of_contents(remote: str) -> None:
    import fsspec

    first = input_digest(source("jsonl", path=remote))
    assert input_digest(source("jsonl", path=remote)) == first
    fsspec.filesystem("memory").pipe(f"{remote.removeprefix('memory:/')}/a.jsonl", b'{"text": "z"}\n')
    assert input_digest(source("jsonl", path=remote)) != first


def test_a_list_of_files(remote: str, tmp_path: Path) -> None:
    (tmp_path / "paths.gz").write_bytes(gzip.compress(b"deep/b.jsonl.zst\na.jsonl\n\nskip/c.jsonl\n"))
    listed = source("jsonl", paths=str(tmp_path / "paths.gz"), prefix=remote + "/", take=2)
    assert [d.text for d in documents(read(listed))] == ["c", "a", "b"]
    (tmp_path / "a.jsonl").write_text('{"text": "local"}')
    (tmp_path / "list").write_text("a.jsonl\n")
    assert [d.text for d in documents(read(source("jsonl", paths=str(tmp_path / "list"))))] == ["local"]
    with pytest.raises(MissingInput, match="no list"):
        plan_shards(source("jsonl", paths=str(tmp_path / "none")))


def test_c4_and_mc4_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """allenai/c4: json.gz files of text, timestamp, url; by our reader and by `datasets`."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "c4"
    folder.mkdir()
    for part in range(2):
        rows = [
            {"text": f"記事{part}-{i}。", "timestamp": "2019-04-25T12:57:54Z", "url": f"https://a/{part}/{i}"} for i in range(4)
        ]
        content = "".join(json.dumps(row) + "\n" for row in rows).encode()
        (folder / f"c4-ja.tfrecord-0000{part}-of-00002.json.gz").write_bytes(gzip.compress(content))
    own = documents(read(source("jsonl", folder, date_column="timestamp")))
    hub = documents(read(source("datasets", folder, date_column="timestamp")))
    assert [(d.url, d.text, d.raw) for d in own] == [(d.url, d.text, d.raw) for d in hub]
    assert own[5].url == "https://a/1/1"
    assert own[5].date == "2019-04-25T12:57:54Z"


AOZORA = "こころ\r\n夏目漱石\r\n\r\n　私《わたくし》はその人を常に先生と呼んでいた。\r\n\r\n底本：「こころ」\r\n"


def test_aozora_files_as_they_are_distributed(tmp_path: Path) -> None:
    (tmp_path / "kokoro.txt").write_bytes(AOZORA.encode("cp932"))
    with zipfile.ZipFile(tmp_path / "z.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w.txt", AOZORA.replace("夏目漱石", "ゲーテ\r\n森鴎外訳").encode("cp932"))
        archive.writestr("fig.png", b"x")
        archive.writestr("bomb.txt", bytes(1 << 20))
    (tmp_path / "broken.zip").write_bytes(b"PK no")
    items = read(source("aozora", tmp_path, max_document_bytes=100_000))
    assert [(d.url, d.title, d.declared, d.text) for d in documents(items)] == [
        ("kokoro.txt", "こころ／夏目漱石", "cp932", "　私はその人を常に先生と呼んでいた。"),
        ("z.zip/w.txt", "こころ／ゲーテ", "cp932", "　私はその人を常に先生と呼んでいた。"),
    ]
    assert reasons(items) == [("broken.zip", "damaged_record"), ("z.zip/bomb.txt", "too_large")]
