"""Plans and readers other than WARC: order, drops by reason, shards that together are the whole."""

import gzip
import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.extract.aozora import clean_aozora, gaiji
from corpus.readers import DroppedRecord, RawDocument, Shard, SourceSettings, input_digest, plan_shards, read_shard
from corpus.readers import parquet as parquet_module
from corpus.records import identify
from pipeline.errors import BadInput, ConfigError, ExternalServiceError, MissingInput
from pipeline.runfile import build_settings


def source(reader: str, path: str | Path | None = None, **more: object) -> SourceSettings:
    values = {"name": "s", "reader": reader, "licence": "test", "attribution": "test", **more}
    return build_settings(values | ({"path": str(path)} if path else {}), SourceSettings, "test")


def read(settings: SourceSettings, fetched: Path | None = None) -> list[RawDocument | DroppedRecord]:
    shards = plan_shards(settings, fetched)
    assert [shard.name for shard in shards] == [f"s-{number:05}" for number in range(len(shards))]
    assert pickle.loads(pickle.dumps(shards)) == shards
    return [item for shard in shards for item in read_shard(shard)]


def documents(items: list[RawDocument | DroppedRecord]) -> list[RawDocument]:
    return [item for item in items if isinstance(item, RawDocument)]


def reasons(items: list[RawDocument | DroppedRecord]) -> list[tuple[str, str]]:
    return [(item.url, item.reason) for item in items if isinstance(item, DroppedRecord)]


def test_folders_in_name_order_without_links(tmp_path: Path) -> None:
    names = ["b/2.html", "a/1.html", "a/1.htm", "b/10.html", "skip/x.html", "a/x.txt"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "a/link.html").symlink_to("1.html")
    settings = source("html", tmp_path, exclude=["skip/*"], shard_documents=3)
    assert [d.url for d in documents(read(settings))] == ["a/1.htm", "a/1.html", "b/10.html", "b/2.html"]
    assert [len(shard.files) for shard in plan_shards(settings)] == [3, 1]
    fetched = source("html", fetched=["b/*.html"])
    assert [d.raw for d in documents(read(fetched, tmp_path))] == [b"b/10.html", b"b/2.html"]


def test_manual_pages_gzip_and_plain(tmp_path: Path) -> None:
    (tmp_path / "man1").mkdir()
    (tmp_path / "man1/a.1.gz").write_bytes(gzip.compress(b".TH A 1"))
    (tmp_path / "man1/b.1").write_bytes(b".TH B 1")
    (tmp_path / "man1/c.1.gz").write_bytes(gzip.compress(b".TH C 1" * 50)[:-12])
    (tmp_path / "man1/d.1.gz").write_bytes(b"no gzip")
    (tmp_path / "man1/e.1.gz").write_bytes(gzip.compress(b".TH E 1")[:10] + b"\xff" * 60)
    items = read(source("man", tmp_path))
    assert [(d.url, d.raw, d.kind) for d in documents(items)] == [
        ("man1/a.1.gz", b".TH A 1", "roff"),
        ("man1/b.1", b".TH B 1", "roff"),
    ]
    assert reasons(items) == [
        ("man1/c.1.gz", "truncated_record"), ("man1/d.1.gz", "damaged_record"), ("man1/e.1.gz", "damaged_record"),
    ]  # fmt: skip


def test_jsonl_rows_and_bad_lines(tmp_path: Path) -> None:
    lines = [
        json.dumps({"text": "本文一", "title": "題", "url": "https://a/", "id": 7}, ensure_ascii=False).encode(),
        b"",
        b"{broken",
        b'["list"]',
        b'{"title": "x"}',
        b'{"text": "  "}',
        b'{"text": "\xff"}',
        json.dumps({"text": "本文二", "title": None, "date": "2020-01-01"}).encode(),
    ]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    items = read(source("jsonl", tmp_path / "a.jsonl", date_column="date"))
    got = [(d.url, d.text, d.raw.decode(), d.title, d.date, d.kind) for d in documents(items)]
    assert got == [
        ("https://a/", "本文一", "本文一", "題", "", "text"),
        ("a.jsonl@130", "本文二", "本文二", "", "2020-01-01", "text"),
    ]
    assert reasons(items) == [
        ("a.jsonl@69", "damaged_record"), ("a.jsonl@77", "damaged_record"), ("a.jsonl@86", "no_text"),
        ("a.jsonl@101", "no_text"), ("a.jsonl@116", "undecodable"),
    ]  # fmt: skip


def test_a_cut_or_damaged_jsonl_gz_keeps_what_came_before(tmp_path: Path) -> None:
    content = gzip.compress(
        b"".join(json.dumps({"text": f"{i} " + "漢字" * 30}).encode() + b"\n" for i in range(2000)), mtime=0
    )
    (tmp_path / "a.jsonl.gz").write_bytes(content[: len(content) // 2])
    items = read(source("jsonl", tmp_path))
    count = len(documents(items))
    assert 0 < count < 2000
    assert [reason for _, reason in reasons(items)][-1] == "truncated_record"
    assert [d.text.split()[0] for d in documents(items) if d.text] == [str(i) for i in range(count)]
    (tmp_path / "a.jsonl.gz").write_bytes(b"no gzip at all")
    assert reasons(read(source("jsonl", tmp_path))) == [("a.jsonl.gz#1", "damaged_record")]


def test_parquet_shards_are_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"id": f"work/{i}", "text": f"本文{i}" if i % 7 else None, "title": f"題{i}", "big": "x" * 100} for i in range(50)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet", row_group_size=8)
    whole = read(source("parquet", tmp_path / "a.parquet", url_column="id"))
    assert [(d.url, d.text, d.title) for d in documents(whole)] == [(r["id"], r["text"], r["title"]) for r in rows if r["text"]]
    assert reasons(whole) == [(r["id"], "no_text") for r in rows if not r["text"]]
    monkeypatch.setattr(parquet_module, "PARQUET_SHARD_BYTES", 1)
    cut = source("parquet", tmp_path / "a.parquet", url_column="id")
    assert len(plan_shards(cut)) == 7
    assert read(cut) == whole
    assert documents(read(source("parquet", tmp_path / "a.parquet")))[0].url == "a.parquet#2"
    with pytest.raises(BadInput, match="no column 'body'; it has"):
        plan_shards(source("parquet", tmp_path / "a.parquet", text_column="body"))
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(BadInput, match="not readable as Parquet"):
        plan_shards(source("parquet", tmp_path / "b.parquet"))


def table(sentences: list[str]) -> str:
    return "".join(f"{i + 10}\t{s}\tEnglish {i}\t-\t-\t-\t-\t-\t-\n" for i, s in enumerate(sentences))


@given(
    st.lists(st.sampled_from([f"文{i}。" for i in range(12)]), min_size=1, max_size=40), st.integers(1, 5), st.integers(1, 4)
)
@settings(max_examples=60, deadline=None)
def test_tatoeba_groups(tmp_path_factory: pytest.TempPathFactory, sentences: list[str], size: int, per_shard: int) -> None:
    """Distinct sentences in the table's order, so many a document, whatever the shards."""
    path = tmp_path_factory.mktemp("t") / "SENTENCES"
    path.write_text(table(sentences), "utf-8")
    distinct = list(dict.fromkeys(sentences))
    items = read(source("tatoeba", path, sentences=size, shard_documents=per_shard))
    assert [d.text for d in documents(items)] == ["\n".join(distinct[i : i + size]) for i in range(0, len(distinct), size)]
    assert documents(items)[0].url == "https://tatoeba.org/ja/sentences/show/10"
    assert not reasons(items)


def test_tatoeba_bad_lines_are_counted_once(tmp_path: Path) -> None:
    path = tmp_path / "SENTENCES"
    good = table([f"文{i}。" for i in range(6)]).encode().splitlines(keepends=True)
    path.write_bytes(b"broken\n" + b"".join(good[:3]) + b"1\t\xff\xfe\t-\t-\t-\t-\t-\t-\t-\n" + b"".join(good[3:]) + b"a\tb\n")
    items = read(source("tatoeba", path, sentences=2, shard_documents=1))
    assert len(documents(items)) == 3
    assert reasons(items) == [(f"SENTENCES#{n}", "damaged_record") for n in (1, 5, 11 - 2)]


AOZORA = """序文
夏目漱石

-------------------------------------------------------
【テキスト中に現れる記号について】

《》：ルビ
（例）貴方《あなた》
-------------------------------------------------------

［＃３字下げ］一［＃「一」は中見出し］

　私は貴方《あなた》から五百八十｜頁《ページ》を読んだ。※［＃「口＋巴」、第3水準1-14-86］と※［＃「てへん＋劣」、第3水準1-84-77］。
　傍点［＃「傍点」に傍点］を打つ。※［＃「不明の字」、ページ数-行数］
［＃地付き］終



底本：「全集」筑摩書房
　　　1972（昭和47）年
入力：誰か
"""


def test_aozora_notation() -> None:
    """By the annotation manual: 吧 is 口＋巴 and 挘 is てへん＋劣, at those places of JIS X 0213; 〓 has no place."""
    assert clean_aozora(AOZORA) == "一\n\n　私は貴方から五百八十頁を読んだ。吧と挘。\n　傍点を打つ。〓\n終"


@pytest.mark.parametrize(("note", "character"), [
    ("「魚＋委」、第4水準2-93-50", "鯘"), ("U+20B9F、123-4", "\U00020b9f"), ("U+D800", "〓"),
    ("「字」、1-99-1", "〓"), ("説明だけ", "〓"), ("「丸1」、1-13-1", "①"),
])  # fmt: skip
def test_gaiji(note: str, character: str) -> None:
    assert gaiji(note) == character


def test_aozora_as_a_cleaner_of_rows(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": AOZORA}), "utf-8")
    (document,) = documents(read(source("jsonl", tmp_path, cleaner="aozora")))
    assert document.text == clean_aozora(AOZORA)
    assert document.raw == AOZORA.encode()


@pytest.mark.sample
def test_real_aozora_works_are_clean(sample_data: Path) -> None:
    items = documents(read(source("parquet", sample_data / "aozora.parquet", url_column="id", cleaner="aozora")))[::20]
    assert len(items) > 60
    for item in items:
        assert item.text and "［＃" not in item.text and "底本：" not in item.text and "テキスト中に現れる記号" not in item.text
        assert len(item.text) > 0.4 * len(item.raw.decode()) - 1500, item.url


def test_datasets_folder_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A local folder of Parquet files, read as the Wikipedia run reads the Hub: a file a shard, rows cut evenly."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    rows = [[{"text": f"記事{f}-{i}。", "title": f"題{i}", "url": f"https://ja/{f}/{i}"} for i in range(9)] for f in range(3)]
    (tmp_path / "wiki").mkdir()
    for number, part in enumerate(rows):
        pq.write_table(pa.Table.from_pylist(part), tmp_path / f"wiki/train-{number}.parquet")
    settings = source("datasets", tmp_path / "wiki")
    assert len(plan_shards(settings)) == 3
    assert [d.text for d in documents(read(settings))] == [row["text"] for part in rows for row in part]
    few = source("datasets", tmp_path / "wiki", rows=5)
    assert [d.url for d in documents(read(few))] == [row["url"] for part in rows for row in part[:2]][:6]
    with pytest.raises(BadInput, match=r"no dataset .* split 'nothing'"):
        plan_shards(source("datasets", tmp_path / "wiki", split="nothing"))


def test_hub_out_of_reach_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("no route to the Hub\nmore")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(ExternalServiceError, match=r"the Hub did not give a/b \(no route to the Hub\); try again$"):
        plan_shards(source("datasets", dataset="a/b", revision="abc"))


def test_hub_that_breaks_off_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx2

    def rows() -> Iterator[dict[str, str]]:
        yield {"text": "一つ目。"}
        raise httpx2.ReadError("connection reset")

    class Broken:
        num_shards = 1

        def shard(self, num_shards: int, index: int) -> Iterator[dict[str, str]]:
            return rows()

    monkeypatch.setattr("corpus.readers.hub._open", lambda source: Broken())
    items = read_shard(plan_shards(source("datasets", dataset="a/b", revision="abc"))[0])
    assert next(items).url == "a/b/train/0#1"
    with pytest.raises(ExternalServiceError, match=r"the Hub broke off a/b/train \(connection reset\)"):
        next(items)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="neither a file nor a folder"):
        plan_shards(source("html", tmp_path / "nothing"))
    with pytest.raises(MissingInput, match=r"no file at .* matches \['\*\*/\*\.html'"):
        plan_shards(source("html", tmp_path))
    with pytest.raises(MissingInput, match="`make fetch` first"):
        plan_shards(source("html", fetched=["*.html"]))
    with pytest.raises(MissingInput):
        input_digest(source("jsonl", tmp_path / "nothing.jsonl"))


@pytest.mark.parametrize("values", [
    {"path": "a", "fetched": ["b"]}, {}, {"dataset": "a/b"}, {"dataset": "a/b", "revision": "x", "reader": "jsonl"},
    {"path": "a", "name": "日本"}, {"path": "a", "sentences": 0}, {"path": "a", "cleaner": "soap"},
    {"path": "a", "reader": "pdf"},
])  # fmt: skip
def test_impossible_sources_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        build_settings({"name": "s", "reader": "datasets", "licence": "", "attribution": "", **values}, SourceSettings, "t")


def test_input_digest_is_of_contents_not_places(tmp_path: Path) -> None:
    for place in ("x", "y"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "a.html").write_text("一")
    first, second = (input_digest(source("html", tmp_path / place)) for place in ("x", "y"))
    assert first == second
    (tmp_path / "y/a.html").write_text("二")
    assert input_digest(source("html", tmp_path / "y")) != first
    hub = [input_digest(source("datasets", dataset="a/b", revision=revision)) for revision in ("1", "2")]
    assert hub[0] != hub[1]


def test_doc_id_tells_every_part_apart() -> None:
    ids = {identify("a", "bc", b"d"), identify("ab", "c", b"d"), identify("a", "b", b"cd"), identify("a", "bc", b"")}
    assert len(ids) == 4
    assert all(len(name) == 32 and set(name) <= set("0123456789abcdef") for name in ids)
    assert Shard("n", source("html", Path("x")), (), "").end == 0
