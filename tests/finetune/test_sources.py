"""Instruction files, dialogues and Tatoeba tables: what is read, and which line is named when one cannot be."""

import json
from pathlib import Path

import pytest

from finetune.settings import DataSource
from finetune.sources import TRANSLATE, Read, file_of, read
from pipeline.errors import BadInput, ConfigError, MissingInput
from pipeline.runfile import build_settings


def jsonl(path: Path, *rows: object) -> DataSource:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return DataSource(kind="jsonl", path=path, licence="CC0-1.0")


def contents(read_: Read) -> list[tuple[str, ...]]:
    return [tuple(message["content"] for message in chat.messages) for chat in read_.chats]


def test_instructions_with_and_without_input(tmp_path: Path) -> None:
    source = jsonl(
        tmp_path / "a.jsonl",
        {"instruction": "答えのない質問", "output": " "},
        {"instruction": " 要約して。", "input": "長い文。", "output": "短い文。\n"},
        {"instruction": "挨拶して。", "output": "こんにちは。", "input": None, "category": "x"},
    )
    assert contents(read(source, tmp_path / "a.jsonl")) == [
        ("要約して。\n\n長い文。", "短い文。"),
        ("挨拶して。", "こんにちは。"),
    ]


def test_own_keys_and_normal_form(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('\ufeff{"q": "か\u3099", "ctx": "", "a": "ok"}\n\n', "utf-8")  # a byte order mark, a decomposed が
    source = DataSource(kind="jsonl", path=path, licence="x", instruction="q", input="ctx", output="a")
    assert contents(read(source, path)) == [("が", "ok")]


def test_dialogue_drops_the_unanswered_end(tmp_path: Path) -> None:
    turns = [("user", "一"), ("agent", "二"), ("user", "三"), ("agent", "四"), ("user", "五")]
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps({"utterances": [{"name": n, "text": t} for n, t in turns]}) + "\n", "utf-8")
    (chat,) = read(DataSource(kind="dialogues", path=path, licence="MIT"), path).chats
    assert [(m["role"], m["content"]) for m in chat.messages] == [
        ("user", "一"), ("assistant", "二"), ("user", "三"), ("assistant", "四"),
    ]  # fmt: skip


def tatoeba(folder: Path, count: int) -> Path:
    path = folder / "tatoeba" / "SENTENCES"
    path.parent.mkdir()
    rows = [f"{n}\t文{n}。\t{'-' if n % 5 == 0 else f'Sentence {n}.'}\t-\t-\t-\t-\t-\t-\n" for n in range(count)]
    path.write_text("".join(rows), "utf-8")
    return path


def test_tatoeba_pairs_and_stable_choice(tmp_path: Path) -> None:
    path = tatoeba(tmp_path, 100)
    source = DataSource(kind="tatoeba")
    assert file_of(source, tmp_path) == path
    every = contents(read(source, path))
    assert len(every) == 80 and read(source, path).empty == 20
    forms = set()
    for question, answer in every:
        sentence = f"文{answer.removeprefix('Sentence ').rstrip('.')}。"
        forms.add({form.format(sentence): form for form in TRANSLATE}[question])
    assert forms == set(TRANSLATE)
    few = contents(read(DataSource(kind="tatoeba", count=10), path))
    more = contents(read(DataSource(kind="tatoeba", count=20), path))
    assert len(few) == 10 and set(few) < set(more) and more == [pair for pair in every if pair in more]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"instruction": "a"}', "expected text under 'output', found nothing"),
        (b'{"instruction": "a", "output": null}', "expected text under 'output', found None"),
        (b'{"instruction": 3, "output": "b"}', "expected text under 'instruction', found 3"),
        (b'{"instruction": "a", "output": "b", "input": ["c"]}', "expected text under 'input'"),
        (b'{"instruction": "a", "output": "b"', "not JSON"),
        (b'["a", "b"]', "expected a JSON object, got list"),
        (b'{"instruction": "\xff", "output": "b"}', "not UTF-8"),
        (b'{"instruction": "a", "output": "\\ud800"}', r"lone surrogate U\+D800"),
    ],
)
def test_malformed_line_is_named(tmp_path: Path, line: bytes, message: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"instruction": "a", "output": "b"}\n\n' + line + b"\n")
    with pytest.raises(BadInput, match=message) as error:
        read(DataSource(kind="jsonl", path=path, licence="x"), path)
    assert f"{path}:3:" in str(error.value)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"utterances": []}, "no question with an answer in 1 record"),
        ({"utterances": [{"name": "agent", "text": "a"}]}, "no question with an answer"),
        ({"utterances": [{"name": "narrator", "text": "a"}]}, "unknown speaker 'narrator'"),
        ({"messages": []}, "under 'utterances'"),
    ],
)
def test_malformed_dialogue(tmp_path: Path, record: dict, message: str) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps(record), "utf-8")
    with pytest.raises(BadInput, match=message):
        read(DataSource(kind="dialogues", path=path, licence="MIT"), path)


def test_malformed_tatoeba(tmp_path: Path) -> None:
    path = tmp_path / "SENTENCES"
    path.write_text("1\t文\tA sentence.\n2 no tabs\n", "utf-8")
    with pytest.raises(BadInput, match="SENTENCES:2: expected id, Japanese and English by tab, found 1"):
        read(DataSource(kind="tatoeba"), path)


def test_missing_and_empty_files(tmp_path: Path) -> None:
    path = tmp_path / "none.jsonl"
    with pytest.raises(MissingInput, match=r"none\.jsonl: no such file"):
        file_of(DataSource(kind="jsonl", path=path, licence="x"), None)
    with pytest.raises(MissingInput, match="make fetch"):
        file_of(DataSource(kind="tatoeba"), None)
    path.write_text("\n\n", "utf-8")
    with pytest.raises(BadInput, match=r"no question with an answer in 0 record"):
        read(DataSource(kind="jsonl", path=path, licence="x"), path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "jsonl"}, "needs path and licence"),
        ({"kind": "jsonl", "path": "x"}, "needs path and licence"),
        ({"kind": "tatoeba", "path": "x"}, "takes no path"),
        ({"kind": "instructions", "repeat": 0}, "repeat"),
        ({"kind": "instruction"}, "expected one of"),
        ({"kind": "instructions", "counts": 3}, "did you mean 'count'"),
    ],
)
def test_bad_source_settings(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_settings(values, DataSource, "t")


@pytest.mark.sample
@pytest.mark.parametrize(
    ("source", "records", "empty"),
    [
        (
            {
                "kind": "jsonl",
                "path": "${DATA}/dolly-ja.jsonl",
                "input": "context",
                "output": "response",
                "licence": "CC-BY-SA-3.0",
            },
            4611,
            4,
        ),
        ({"kind": "dialogues", "path": "${DATA}/instruction-ja.jsonl", "licence": "MIT"}, 669, 0),
    ],
)
def test_development_data(sample_data: Path, source: dict, records: int, empty: int) -> None:
    built = build_settings(source, DataSource, "t", sample_data)
    found = read(built, file_of(built, None))
    assert (len(found.chats) + found.empty, found.empty) == (records, empty)
