"""The one reader of benchmark files: layouts, formats, chosen fields, and files that are refused."""

import gzip
import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import BadInput, ConfigError, MissingInput
from pipeline.text.benchmark_files import read_passages


def test_layouts(tmp_path: Path) -> None:
    answers = [{"text": "小笠原"}, {"text": "小笠原"}, {"text": "奄美"}]
    squad = {
        "data": [
            {
                "title": "梅雨",
                "paragraphs": [{"context": "雨。", "qas": [{"id": "a0", "question": "何？", "answers": answers}]}],
            }
        ]
    }
    (tmp_path / "squad.json").write_text(json.dumps(squad), "utf-8")
    (tmp_path / "eval.json").write_text(json.dumps({"samples": [{"input": "問い", "output": "答え"}]}), "utf-8")
    (tmp_path / "turns.jsonl.gz").write_bytes(gzip.compress(b'{"question_id": 81, "turns": ["one", "two"]}\n\n{"turns": []}\n'))
    assert read_passages(tmp_path / "squad.json") == [
        ("squad.json", "梅雨 0", "context", "雨。"),
        ("squad.json", "a0", "question", "何？"),
    ]
    assert [p.text for p in read_passages(tmp_path / "squad.json", ("answers",))] == ["小笠原", "奄美"]
    assert [p[1:] for p in read_passages(tmp_path / "eval.json")] == [("row 0", "input", "問い")]
    assert [p[1:] for p in read_passages(tmp_path / "turns.jsonl.gz")] == [("81", "turns", "one"), ("81", "turns", "two")]


def test_unusable_files_say_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"foo": "bar"}\n{"foo": \n', "utf-8")
    with pytest.raises(MissingInput, match=r"none.json: no such benchmark file"):
        read_passages(tmp_path / "none.json")
    with pytest.raises(BadInput, match=r"x\.jsonl:2: not JSON"):
        read_passages(tmp_path / "x.jsonl")
    (tmp_path / "x.jsonl").write_text('{"foo": "bar"}\n', "utf-8")
    with pytest.raises(ConfigError, match=r"\['foo'\], none of \['baz'\]"):
        read_passages(tmp_path / "x.jsonl", ("baz",))
    (tmp_path / "x.gz").write_bytes(b"\x1f\x8bnonsense")
    with pytest.raises(BadInput, match="not readable"):
        read_passages(tmp_path / "x.gz")


ROWS = [
    {"id": 7, "question": "梅雨のない島は？", "choice0": "小笠原", "choice1": "奄美", "label": 0},
    {"id": 8, "question": '改行、\n引用"と,区切り', "choice0": "a", "choice1": "b", "label": 1},
]


def write_all_formats(folder: Path) -> list[Path]:
    """The same rows in every format of records."""
    paths = [folder / f"rows.{suffix}" for suffix in ("json", "jsonl", "json.gz", "csv", "tsv", "parquet")]
    rows = "".join(json.dumps(row, ensure_ascii=False) + "\r\n" for row in ROWS)
    paths[0].write_text(json.dumps(ROWS), "utf-8")
    paths[1].write_text("\ufeff" + rows, "utf-8")
    paths[2].write_bytes(gzip.compress(rows.encode()))
    for path, delimiter in ((paths[3], ","), (paths[4], "\t")):
        cells = [list(ROWS[0]), *(list(map(str, row.values())) for row in ROWS)]
        quoted = ["".join(('"' + cell.replace('"', '""') + '"' + delimiter) for cell in row)[:-1] for row in cells]
        path.write_text("\r\n".join(quoted), "utf-8")
    pq.write_table(pa.Table.from_pylist(ROWS), paths[5])
    return paths


def test_every_format_holds_the_same_texts(tmp_path: Path) -> None:
    for path in write_all_formats(tmp_path):
        assert [p[1:] for p in read_passages(path)] == [(str(row["id"]), "question", row["question"]) for row in ROWS], path
        chosen = read_passages(path, ("choice*",))
        assert [(p.field, p.text) for p in chosen] == [
            (field, row[field]) for row in ROWS for field in ("choice0", "choice1")
        ], path


def test_plain_text_is_one_text_a_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text('{"question": "x"}\r\n\n 二行目 \n', "utf-8")
    assert [p[1:] for p in read_passages(tmp_path / "a.txt")] == [("1", "line", '{"question": "x"}'), ("3", "line", "二行目")]


def test_nested_records_name_the_nearest_item(tmp_path: Path) -> None:
    nested = [{"id": "a", "data": {"question": "外", "parts": [{"id": "b", "question": "内"}, {"question": "兄弟"}]}}]
    (tmp_path / "n.json").write_text(json.dumps(nested), "utf-8")
    assert [p[1:] for p in read_passages(tmp_path / "n.json")] == [
        ("a", "data.question", "外"),
        ("b", "data.parts.question", "内"),
        ("a", "data.parts.question", "兄弟"),
    ]
    assert [p.text for p in read_passages(tmp_path / "n.json", ("data.parts.question",))] == ["内", "兄弟"]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.json", b"[" * 100_000, "nested too deep"),
        ("a.json", b"\xff\xfe", "not readable as UTF-8"),
        ("a.json", b"[1, 2, null]", "no text in it"),
        ("a.txt", b" \n\n", "no text in it"),
        ("a.json", b'{"text": "x\\ud800"}', "text of 'row 0' is not valid Unicode"),
        ("a.xlsx", b"PK", r"format '\.xlsx'; expected one of \.json"),
        ("a", b"question\tanswer\n", "not JSON; give the file the suffix of its format"),
        ("a.csv", b"question,answer\nx,y,z\n", r"a\.csv:2: 3 cells; the header has 2"),
        ("a.csv", b'question\n"x', "not a table"),
        ("a.parquet", b"PAR1", "not a readable Parquet file"),
    ],
)
def test_unreadable_files_are_refused_in_one_line(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=why) as raised:
        read_passages(tmp_path / name)
    assert "\n" not in str(raised.value)


def test_identifiers_are_never_text(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "識別子", "question": "問い"}\n', "utf-8")
    assert [p.text for p in read_passages(tmp_path / "a.jsonl", ("*",))] == ["問い"]
    with pytest.raises(ConfigError, match=r"fields \['id'\]: they identify items"):
        read_passages(tmp_path / "a.jsonl", ("question", "id"))


@pytest.mark.sample
@pytest.mark.parametrize(
    ("name", "texts", "choices"),
    [
        ("jglue-jcommonsenseqa-valid.json", {"question": 1_119}, 5_595),
        ("jglue-jsquad-valid.json", {"question": 4_442, "context": 1_145}, 0),
        ("jglue-jsts-valid.json", {"sentence1": 1_457, "sentence2": 1_457}, 0),
    ],
)
def test_texts_of_jglue(sample_data: Path, name: str, texts: dict[str, int], choices: int) -> None:
    assert Counter(passage.field for passage in read_passages(sample_data / name)) == texts
    if choices:
        assert len(read_passages(sample_data / name, ("choice*",))) == choices
