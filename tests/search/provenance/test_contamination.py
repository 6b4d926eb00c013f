"""Contamination against brute force over the small world: counts, shares of n-grams, and what each checkpoint had read."""

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

from corpus.decontaminate import DecontaminateSettings, load_benchmarks
from pipeline.artifact import open_sealed
from pipeline.errors import ConfigError
from pipeline.files import short_digest
from pipeline.text.benchmark_files import Passage, read_passages
from pipeline.text.benchmark_match import MatchSettings
from pipeline.text.fold import fold, fold_offsets, to_text
from search.commands.contamination import list_checkpoints, main, render
from search.provenance import contamination as module
from search.provenance.contamination import Contamination, ItemReport, find_contamination
from search.searcher import Searcher
from search.shard import catalog
from tests.search.conftest import make_index
from tests.search.helpers.world import World, make_world

ROOT = Path(__file__).parents[3]
FEW = MatchSettings(ngram=5, min_share=0.5, shortest=4)
Row = dict[str, str]


def texts(world: World) -> list[str]:
    """Held-out texts, and slices of read ones: whole, changed, joined, absent."""
    rng = random.Random(4)
    made = [row["text"][:50] for row in world.held_out]
    for row in rng.sample(world.rows(), 5):
        at = rng.randrange(max(len(row["text"]) - 30, 1))
        piece = row["text"][at : at + 30]
        made += [piece, piece[:9] + "鱻" + piece[10:], piece + "鱻" * 4 + "。".join(row["text"][:12])]
    made += ["鱻麤龘鱻麤龘", "源氏物語", "🙂を実行する。が", world.rows()[0]["text"][:60]]
    return [text for text in dict.fromkeys(made) if text.strip()]


def passages(rows: list[str]) -> list[Passage]:
    return [Passage("b.json", str(number), "text", text) for number, text in enumerate(rows)]


def starts(text: str, part: str) -> Iterator[int]:
    at = text.find(part)
    while at >= 0:
        yield at
        at = text.find(part, at + 1)


class Document:
    """One row's folded text, and the iterations that read each byte of the row's text, token by token."""

    def __init__(self, world: World, row: Row) -> None:
        text = row["text"]
        self.folded = to_text(fold(text))
        byte_at = [0]
        for character in text:
            byte_at.append(byte_at[-1] + len(character.encode()))
        self._spans = [(byte_at[at], byte_at[at + 1]) for at in fold_offsets(text).tolist()]
        self._read: list[set[int]] = []
        for number, token in enumerate(world.tokenizer.encode(text)):
            self._read += [world.read[row["doc_id"], number]] * len(world.tokenizer.token_bytes(token))
        assert len(self._read) == byte_at[-1]

    def first(self, at: int, length: int) -> float:
        """By which iteration every byte of folded characters [at, at + length) had been read."""
        read = self._read[self._spans[at][0] : self._spans[at + length - 1][1]]
        return max(min(iterations, default=float("inf")) for iterations in read)


def check(item: ItemReport, documents: list[Document], checkpoints: tuple[int, ...], settings: MatchSettings) -> None:
    """Compare one item with substring search in folded text."""
    text, width = to_text(fold(item.text)), settings.ngram
    assert item.characters == len(text)
    count, holding, share, first, shares = 0, 0, 0.0, float("inf"), [0.0] * len(checkpoints)
    grams = {text[i : i + width] for i in range(len(text) - width + 1)}
    for document in documents if len(text) >= settings.shortest else ():
        whole = list(starts(document.folded, text))
        if len(text) >= width:
            first_of = {g: [document.first(at, width) for at in starts(document.folded, g)] for g in grams}
            own = sum(bool(found) for found in first_of.values()) / len(grams)
            had = [sum(any(f <= c for f in found) for found in first_of.values()) / len(grams) for c in checkpoints]
        else:
            own = float(bool(whole))
            had = [float(any(document.first(at, len(text)) <= c for at in whole)) for c in checkpoints]
        if own < settings.min_share:
            continue
        holding, count, share = holding + 1, count + len(whole), max(share, own)
        first = min([first, *(document.first(at, len(text)) for at in whole)])
        shares = [max(pair) for pair in zip(shares, had, strict=True)]
    assert (item.count, item.documents, item.share) == (count, holding, pytest.approx(share))
    assert item.first == (None if first == float("inf") else first)
    assert item.shares == pytest.approx(shares)


@pytest.mark.parametrize("settings", [FEW, MatchSettings(ngram=9, min_share=0.3, shortest=9), MatchSettings()])
def test_counts_shares_and_checkpoints(world: World, searcher: Searcher, settings: MatchSettings) -> None:
    rows = passages(texts(world))
    found = find_contamination(searcher, rows, (14, 3, 8), settings)
    assert found.checkpoints == (3, 8, 14, world.total)
    assert [(item.item, item.text) for item in found.items] == [(row.item, row.text) for row in rows]
    documents = [Document(world, row) for row in world.rows()]
    for item in found.items:
        check(item, documents, found.checkpoints, settings)
        for checkpoint in (None, *found.checkpoints):
            share = item.share if checkpoint is None else item.shares[found.checkpoints.index(checkpoint)]
            whole = bool(item.count) if checkpoint is None else item.first is not None and item.first <= checkpoint
            near = share >= settings.min_share and item.characters >= settings.ngram
            assert found.verdict(item, checkpoint) == ("exact" if whole else "near" if near else None)
        reads = [found.verdict(item, checkpoint) is not None for checkpoint in found.checkpoints]
        assert reads == sorted(reads), "what a checkpoint had read, later ones had read"
    if settings == FEW:
        assert {found.verdict(item) for item in found.items} == {"exact", "near", None}
        later = [found.verdict(item, 3) != found.verdict(item, world.total) for item in found.items]
        assert any(later), "some text must be read between the checkpoints"


def test_discarded_iterations_have_read_nothing(world: World, searcher: Searcher) -> None:
    rows = passages(texts(world))
    other = Searcher(open_sealed(world.run.root("index")), ((3, 6), (11, 11)))
    gone = {3, 4, 5, 6, 11}
    kept = replace(world, read={key: iterations - gone for key, iterations in world.read.items()})
    documents = [Document(kept, row) for row in world.rows()]
    found = find_contamination(other, rows, (5, 12), FEW)
    for item in found.items:
        check(item, documents, found.checkpoints, FEW)
    assert found.items != find_contamination(searcher, rows, (5, 12), FEW).items


def test_totals_are_of_what_counts(world: World, searcher: Searcher) -> None:
    every = [*texts(world), "の", "を", *texts(world)[:3]]
    rows = [row._replace(field="ab"[n % 2]) for n, row in enumerate(passages(every))]
    found = find_contamination(searcher, rows, (5,), FEW)
    for field in (None, "a", "b"):
        mine = [item for item in found.items if field in (None, item.field)]
        total = found.total(field)
        assert (total.texts, total.short) == (len(mine), sum(item.characters < FEW.shortest for item in mine))
        assert total.exact == sum(bool(item.count) for item in mine)
        assert total.exact + total.near == sum(found.verdict(item) is not None for item in mine)
        for checkpoint, (exact, near) in zip((5, world.total), total.read, strict=True):
            assert exact == sum(item.first is not None and item.first <= checkpoint for item in mine)
            assert exact + near == sum(found.verdict(item, checkpoint) is not None for item in mine)
    assert found.fields == ("a", "b")


def test_shards_removals_and_epochs(
    world: World, searcher: Searcher, tmp_path: Path, ray_session: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(world.run.artifacts, tmp_path / "artifacts")
    other = replace(world, run=replace(world.run, artifacts=tmp_path / "artifacts"))
    shutil.rmtree(other.run.root("index"))
    make_index(other, "--set", "index.shard_bytes=1000000")
    one = Searcher.open(other.run)
    rows = passages(texts(world)[:12])
    assert len(one.texts.shards) == 1 < len(searcher.texts.shards)
    monkeypatch.setattr(module, "DOCUMENTS_PER_TASK", 7)
    scanned: list[int] = []
    found = find_contamination(one, rows, (7,), FEW, advance=scanned.append)
    assert replace(found, index="") == replace(find_contamination(searcher, rows, (7,), FEW), index="")
    assert sum(scanned) == len(world.rows()) and max(scanned) == 7
    gone = {row["doc_id"] for row in world.rows()[::2]}
    catalog.remove(open_sealed(other.run.root("index")), sorted(gone), "test")
    documents = [Document(world, row) for row in world.rows() if row["doc_id"] not in gone]
    for item in find_contamination(one, rows, (7,), FEW).items:
        check(item, documents, (7, world.total), FEW)
    small = make_world(tmp_path / "small", iterations=60, documents=10)
    make_index(small)
    documents = [Document(small, row) for row in small.rows()]
    for item in find_contamination(Searcher.open(small.run), rows[:6], (9, 30), FEW).items:
        check(item, documents, (9, 30, 60), FEW)


FULL_WIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
HALF_WIDTH = {unicodedata.normalize("NFKC", chr(code)): chr(code) for code in range(0xFF61, 0xFFA0)}


def half_width(text: str) -> str:
    """Katakana and punctuation of half width; a voicing mark becomes a character of its own."""
    return "".join(HALF_WIDTH.get(character, character) for character in unicodedata.normalize("NFD", text))


TWINS = (
    lambda text: text, lambda text: text.translate(FULL_WIDTH), half_width, str.upper, str.lower,
    lambda text: unicodedata.normalize("NFD", text),
)  # fmt: skip


def test_decontamination_and_contamination_agree_on_every_twin(world: World, searcher: Searcher, tmp_path: Path) -> None:
    rng = random.Random(8)
    items, planted = [], []
    for row in rng.choices([row for row in world.rows() if len(row["text"]) > 100], k=80):
        at = rng.randrange(len(row["text"]) - 70)
        piece = row["text"][at : at + rng.randrange(6, 70)]
        changed = piece[: len(piece) // 5] + "鱻" + piece[len(piece) // 5 :]
        for text, is_whole in ((piece, True), (changed, False)):
            items += [twin(text) for twin in TWINS]
            planted += [is_whole and len(fold(piece)) >= MatchSettings().shortest] * len(TWINS)
    bench = tmp_path / "b.jsonl"
    bench.write_text("".join(json.dumps({"id": n, "question": text}) + "\n" for n, text in enumerate(items)), "utf-8")
    assert len(items) >= 500
    index = load_benchmarks(DecontaminateSettings((bench,)))
    removed = {int(hit.item) for row in world.rows() for hit in index.hits(row["text"])}
    found = find_contamination(searcher, read_passages(bench))
    reported = {int(item.item): found.verdict(item) for item in found.items}
    assert {number for number, verdict in reported.items() if verdict} == removed
    for number, is_planted in enumerate(planted):
        if is_planted:
            assert reported[number] == "exact", items[number]
    verdicts = [{reported[n + twin] for twin in range(len(TWINS))} for n in range(0, len(items), len(TWINS))]
    assert all(len(group) == 1 for group in verdicts), "twins of one item have one verdict"
    assert {verdict for group in verdicts for verdict in group} == {"exact", "near", None}


def test_checkpoints_outside_the_training_are_refused(searcher: Searcher) -> None:
    for checkpoint in (0, -1, searcher.total + 1):
        with pytest.raises(ConfigError, match=f"checkpoints .{checkpoint}.: expected iterations of 1 to {searcher.total}"):
            find_contamination(searcher, passages(["b"]), [checkpoint])


def test_the_table(world: World, searcher: Searcher) -> None:
    whole = "第7章はaだけの文である。\n次の行へ続く。"
    rows = [
        Passage("b.json", "1", "question", whole),
        Passage("b.json", "1", "choice", "鱻" * 20),
        Passage("b.json", "q\x1b2", "question", whole[:18] + "鱻"),
        Passage("b.json", "3", "choice", "短い"),
    ]
    found = find_contamination(searcher, rows, (), benchmark="b.json")
    first = found.items[0].first
    text = render(found, limit=1)
    heads, question, choice, every = (line.split() for line in text.splitlines()[1:5])
    assert heads == ["項目", "文", "短い", "完全一致", "近似", "25", "まで"]
    assert question == ["question", "2", "0", "1", "1", "1+1"] and choice == ["choice", "2", "1", "0", "0", "0+0"]
    assert every == ["全体", "4", "1", "1", "1", "1+1"]
    assert f"1 question: 完全一致 1 か所、6 文書、{first}/25 までに既読  「第7章はaだけの文である。⏎次の行へ続く。」" in text
    assert "ほか 1 文" in text and "近似 80%" not in text and "2/3 文" in text
    more = render(found, limit=9)
    # 17 folded characters, 5 n-grams of 13, of which 鱻 takes one
    assert "q\ufffd2 question: 近似 80%、1 文書、25 までに既読" in more and "\x1b" not in more
    nothing = render(find_contamination(searcher, passages(["鱻麤龘"])), limit=9)
    assert "数える文はありません" in nothing and short_digest(searcher.texts.digest) in nothing


def test_the_command_line(world: World, searcher: Searcher, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["--run", str(world.run.path), "--artifacts", str(world.run.artifacts), "--bench"]
    bench = tmp_path / "b.jsonl"
    rows: list[dict[str, Any]] = [{"id": f"x{n}", "text": text, "other": "鱻"} for n, text in enumerate(texts(world))]
    bench.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    main([*line, str(bench), "--json", "--checkpoints", "3, 9", "--fields", "te*, nothing", "--ngram", "5", "--share", "0.5"])
    printed = json.loads(capsys.readouterr().out)
    settings = MatchSettings(ngram=5, min_share=0.5, shortest=5)
    wanted = find_contamination(searcher, read_passages(bench, ("text",)), (3, 9), settings, benchmark="b.jsonl")
    assert printed == json.loads(json.dumps(wanted.as_dict()))
    assert printed["checkpoints"] == [3, 9, world.total] and printed["by_field"].keys() == {"text"}
    assert printed["total"]["exact"] == sum(row["verdict"] == "exact" for row in printed["items"])
    main([*line, str(bench)])
    assert "汚染検査: " in capsys.readouterr().out
    main([*line, str(bench), "--dry-run"])
    assert "探します" in capsys.readouterr().out
    for options, why in (
        (["none"], "none: no such benchmark file"),
        ([str(bench), "--checkpoints", "x"], "--checkpoints 'x'"),
        ([str(bench), "--share", "2"], "min_share = 2.0: expected a share"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "search.commands.contamination", *line, *options],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 2 and why in done.stderr and done.stderr.count("\n") == 1


def test_checkpoints_that_the_run_has_kept(world: World, tmp_path: Path) -> None:
    run = replace(world.run, artifacts=tmp_path)
    assert list_checkpoints(run) == []
    for name in ("iter_0000020", "iter_0000005", "iter_0000007.partial-1a2b", "latest.json"):
        (run.root("pretrain") / "checkpoints" / name).mkdir(parents=True)
    assert list_checkpoints(run) == [5, 20]


def test_results_are_repeatable(world: World, searcher: Searcher) -> None:
    found = find_contamination(searcher, passages(["源氏物語" * 5]))
    assert isinstance(found, Contamination) and found.index == searcher.texts.digest
    assert found == find_contamination(searcher, passages(["源氏物語" * 5]))
