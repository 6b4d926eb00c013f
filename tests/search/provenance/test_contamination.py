"""Contamination against brute force over the small world: counts, shares of n-grams, and what each checkpoint had read."""

import gzip
import json
import random
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.artifact import open_sealed
from pipeline.errors import BadInput, ConfigError, MissingInput
from pipeline.files import short_digest
from search.benchmark_items import Item, read_items
from search.commands.contamination import main, render, saved_checkpoints
from search.provenance.contamination import Checked, Contamination, ContaminationSettings, contamination
from search.searcher import Searcher
from search.shard import catalog
from tests.search.conftest import make_index
from tests.search.helpers.world import World, make_world

ROOT = Path(__file__).parents[3]
FEW = ContaminationSettings(least=5, share=0.5, shortest=4)
Row = dict[str, str]


def texts(world: World) -> list[str]:
    """Held-out texts, and pieces of read ones: whole, changed, joined, absent."""
    rng = random.Random(4)
    made = [row["text"][:50].strip() for row in world.held_out]
    for row in rng.sample(world.rows(), 5):
        at = rng.randrange(max(len(row["text"]) - 30, 1))
        piece = row["text"][at : at + 30].strip()
        made += [piece, piece[:9] + "鱻" + piece[10:], piece + "鱻" * 4 + "。".join(row["text"][:12])]
    return [
        text
        for text in dict.fromkeys([*made, "鱻麤龘鱻麤龘", "源氏物語", "🙂を実行する。が", world.rows()[0]["text"][:60].strip()])
        if text
    ]


def starts(text: str, part: str) -> Iterator[int]:
    at = text.find(part)
    while at >= 0:
        yield at
        at = text.find(part, at + 1)


class Read:
    """Which iterations read which characters, token by token."""

    def __init__(self, world: World, rows: list[Row]) -> None:
        self.rows, self._by_row = rows, [self._characters(world, row["text"], row["doc_id"]) for row in rows]
        for row, characters in zip(rows[:5], self._by_row, strict=False):
            assert set().union(*characters[3:9]) == set(world.iterations(row, 3, 9))

    @staticmethod
    def _characters(world: World, text: str, doc_id: str) -> list[set[int]]:
        found: list[set[int]] = [set() for _ in text]
        owner = [number for number, character in enumerate(text) for _ in character.encode()]
        at = 0
        for number, token in enumerate(world.tokenizer.encode(text)):
            end = at + len(world.tokenizer.token_bytes(token))
            for character in set(owner[at:end]):
                found[character] |= world.read[doc_id, number]
            at = end
        return found

    def first(self, part: str) -> int | None:
        """First iteration that read a character of the part, anywhere."""
        found = [
            min(set().union(*characters[at : at + len(part)]), default=None)
            for row, characters in zip(self.rows, self._by_row, strict=True)
            for at in starts(row["text"], part)
        ]
        return min((first for first in found if first is not None), default=None)


def share(text: str, least: int, stands: list[bool]) -> float:
    return len({i + k for i, yes in enumerate(stands) if yes for k in range(least)}) / len(text)


def check(one: Checked, read: Read, checkpoints: tuple[int, ...], least: int) -> None:
    text, rows = one.text, read.rows
    assert one.count == sum(1 for row in rows for _ in starts(row["text"], text)) and one.first == read.first(text)
    windows = [text[i : i + least] for i in range(len(text) - least + 1)]
    counts = [any(window in row["text"] for row in rows) for window in windows]
    assert one.share == (1 if one.count else share(text, least, counts))
    firsts = [read.first(window) for window in windows]
    for checkpoint, found in zip(checkpoints, one.shares, strict=True):
        whole = one.first is not None and one.first <= checkpoint
        assert one.exact(checkpoint) == whole
        assert found == (1 if whole else share(text, least, [f is not None and f <= checkpoint for f in firsts]))
    sizes = range(len(text), 0, -1)
    assert one.longest == next(
        (n for n in sizes if any(text[i : i + n] in row["text"] for i in range(len(text) - n + 1) for row in rows)), 0
    )


@pytest.mark.parametrize("settings", [FEW, ContaminationSettings(least=9, share=0.3, shortest=9)])
def test_counts_shares_and_checkpoints(world: World, searcher: Searcher, settings: ContaminationSettings) -> None:
    items = [Item(str(n), "text", text) for n, text in enumerate(texts(world))]
    found = contamination(searcher, items, (14, 3, 8), settings)
    assert found.checkpoints == (3, 8, 14, world.total)
    assert [(one.item, one.text) for one in found.checked] == [(item.name, item.text) for item in items]
    read = Read(world, world.rows())
    for one in found.checked:
        check(one, read, found.checkpoints, settings.least)
        assert not one.bounded
        for checkpoint in (None, *found.checkpoints):
            at = one.share if checkpoint is None else one.shares[found.checkpoints.index(checkpoint)]
            had = bool(one.count) if checkpoint is None else one.exact(checkpoint)
            verdict = "exact" if had else "near" if at >= settings.share else None
            assert found.verdict(one, checkpoint) == (verdict if len(one.text) >= settings.shortest else None)
        reads = [found.verdict(one, checkpoint) is not None for checkpoint in found.checkpoints]
        assert reads == sorted(reads), "what a checkpoint had read, later ones had read"
    kinds = {found.verdict(one) for one in found.checked}
    assert kinds == {"exact", "near", None}
    later = [found.verdict(one, 3) != found.verdict(one, world.total) for one in found.checked]
    assert any(later), "some text must be read between the checkpoints"


def test_totals_are_of_what_counts(world: World, searcher: Searcher) -> None:
    items = [Item(str(n), "ab"[n % 2], text) for n, text in enumerate([*texts(world), "の", "を", *texts(world)[:3]])]
    found = contamination(searcher, items, (5,), FEW)
    for field in (None, "a", "b"):
        rows = [one for one in found.checked if field in (None, one.field)]
        total = found.total(field)
        long = [one for one in rows if len(one.text) >= FEW.shortest]
        assert (total.texts, total.short) == (len(rows), len(rows) - len(long))
        exact = [one for one in long if one.count]
        assert total.exact == len(exact)
        assert total.near == sum(one.share >= FEW.share for one in long) - len(exact)
        for (checkpoint, place), (had, near) in zip(((5, 0), (world.total, 1)), total.read, strict=True):
            assert had == sum(one.first is not None and one.first <= checkpoint for one in long)
            assert had + near == sum(one.shares[place] >= FEW.share or one.exact(checkpoint) for one in long)
    assert found.fields == ("a", "b")
    assert next(one for one in found.checked if one.text == "の").count == searcher.count("の")


def test_too_many_occurrences_are_said(world: World, searcher: Searcher) -> None:
    items = [Item("1", "text", "源氏物語")]
    few = contamination(searcher, items, (), replace(FEW, looked=2))
    assert few.checked[0].bounded and few.checked[0].count == searcher.count("源氏物語")
    assert "最初の 2 か所だけを調べました" in render(few, limit=5)
    assert "か所だけを調べました" not in render(contamination(searcher, items, (), FEW), limit=5)


def test_shards_removals_and_epochs(world: World, searcher: Searcher, tmp_path: Path, ray_session: None) -> None:
    shutil.copytree(world.run.artifacts, tmp_path / "artifacts")
    other = replace(world, run=replace(world.run, artifacts=tmp_path / "artifacts"))
    shutil.rmtree(other.run.root("index"))
    make_index(other, "--set", "index.shard_bytes=1000000")
    one = Searcher.open(other.run)
    items = [Item("", "", text) for text in texts(world)[:12]]
    assert len(one.texts.shards) == 1 < len(searcher.texts.shards)
    assert replace(contamination(one, items, (7,), FEW), index="") == replace(
        contamination(searcher, items, (7,), FEW), index=""
    )
    gone = {row["doc_id"] for row in world.rows()[::2]}
    catalog.remove(open_sealed(other.run.root("index")), sorted(gone), "test")
    read = Read(world, [row for row in world.rows() if row["doc_id"] not in gone])
    for row in contamination(one, items, (7,), FEW).checked:
        check(row, read, (7, world.total), FEW.least)
    small = make_world(tmp_path / "small", iterations=60, documents=10)
    make_index(small)
    read = Read(small, small.rows())
    for row in contamination(Searcher.open(small.run), items[:6], (9, 30), FEW).checked:
        check(row, read, (9, 30, 60), FEW.least)


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def lines(*records: Any) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


RECORDS = [
    {"q_id": 8, "question": " 問い\n", "choice0": "掲示板", "label": 2},
    {"question": "か\u3099", "turns": ["一", "二", "一"], "empty": " ", "none": None},
]
WANTED = [
    ("8", "question", "問い"), ("8", "choice0", "掲示板"),
    ("2", "question", "が"), ("2", "turns", "一"), ("2", "turns", "二"),
]  # fmt: skip
SQUAD = {
    "data": [
        {
            "title": "梅雨",
            "paragraphs": [{"context": "文脈", "qas": [{"id": "a1", "question": "何?", "answers": [{"text": "雨"}] * 3}]}],
        }
    ]
}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", lines(*RECORDS)), ("a.json", lines(*RECORDS)), ("a.json", json.dumps(RECORDS)),
        ("a", "\ufeff" + lines(*RECORDS)),
        ("a.jsonl.gz", gzip.compress(lines(*RECORDS).encode())), ("a.json", lines(*RECORDS).replace("\n", "\r\n\n")[:-1]),
    ],
)  # fmt: skip
def test_records_are_read(tmp_path: Path, name: str, content: str | bytes) -> None:
    path = write(tmp_path, name, content)
    found = [tuple(item) for item in read_items(path)]
    offset = {"2": "3"} if isinstance(content, str) and "\r\n" in content else {}
    assert found == [(offset.get(name, name), field, text) for name, field, text in WANTED]
    assert [item.text for item in read_items(path, ("question",))] == ["問い", "が"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc."), inner, max_size=3),
)


def strings(value: Any) -> set[str]:
    if isinstance(value, str):
        return {unicodedata.normalize("NFC", value).strip()}
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return set().union(*map(strings, inner))


@given(st.lists(VALUES, min_size=1, max_size=4), st.booleans())
def test_every_string_at_any_depth_is_a_text(tmp_path_factory: pytest.TempPathFactory, records: list[Any], rows: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "values.json"
    path.write_text("\n".join(map(json.dumps, records)) if rows else json.dumps(records), "utf-8")
    wanted = set().union(*map(strings, records)) - {""}
    if not wanted:
        with pytest.raises(BadInput, match="no text in it"):
            read_items(path)
        return
    assert {item.text for item in read_items(path)} == wanted


def test_nested_records_and_plain_lines(tmp_path: Path) -> None:
    squad = write(tmp_path, "squad.json", json.dumps(SQUAD))
    assert [tuple(item) for item in read_items(squad)] == [
        ("1/1", "data.title", "梅雨"), ("1/1/1", "data.paragraphs.context", "文脈"),
        ("a1", "data.paragraphs.qas.question", "何?"), ("a1", "data.paragraphs.qas.answers.text", "雨"),
    ]  # fmt: skip
    for field in ("context", "data.paragraphs.context"):
        assert [item.text for item in read_items(squad, (field,))] == ["文脈"]
    assert [item.name for item in read_items(squad, ("id",))] == ["a1"], (
        "a field that names records is read where it is asked for"
    )
    for name, content in (("a.txt", '{"a": 1}\n\n二行目 \n'), ("b", '一行目\n\n{"a": "x"}')):
        found = read_items(write(tmp_path, name, content))
        assert [(item.name, item.field) for item in found] == [("1", "line"), ("3", "line")]


@pytest.mark.parametrize(
    ("name", "content", "error", "why"),
    [
        ("a.jsonl", '{"a": "b"}\n{"a": \n', BadInput, r"a.jsonl:2: not JSON"),
        ("a.json", "[" * 100_000, BadInput, "nested too deep"),
        ("a.json", b"\xff\xfe", BadInput, "not readable as UTF-8"),
        ("a.json.gz", b"\x1f\x8bxx", BadInput, "not readable as UTF-8"),
        ("a.json", "", BadInput, "no text in it"), ("a.txt", " \n\n", BadInput, "no text in it"),
        ("a.json", "[1, 2, null]", BadInput, "no text in it"),
        ("a.json", '{"a": "x\\ud800"}', BadInput, "a of '1' is no Unicode text"),
    ],
)  # fmt: skip
def test_what_is_no_benchmark_is_refused(
    tmp_path: Path, name: str, content: str | bytes, error: type[Exception], why: str
) -> None:
    with pytest.raises(error, match=why) as raised:
        read_items(write(tmp_path, name, content))
    assert "\n" not in str(raised.value)


def test_missing_files_and_fields_are_named(tmp_path: Path, searcher: Searcher) -> None:
    with pytest.raises(MissingInput, match="no such benchmark file"):
        read_items(tmp_path / "none.json")
    with pytest.raises(
        ConfigError, match=r"fields \['choice0', 'q_id', 'question', 'turns'\], none of \['sentence'\]"
    ) as raised:
        read_items(write(tmp_path, "a.jsonl", lines(RECORDS[0] | {"q_id": "8"}, {"turns": ["a"]})), ("sentence",))
    assert "\n" not in str(raised.value)
    for checkpoint in (0, -1, searcher.total + 1):
        with pytest.raises(ConfigError, match=f"checkpoints .{checkpoint}.: expected iterations of 1 to {searcher.total}"):
            contamination(searcher, [Item("1", "a", "b")], [checkpoint])
    for wrong in ({"least": 0}, {"share": 0.0}, {"share": 1.1}, {"shortest": 0}, {"looked": 0}):
        with pytest.raises(BadInput, match="expected at least 1"):
            ContaminationSettings(**wrong)  # type: ignore[arg-type]


def test_the_table(world: World, searcher: Searcher) -> None:
    whole = "第7章はaだけの文である。\n次の行へ続く。"
    items = [
        Item("1", "question", whole),
        Item("1", "choice", "鱻" * 20),
        Item("q\x1b2", "question", whole[:18] + "鱻"),
        Item("3", "choice", "短い"),
    ]
    found = contamination(searcher, items, (), benchmark="b.json")
    first = found.checked[0].first
    shown = render(found, limit=1)
    heads, question, choice, every = (line.split() for line in shown.splitlines()[1:5])
    assert heads == ["項目", "文", "短い", "完全一致", "近似", "25", "まで"]
    assert question == ["question", "2", "0", "1", "1", "1+1"] and choice == ["choice", "2", "1", "0", "0", "0+0"]
    assert every == ["全体", "4", "1", "1", "1", "1+1"]
    assert f"1 question: 完全一致 1 か所、最初は {first}/25  「第7章はaだけの文である。⏎次の行へ続く。」" in shown
    assert "ほか 1 文" in shown and "近似 95%" not in shown and "2/3 文" in shown
    more = render(found, limit=9)
    assert "q\ufffd2 question: 近似 95%、最長 18 文字、25 までに既読" in more and "\x1b" not in more
    nothing = render(contamination(searcher, [Item("1", "a", "鱻麤龘")]), limit=9)
    assert "数える文はありません" in nothing and short_digest(searcher.texts.digest) in nothing


def test_the_command_line(world: World, searcher: Searcher, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["--run", str(world.run.path), "--artifacts", str(world.run.artifacts), "--bench"]
    bench = write(
        tmp_path, "b.jsonl", lines(*({"id": f"x{n}", "text": text, "other": "鱻"} for n, text in enumerate(texts(world))))
    )
    main([*line, str(bench), "--json", "--checkpoints", "3, 9", "--fields", "text, nothing", "--least", "5"])
    printed = json.loads(capsys.readouterr().out)
    settings = ContaminationSettings(("text", "nothing"), least=5)
    wanted = contamination(searcher, read_items(bench, ("text", "nothing")), (3, 9), settings, benchmark="b.jsonl")
    assert printed == json.loads(json.dumps(wanted.as_dict()))
    assert printed["checkpoints"] == [3, 9, world.total] and printed["by_field"].keys() == {"text"}
    assert printed["total"]["exact"] == sum(row["verdict"] == "exact" for row in printed["checked"])
    main([*line, str(bench)])
    assert "汚染検査: " in capsys.readouterr().out
    main([*line, str(bench), "--dry-run"])
    assert "探します" in capsys.readouterr().out
    for options, why in ((["none"], "none: no such benchmark file"), ([str(bench), "--checkpoints", "x"], "--checkpoints 'x'")):
        done = subprocess.run(
            [sys.executable, "-m", "search.commands.contamination", *line, *options],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2 and why in done.stderr and done.stderr.count("\n") == 1


def test_checkpoints_that_the_run_has_kept(world: World, tmp_path: Path) -> None:
    run = replace(world.run, artifacts=tmp_path)
    assert saved_checkpoints(run) == []
    for name in ("iter_0000020", "iter_0000005", "iter_0000007.partial-1a2b", "latest.json"):
        (run.root("pretrain") / "checkpoints" / name).mkdir(parents=True)
    assert saved_checkpoints(run) == [5, 20]


def test_results_are_repeatable(world: World, searcher: Searcher) -> None:
    found = contamination(searcher, [Item("1", "a", "源氏物語" * 5)])
    assert isinstance(found, Contamination) and found.index == searcher.texts.digest
    assert found == contamination(searcher, [Item("1", "a", "源氏物語" * 5)])
