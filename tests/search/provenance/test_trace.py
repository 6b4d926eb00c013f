"""Traces against brute force: every maximal span, every occurrence, and what each batch held."""

import json
import math
import random
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.artifact import open_sealed
from pipeline.errors import BadInput
from pipeline.files import short_digest
from pipeline.text.terminal import MARK, PLAIN
from search.commands.trace import main, render
from search.provenance import occurrences
from search.provenance.occurrences import make_ranges
from search.provenance.trace import Trace, TraceSettings, count_covered, find_maximal_spans, trace_text
from search.searcher import Searcher
from search.shard import catalog
from tests.search.conftest import make_index
from tests.search.helpers.world import World, make_world

ROOT = Path(__file__).parents[3]
Row = dict[str, str]


def answers(world: World) -> list[str]:
    """Texts of which parts are in the training data: held-out ones, pieces of documents among noise, and none."""
    rng = random.Random(3)
    rows = world.rows()
    made = [row["text"][:220] for row in world.held_out]
    for _ in range(6):
        pieces = [
            (text := rng.choice(rows)["text"])[(at := rng.randrange(len(text))) : at + rng.randint(3, 40)] for _ in range(6)
        ]
        made.append("鱻".join(pieces))
    return [*made, "鱻麤龘", "源", "🙂" * 9, rows[0]["text"][:300]]


def offsets(text: str, part: str) -> list[int]:
    return [i for i in range(len(text)) if text.startswith(part, i)]


def truth(rows: list[Row], text: str, least: int) -> set[tuple[int, int]]:
    """All [begin, end) of at least `least` characters that occur and are in no other that does."""
    occurring = set()
    for begin in range(len(text)):
        end = begin
        while end < len(text) and any(text[begin : end + 1] in row["text"] for row in rows):
            end += 1
        if end > begin:
            occurring.add((begin, end))
    inside = {(a, b) for a, b in occurring for c, d in occurring if (a, b) != (c, d) and c <= a and b <= d}
    return {(a, b) for a, b in occurring - inside if b - a >= least}


def check(found: Trace, world: World, rows: list[Row], discarded: frozenset[int] = frozenset(), looked: int = 10**9) -> None:
    spans = truth(rows, found.text, found.min_chars)
    assert {(span.begin, span.end) for span in found.spans} == spans and len(found.spans) == len(spans) == found.found
    characters = {i for begin, end in spans for i in range(begin, end)}
    assert found.covered == len(characters) / len(found.text)
    for span in found.spans:
        assert span.text == found.text[span.begin : span.end]
        every = [(row, at) for row in rows for at in offsets(row["text"], span.text)]
        assert span.count == len(every)
        first = every[:looked]
        assert span.examined == len(first)
        assert span.documents == len({row["doc_id"] for row, _ in first})
        assert dict(span.sources) == Counter({row["doc_id"]: row["source"] for row, _ in first}.values())
        read = {i for row, at in first for i in world.iterations(row, at, at + len(span.text))} - discarded
        assert (span.first, span.last) == ((min(read), max(read)) if read else (None, None))
    order = [(span.count, -len(span.text), span.begin) for span in found.spans]
    assert order == sorted(order)
    check_documents(found, world, rows, discarded)


def check_documents(found: Trace, world: World, rows: list[Row], discarded: frozenset[int]) -> None:
    by_id = {row["doc_id"]: row for row in rows}
    assert len({document.doc_id for document in found.documents}) == len(found.documents)
    for number, document in enumerate(found.documents):
        row = by_id[document.doc_id]
        assert (document.source, document.url, document.title) == (row["source"], row["url"], row["title"])
        shown = [span.text for span in found.spans if number in span.shown]
        assert shown and all(text in row["text"] for text in shown)
        data, before, marked = row["text"].encode(), -1, []
        for snippet in document.snippets:
            assert snippet.byte > before, "snippets ascend and do not overlap"
            before = snippet.byte + len(snippet.text.encode())
            assert data[snippet.byte : before].decode() == snippet.text
            start = len(data[: snippet.byte].decode())
            read = {i for a, b in snippet.spans for i in world.iterations(row, start + a, start + b)}
            assert set(snippet.iterations) == read - discarded and set(snippet.discarded) == read & discarded
            marked += [snippet.text[a:b] for a, b in snippet.spans]
        assert all(any(text in part for part in marked) for text in shown)
        assert all(any(part in text or text in part for text in shown) for part in marked)


@pytest.mark.parametrize("least", [1, 4, 8])
def test_every_maximal_span_with_all_its_occurrences(world: World, searcher: Searcher, least: int) -> None:
    seen = 0
    for text in answers(world):
        found = trace_text(searcher, text, TraceSettings(min_chars=least))
        check(found, world, world.rows())
        assert (found.total_iterations, found.index) == (world.total, searcher.texts.digest)
        seen += len(found.spans)
    assert seen > 50


def test_every_epoch_counts(tmp_path: Path, ray_session: None) -> None:
    world = make_world(tmp_path, iterations=60, documents=10)
    make_index(world)
    searcher = Searcher.open(world.run)
    for row in (*world.held_out, *world.rows()[:3]):
        check(trace_text(searcher, row["text"][:200], TraceSettings(min_chars=6)), world, world.rows())
    spans = trace_text(searcher, world.rows()[0]["text"][:200]).spans
    assert any(span.first and span.last and span.last > span.first for span in spans if span.count == 1)


def test_undone_iterations_do_not_count(world: World) -> None:
    discarded = ((1, 4), (9, 9), (world.total, world.total))
    gone = frozenset(i for first, last in discarded for i in range(first, last + 1))
    searcher = Searcher(open_sealed(world.run.root("index")), discarded)
    for text in answers(world)[:3]:
        check(trace_text(searcher, text), world, world.rows(), gone)
    everything = Searcher(open_sealed(world.run.root("index")), [(1, world.total)])
    assert {span.first for span in trace_text(everything, "源氏物語は紫式部の作者").spans} <= {None}
    assert any("イテレーション: 未読" in render(trace_text(everything, row["text"]), colour=False) for row in world.rows()[:1])


def test_only_the_first_occurrences_are_looked_at_and_that_is_said(
    world: World, searcher: Searcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(occurrences, "CHUNK", 4)
    bounded = False
    for text in answers(world)[:4]:
        found = trace_text(searcher, text, TraceSettings(min_chars=2, max_occurrences=3))
        check(found, world, world.rows(), looked=3)
        if any(span.examined < span.count for span in found.spans):
            assert "最初の 3 か所を調べたかぎり" in render(found, colour=False)
            bounded = True
    assert bounded


def copied(world: World, folder: Path, *more: str) -> World:
    shutil.copytree(world.run.artifacts, folder / "artifacts")
    other = replace(world, run=replace(world.run, artifacts=folder / "artifacts"))
    if more:
        shutil.rmtree(other.run.root("index"))
        make_index(other, *more)
    return other


def test_the_number_of_shards_changes_no_trace(world: World, searcher: Searcher, tmp_path: Path) -> None:
    one = Searcher.open(copied(world, tmp_path, "--set", "index.shard_bytes=1000000").run)
    assert len(one.texts.shards) == 1 < len(searcher.texts.shards)
    for text in answers(world):
        for settings in (
            TraceSettings(min_chars=2, max_occurrences=5),
            TraceSettings(min_chars=3, documents=2, context_chars=9, keep_per_char=0.05),
        ):
            assert replace(trace_text(one, text, settings), index="") == replace(trace_text(searcher, text, settings), index="")


def test_removed_documents_are_not_traced(world: World, tmp_path: Path) -> None:
    other = copied(world, tmp_path)
    searcher = Searcher.open(other.run)
    rows = world.rows()
    text = rows[0]["text"][:300]
    assert rows[0]["doc_id"] in {document.doc_id for document in trace_text(searcher, text).documents}
    gone = {row["doc_id"] for row in rows[:9]}
    catalog.remove(open_sealed(other.run.root("index")), sorted(gone), "test")
    left = [row for row in rows if row["doc_id"] not in gone]
    for answer in (text, *answers(world)[:3]):
        check(trace_text(searcher, answer, TraceSettings(min_chars=3)), world, left)


def test_the_unlikeliest_spans(world: World, searcher: Searcher) -> None:
    whole = "".join(row["text"] for row in world.rows())
    for text in answers(world)[:4]:
        every, few = (trace_text(searcher, text, TraceSettings(min_chars=3, keep_per_char=keep)) for keep in (0, 0.02))
        assert few.found == every.found and few.covered == every.covered
        assert len(few.spans) == min(math.ceil(0.02 * len(text)), every.found)
        likely = {span.text: sum(math.log10(whole.count(c) / len(whole)) for c in span.text) for span in every.spans}
        for span in few.spans:
            assert span.log10_probability == pytest.approx(likely[span.text])
        assert max(likely[span.text] for span in few.spans) <= sorted(likely.values())[len(few.spans) - 1] + 1e-9
        assert all(span.log10_probability is None for span in every.spans)


def test_documents_are_bounded_and_shared(world: World, searcher: Searcher) -> None:
    text = answers(world)[8]
    for most in (0, 1, 3, 100):
        found = trace_text(searcher, text, TraceSettings(min_chars=3, documents=most, context_chars=0))
        assert len(found.documents) <= most
        check_documents(found, world, world.rows(), frozenset())
    assert found.spans and all(span.shown for span in found.spans), "with room for all, every span is shown somewhere"


@given(st.text("aが🙂\n", max_size=12), st.lists(st.text("aが🙂\n", max_size=12), max_size=4), st.integers(1, 3))
def test_maximal_spans_by_their_definition(text: str, documents: list[str], least: int) -> None:
    lengths = []
    for begin in range(len(text)):
        fits = (n for n in range(len(text) - begin, 0, -1) if any(text[begin : begin + n] in body for body in documents))
        lengths.append(len(text[begin : begin + next(fits, 0)].encode()))
    begins = np.cumsum([0, *(len(character.encode()) for character in text)])[:-1].astype(np.int64)
    found = find_maximal_spans(begins, np.array(lengths, np.int64), min_chars=least)
    assert found == sorted(truth([{"text": body} for body in documents], text, least))
    assert count_covered(found) == len({i for begin, end in found for i in range(begin, end)})


def test_ranges_hold_the_same_iterations() -> None:
    for numbers in (set[int](), {1}, {0, 1, 2}, {3, 4, 7, 9, 10}, set(range(5, 30)) - {11}):
        made = make_ranges(numbers)
        assert {i for begin, end in made.tolist() for i in range(begin, end)} == numbers
        assert made.shape == (len(made), 2) and all(a < b for a, b in zip(made[:-1, 1], made[1:, 0], strict=True))


@pytest.mark.parametrize(("text", "why"), [("", "empty"), (" \n\u3000", "empty"), ("源\udcff", "not valid Unicode")])
def test_a_text_that_is_none_is_refused(searcher: Searcher, text: str, why: str) -> None:
    with pytest.raises(BadInput, match=f"the text to trace is {why}"):
        trace_text(searcher, text)


@pytest.mark.parametrize(
    "settings", [{"min_chars": 0}, {"max_occurrences": 0}, {"documents": -1}, {"context_chars": -1}, {"keep_per_char": 1.5}]
)
def test_settings_that_are_none_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(BadInput, match="expected"):
        TraceSettings(**settings)  # type: ignore[arg-type]


def test_spelling_is_folded_to_the_corpus_normal_form(searcher: Searcher) -> None:
    assert trace_text(searcher, "か\u3099か\u3099", TraceSettings(min_chars=1)).text == "がが"


def test_as_people_read_it(world: World, searcher: Searcher) -> None:
    row = next(row for row in world.rows() if row["text"].startswith("第7章"))
    found = trace_text(searcher, "鱻\x1b[2J第7章はaだけの文である。\n次の行鱻", TraceSettings(documents=1))
    (span,) = found.spans
    assert span.text == "第7章はaだけの文である。\n次の行" and span.count == 1
    plain = render(found, colour=False)
    assert plain.startswith("鱻\ufffd[2J⟦第7章はaだけの文である。\n次の行⟧鱻\n")
    assert f"[1] 「第7章はaだけの文である。⏎次の行」 1 か所、1 文書 (a 1)、イテレーション: {span.first}" in plain
    assert f"(1) 文書7  https://example.jp/a/7  {row['doc_id']}  出典: a  一致: [1]" in plain
    assert "\n    次の行⟧へ続く。" in plain and "全体の 73.9%" in plain
    assert f"{MARK}第7章はaだけの文である。\n次の行{PLAIN}鱻" in render(found, colour=True)
    nothing = render(trace_text(searcher, "鱻麤龘"), colour=False)
    assert "8 文字以上の一致はありません" in nothing and short_digest(searcher.texts.digest) in nothing


def test_the_command_line(world: World, searcher: Searcher, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["--run", str(world.run.path), "--artifacts", str(world.run.artifacts)]
    text = world.rows()[0]["text"][:100]
    file = tmp_path / "answer.txt"
    file.write_text(text, "utf-8")
    for options in (["--text", text], ["--file", str(file)]):
        main([*line, *options, "--min-chars", "5", "--json"])
        assert json.loads(capsys.readouterr().out) == json.loads(
            json.dumps(trace_text(searcher, text, TraceSettings(min_chars=5)).as_dict())
        )
    main([*line, "--text", text, "--dry-run"])
    assert "8 文字以上の一致を探します" in capsys.readouterr().out
    file.write_bytes(b"\xff")
    for options, why in (
        (["--file", str(file)], "answer.txt: not readable as UTF-8 text"),
        (["--file", str(tmp_path / "none")], "none: no such file"),
        (["--text", " "], "the text to trace is empty"),
        (["--text", "a", "--min-chars", "0"], "min_chars = 0"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "search.commands.trace", *line, *options],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2 and why in done.stderr and done.stderr.count("\n") == 1
