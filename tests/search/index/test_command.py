"""`python -m search.index` and `python -m search` as they are run: resumed after kill -9, printed for people and programs."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from pipeline.artifact import open_sealed
from pipeline.errors import BadInput, ConfigError, MissingInput, RecipeDrift
from pipeline.files import short_digest
from pipeline.text.terminal import MARK, PLAIN
from search import __main__ as command
from search.__main__ import render_page
from search.hits import Hit, Page
from search.searcher import Searcher
from tests.helpers import kill_when
from tests.search.conftest import make_index
from tests.search.helpers.world import World, make_world

ROOT = Path(__file__).parents[3]
HIT = Hit(
    1,
    "vector",
    "ja_web",
    "https://example.jp/1",
    "題",
    "2020-01-02",
    "00ff",
    "源氏物語は\x1b[2J長い。\n",
    ((0, 4),),
    0.51234567,
    (412,),
    600,
)


def ask(world: World, *more: str) -> None:
    command.main(["--run", str(world.run.path), "--artifacts", str(world.run.artifacts), *more])


def copied(world: World, artifacts: Path, *stages: str) -> World:
    for stage in stages:
        shutil.copytree(world.run.root(stage), artifacts / stage / world.run.name)
    return replace(world, run=replace(world.run, artifacts=artifacts))


def test_killed_and_run_again_gives_the_bytes_of_an_uninterrupted_run(world: World, tmp_path: Path) -> None:
    """Killed among the text shards, killed among the vectors, finished with one worker; the fixture had two and no kill."""
    again = copied(world, tmp_path, "corpus", "tokenizer", "pack", "pretrain")
    root = again.run.root("index")
    line = [sys.executable, "-m", "search.index", "--run", str(world.run.path), "--artifacts", str(tmp_path)]
    line += ["--set", "ray.workers=1"]
    for step in ("text", "vectors"):
        kill_when(line, partial(has_receipts, root / "receipts" / step))
        assert not (root / "manifest.json").exists()
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert open_sealed(root).digest == open_sealed(world.run.root("index")).digest
    assert not list(root.rglob("*.unfinished-*"))


def test_a_sealed_index_is_skipped_and_said(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    make_index(world)
    assert "索引: 作成済みのため省略します" in capsys.readouterr().out


def test_another_setting_is_refused(world: World) -> None:
    with pytest.raises(RecipeDrift, match=r"settings.passage_most: 60 -> 80"):
        make_index(world, "--set", "index.passage_most=80")


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("index.passage_least=90", "passage_least must be between 1 and passage_most"),
        ("index.dimensions=0", "must be at least 1"),
        ("index.shard_bytes=1000000000000", "shard_bytes must be between"),
        ("index.dimension=3", "did you mean 'dimensions'"),
    ],
)
def test_bad_settings_are_refused(world: World, override: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        make_index(world, "--set", override)


def test_training_that_read_nothing_has_no_index(tmp_path: Path, ray_session: None) -> None:
    world = make_world(tmp_path, iterations=0, documents=6)
    with pytest.raises(BadInput, match="training read none"):
        make_index(world)


def test_dry_runs_need_nothing(tmp_path: Path, world: World, capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = replace(world, run=replace(world.run, artifacts=tmp_path))
    make_index(nowhere, "--dry-run")
    ask(nowhere, "--query", "源氏", "--dry-run")
    out = capsys.readouterr().out
    assert "40,000 バイトごと" in out and "n-gram、ベクトル" in out
    assert not list(tmp_path.iterdir())
    with pytest.raises(MissingInput, match="make index"):
        ask(nowhere, "--query", "源氏")


def test_json_is_the_page(world: World, searcher: Searcher, capsys: pytest.CaptureFixture[str]) -> None:
    ask(world, "--query", "源氏物語", "--json", "--limit", "2", "--offset", "1")
    got = json.loads(capsys.readouterr().out)
    assert list(got) == ["query", "ngram", "vector", "spread"] and got["query"] == "源氏物語"
    assert got["spread"] == searcher.texts.spread("源氏物語").as_dict()
    for mode in ("ngram", "vector"):
        assert got[mode] == searcher.search("源氏物語", mode, offset=1, limit=2).as_dict()
        assert [hit["rank"] for hit in got[mode]["hits"]] == [2, 3]


def test_the_command_line_from_outside(world: World) -> None:
    line = [sys.executable, "-m", "search", "--run", str(world.run.path), "--artifacts", str(world.run.artifacts)]
    done = subprocess.run(
        [*line, "--query", "源氏物語", "--mode", "ngram"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("検索: n-gram | 順位: 1 | 出典: a | イテレーション: ") and "\x1b" not in done.stdout
    refused = subprocess.run([*line, "--query", " "], cwd=ROOT, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert refused.stderr == "error: BadInput: the query is empty; give some text\n"


def test_a_hit_as_people_read_it() -> None:
    page = Page((HIT,), 3, 0, 15_000_000, "sha256:0123456789abcdef")
    label = "検索: ベクトル | 順位: 1 | 出典: ja_web | イテレーション: 412/600"
    origin = "— 題  https://example.jp/1  00ff"
    end = "ベクトル: 3 件中 1–1 件目 (15,000,000 バイトの学習データ、索引 01234567)\n"
    assert render_page(page, "vector", colour=False) == f"{label}\n源氏物語は\ufffd[2J長い。\n{origin}\n\n{end}"
    assert render_page(page, "vector", colour=True) == f"{label}\n{MARK}源氏物語{PLAIN}は\ufffd[2J長い。\n{origin}\n\n{end}"


@pytest.mark.parametrize(
    ("iterations", "shown"),
    [((), "未読"), ((7,), "7/600"), ((1, 2, 3), "1, 2, 3/600"), ((1, 2, 3, 600), "1, 2, 3, …/600")],
)
def test_label_shows_the_first_iterations(iterations: tuple[int, ...], shown: str) -> None:
    label = replace(HIT, mode="ngram", rank=2, iterations=iterations).label()
    assert label == f"検索: n-gram | 順位: 2 | 出典: ja_web | イテレーション: {shown}"


def test_a_page_says_what_a_checkpoint_had_read(world: World, searcher: Searcher, capsys: pytest.CaptureFixture[str]) -> None:
    page = searcher.search("源氏物語", "ngram", limit=5)
    spread = searcher.texts.spread("源氏物語")
    for checkpoint in (1, world.total):
        ask(world, "--query", "源氏物語", "--mode", "ngram", "--checkpoint", str(checkpoint))
        out = capsys.readouterr().out
        for hit in page.hits:
            read = bool(hit.iterations) and min(hit.iterations) <= checkpoint
            assert f"{hit.label()} | チェックポイント {checkpoint}: {'既読' if read else '未読'}\n" in out
        assert f"{spread.documents:,} 文書、重複を除く前は {spread.crawled:,} 文書" in out
    with pytest.raises(BadInput, match="iterations 1 to"):
        ask(world, "--query", "源氏物語", "--checkpoint", str(world.total + 1))


def test_a_hit_as_json() -> None:
    assert HIT.as_dict() == {
        "rank": 1, "mode": "vector", "source": "ja_web", "url": "https://example.jp/1", "title": "題", "date": "2020-01-02",
        "doc_id": "00ff",
        "text": "源氏物語は\x1b[2J長い。\n", "spans": [[0, 4]], "score": 0.512346, "iterations": [412], "discarded": [],
        "total_iterations": 600,
    }  # fmt: skip


def test_nothing_found_says_what_was_searched(world: World, searcher: Searcher, capsys: pytest.CaptureFixture[str]) -> None:
    ask(world, "--query", "鱻麤龘")
    digest, size = short_digest(searcher.texts.digest), f"{searcher.texts.searched_bytes:,}"
    searched = f"({size} バイトの学習データ、索引 {digest})"
    assert (
        capsys.readouterr().out == f"n-gram: 見つかりませんでした {searched}\n\nベクトル: 見つかりませんでした {searched}\n\n"
    )
    ask(world, "--query", "源氏物語", "--mode", "ngram", "--offset", "100000")
    assert "この先はありません (完全一致" in capsys.readouterr().out


@pytest.mark.parametrize(("module", "heavier"), [("search.hits", ("numba", "scipy", "numpy")), ("search.searcher", ())])
def test_hits_are_light_to_import(module: str, heavier: tuple[str, ...]) -> None:
    heavy = ("faiss", "pyarrow", "sklearn", "sentencepiece", "pydivsufsort", *heavier)
    code = f"import sys, {module}; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def has_receipts(folder: Path) -> bool:
    return any(folder.glob("*.json"))
