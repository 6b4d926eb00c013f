"""Exposure against what each batch held, token by token."""

import json
import shutil
import subprocess
import sys
import unicodedata
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.artifact import open_sealed
from pipeline.errors import BadInput
from pipeline.files import short_digest
from pipeline.reading_order import Order
from search.commands import exposure as command
from search.provenance import exposure, occurrences
from search.provenance.exposure import Exposure
from search.searcher import Searcher
from search.shard import catalog
from tests.search.conftest import make_index
from tests.search.helpers.world import World, make_world

ROOT = Path(__file__).parents[3]
QUERIES = ("源氏物語", "。", "紫式部の作者", "🙂", "a.*[b]", "か\u3099", "葛\U000e0100", "第7章はaだけの文である。", "\n")
Row = dict[str, str]


def order_of(world: World) -> Order:
    return Order.open(world.run.root("pretrain") / "data" / "order", world.run.root("pack") / "data")


def reads(world: World, rows: list[Row], text: str) -> Counter[tuple[str, int]]:
    """(source, iteration) -> occurrences whose first character one of its samples had, from what every batch held."""
    order = order_of(world)
    by_token: dict[tuple[str, int], list[int]] = defaultdict(list)
    for iteration in range(1, world.total + 1):
        for span in order.documents(iteration):
            for token in range(span.begin, span.end):
                by_token[span.doc_id, token].append(iteration)
    found: Counter[tuple[str, int]] = Counter()
    for row in rows:
        for at in (i for i in range(len(row["text"])) if row["text"].startswith(text, i)):
            token = first_token(world, row, at)
            iterations = by_token[row["doc_id"], token]
            assert set(iterations) == world.read[row["doc_id"], token]
            found.update((row["source"], i) for i in iterations)
    return found


def first_token(world: World, row: Row, at: int) -> int:
    """The token that holds the first byte of character `at`."""
    byte, end = len(row["text"][:at].encode()), 0
    for number, token in enumerate(world.tokenizer.encode(row["text"])):
        end += len(world.tokenizer.token_bytes(token))
        if byte < end:
            return number
    raise AssertionError


def counted(found: Exposure) -> dict[tuple[str, int], int]:
    """(source, bucket) -> reads, where there are any."""
    return {(s, b): n for b, row in enumerate(found.reads) for s, n in zip(found.sources, row, strict=True) if n}


@pytest.mark.parametrize("text", QUERIES)
def test_every_read_is_counted_in_its_iteration_and_source(world: World, searcher: Searcher, text: str) -> None:
    rows = world.rows()
    folded = unicodedata.normalize("NFC", text)
    if not folded:
        with pytest.raises(BadInput, match="the query is empty"):
            exposure.measure_exposure(searcher, text)
        return
    truth = reads(world, rows, folded)
    held = [row for row in rows if folded in row["text"]]
    assert held and truth
    for buckets in (1, 4, 7, world.total, 1000):
        found = exposure.measure_exposure(searcher, text, buckets=buckets)
        width = max(-(-world.total // buckets), 1)
        binned: Counter[tuple[str, int]] = Counter()
        for (source, iteration), count in truth.items():
            binned[source, (iteration - 1) // width] += count
        assert counted(found) == binned and found.width == width
        assert [found.bounds(b) for b in range(len(found.reads))][-1][1] == found.total_iterations == world.total
        assert found.occurrences == searcher.count(text) and found.documents == len(held)
        assert set(found.sources) == {row["source"] for row in held}
        assert found.total == truth.total() and found.discarded == 0
        assert (found.first, found.last) == (min(i for _, i in truth), max(i for _, i in truth))
        sizes = [found.by_source[name] for name in found.sources]
        assert sizes == sorted(sizes, reverse=True)


def test_each_epoch_of_each_occurrence_is_read_or_unread(tmp_path: Path, ray_session: None) -> None:
    world = make_world(tmp_path, iterations=60, documents=10)
    make_index(world)
    searcher, order = Searcher.open(world.run), order_of(world)
    epochs = {row["doc_id"]: len(order.samples(row["source"], row["doc_id"])[1]) for row in world.rows()}
    assert max(epochs.values()) > 2
    for text in ("源氏物語", "実行する", "。"):
        found = exposure.measure_exposure(searcher, text, buckets=world.total)
        assert counted(found) == {(s, i - 1): n for (s, i), n in reads(world, world.rows(), text).items()}
        assert found.total + found.unread == sum(row["text"].count(text) * epochs[row["doc_id"]] for row in world.rows())
        assert found.total > found.occurrences


def test_undone_iterations_are_left_out_and_said(world: World, searcher: Searcher) -> None:
    text = "源氏物語"
    found = exposure.measure_exposure(searcher, text)
    assert found.unread > 0
    discarded = ((3, 6), (11, 11))
    other = exposure.measure_exposure(Searcher(open_sealed(world.run.root("index")), discarded), text, buckets=world.total)
    truth = reads(world, world.rows(), text)
    gone = {3, 4, 5, 6, 11}
    assert other.discarded == sum(count for (_, i), count in truth.items() if i in gone) > 0
    assert counted(other) == {(s, i - 1): n for (s, i), n in truth.items() if i not in gone}
    assert other.discarded_ranges == discarded and other.unread == found.unread
    assert f"5 イテレーション (除いた読み込み {other.discarded:,} 回)" in command.render_text(other)
    assert "破棄" not in command.render_text(found)


def test_shards_chunks_and_removals(world: World, searcher: Searcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(world.run.artifacts, tmp_path / "artifacts")
    other = replace(world, run=replace(world.run, artifacts=tmp_path / "artifacts"))
    shutil.rmtree(other.run.root("index"))
    make_index(other, "--set", "index.shard_bytes=1000000")
    one = Searcher.open(other.run)
    assert len(one.texts.shards) == 1 < len(searcher.texts.shards)
    monkeypatch.setattr(occurrences, "CHUNK", 7)
    for text in QUERIES[:-1]:
        joined, split = exposure.measure_exposure(one, text), exposure.measure_exposure(searcher, text)
        assert replace(joined, index="") == replace(split, index="")
    gone = {row["doc_id"] for row in world.rows()[:9]}
    catalog.remove(open_sealed(other.run.root("index")), sorted(gone), "test")
    left = [row for row in world.rows() if row["doc_id"] not in gone]
    found = exposure.measure_exposure(one, "源氏物語", buckets=world.total)
    assert counted(found) == {(s, i - 1): n for (s, i), n in reads(world, left, "源氏物語").items()}
    assert found.documents == sum("源氏物語" in row["text"] for row in left)


def test_absence_is_an_answer(searcher: Searcher, tmp_path: Path) -> None:
    found = exposure.measure_exposure(searcher, "鱻麤龘")
    assert (found.occurrences, found.total, found.sources, found.first) == (0, 0, (), None)
    shown = command.render_text(found)
    assert "0 か所" in shown and "未読" in shown and short_digest(searcher.texts.digest) in shown
    command.write_files(found, "t", tmp_path)
    assert "鱻麤龘" in (tmp_path / "exposure.html").read_text("utf-8")


def test_the_picture_and_the_page(searcher: Searcher, tmp_path: Path) -> None:
    found = exposure.measure_exposure(searcher, "源氏物語")
    strange = ("<b>", "_x", "日本", "a$b$", "e", "f", "g", "h")
    many = replace(
        found,
        text="<script>alert(1)</script>",
        sources=strange,
        reads=tuple((n, 1, 2, 3, 4, 5, 6, 7) for n in range(len(found.reads))),
    )
    for name, made in (("one", found), ("many", many)):
        command.write_files(made, "_日本$x$", tmp_path / name)
        assert (tmp_path / name / "exposure.png").read_bytes().startswith(b"\x89PNG")
        assert json.loads((tmp_path / name / "exposure.json").read_text("utf-8")) == json.loads(json.dumps(made.as_dict()))
    page = (tmp_path / "many" / "exposure.html").read_text("utf-8")
    assert "<script" not in page and "&lt;script&gt;" in page and "<svg" in page and "http-equiv" in page
    assert "2 more" in page and '<th scope="col">日本</th>' in page
    assert not [line for line in page.splitlines() if "src=" in line or "<link" in line]
    again = command.render_page(many, "_日本$x$", command.draw_figure(many, "_日本$x$"))
    assert again == page, "the same figures give the same bytes"


def test_bars_of_the_picture_are_the_reads(searcher: Searcher) -> None:
    found = exposure.measure_exposure(searcher, "。", buckets=6)
    bars, sums = command.draw_figure(found, "t").axes
    heights = [round(bar.get_height()) for bar in bars.patches]
    assert heights == [row[place] for place in range(len(found.sources)) for row in found.reads]
    assert [round(line.get_ydata()[-1]) for line in sums.get_lines()] == list(found.by_source.values())


def test_terminal_bars_add_up(searcher: Searcher) -> None:
    found = exposure.measure_exposure(searcher, "。")
    rows = [line.split() for line in command.render_text(found).splitlines() if "█" in line or line.rstrip().endswith(" 0")]
    assert sum(int(row[-2 if "█" in row[-1] else -1].replace(",", "")) for row in rows) == found.total
    with pytest.raises(BadInput, match="0 buckets"):
        exposure.measure_exposure(searcher, "。", buckets=0)


def test_the_command_line(world: World, searcher: Searcher, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["--run", str(world.run.path), "--artifacts", str(world.run.artifacts), "--query", "源氏物語"]
    command.main([*line, "--json", "--buckets", "5"])
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(json.dumps(exposure.measure_exposure(searcher, "源氏物語", buckets=5).as_dict()))
    assert printed["reads"] == sum(sum(bucket["reads"].values()) for bucket in printed["buckets"])
    out = tmp_path / "new" / "folder"
    command.main([*line, "--out", str(out)])
    assert str(out / "exposure.png") in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == ["exposure.html", "exposure.json", "exposure.png"]
    command.main([*line, "--dry-run"])
    assert "数えます" in capsys.readouterr().out
    done = subprocess.run(
        [sys.executable, "-m", "search.commands.exposure", *line[:4], "--query", ""],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, "error: BadInput: the query is empty; give some text\n")
