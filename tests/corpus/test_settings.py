"""`[corpus]`: which combinations are refused, and that whatever decides bytes is an input of the artifact."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from corpus.__main__ import main
from corpus.decontaminate import load_benchmarks
from corpus.filters import rules
from corpus.increment.settings import BaseSettings
from corpus.inputs import open_inputs
from corpus.readers import SourceSettings
from corpus.settings import CorpusSettings
from corpus.stats import word_lists
from pipeline.errors import ConfigError, RecipeDrift
from pipeline.runfile import build_settings, load_run
from tests.corpus.helpers.pages import html, prose
from tests.corpus.test_stage import SOURCE

ROW = {"name": "a", "reader": "html", "path": "p", "licence": "CC0", "attribution": "test"}
QUESTIONS = (
    "日本で梅雨がないのは北海道とどこの諸島であるか。",
    "「サーバー」と「クライアント」を結ぶプロトコルの名前は何ですか？",
)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, r"sources: expected one or more \[\[corpus.sources\]\] .* or none and \[corpus.base\]"),
        ({"sources": [ROW, ROW]}, r"different names, .* got \['a', 'a'\]"),
        ({"base": {"run": "b"}, "sources": [ROW, ROW]}, "different names"),
        ({"base": {"remove": ["host:a.jp"]}}, "set run"),
        ({"sources": [ROW], "max_failed_share": 1.5}, "expected a share"),
    ],
)
def test_what_is_refused(table: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_settings(table, CorpusSettings, "t.toml [corpus]")


def test_no_sources_are_enough_with_a_base() -> None:
    assert build_settings({"base": {"run": "b"}}, CorpusSettings, "t") == CorpusSettings(base=BaseSettings("b"))
    assert build_settings({"sources": [ROW]}, CorpusSettings, "t").sources == (SourceSettings("a", "html", "CC0", "test", "p"),)


def write_quiz(folder: Path, *texts: str) -> None:
    rows = [json.dumps({"id": f"q{number}", "question": text}) + "\n" for number, text in enumerate(texts)]
    (folder / "quiz.jsonl").write_text("".join(rows), "utf-8")
    load_benchmarks.cache_clear()  # a process reads a file once


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Path:
    """Sealed runs `base` and `grown`, which lets a page go that a list names."""
    folder = tmp_path_factory.mktemp("inputs")
    write_quiz(folder, QUESTIONS[0])
    more = f'[corpus.decontaminate]\nfiles = ["{(folder / "quiz.jsonl").as_posix()}"]\n'
    for name, seeds in (("base", range(3)), ("grown", range(10, 12))):
        (folder / name).mkdir()
        for seed in seeds:
            (folder / name / f"{seed}.html").write_bytes(html(prose(random.Random(seed), 30)))
        source = SOURCE.format(name="fetch", reader="html", path=(folder / name).as_posix())  # a name like another input's
        (folder / f"{name}.toml").write_text(more + source, "utf-8")
    (folder / "list.txt").write_text("url:0.html\n", "utf-8")
    table = f'[corpus.base]\nrun = "base"\nremove = ["file:{(folder / "list.txt").as_posix()}"]\n'
    with (folder / "grown.toml").open("a", encoding="utf-8") as file:
        file.write(table)
    make(folder, "base")
    make(folder, "grown")
    return folder


def make(folder: Path, name: str, *options: str) -> None:
    main(["--run", str(folder / f"{name}.toml"), "--artifacts", str(folder / "artifacts"), *options])


def digests(folder: Path, name: str) -> dict[str, str]:
    run = load_run(str(folder / f"{name}.toml"), artifacts=str(folder / "artifacts"))
    return open_inputs(run, run.settings("corpus", CorpusSettings)).digests


def test_everything_read_is_an_input(made: Path) -> None:
    assert digests(made, "base").keys() == {"source fetch", "preset minamoto", "benchmarks"}
    assert digests(made, "grown").keys() == {"source fetch", "preset minamoto", "benchmarks", "base", "base remove"}


@pytest.mark.parametrize(
    ("name", "file", "text", "changed"),
    [
        ("base", "quiz.jsonl", json.dumps({"id": "q0", "question": QUESTIONS[1]}) + "\n", "inputs.benchmarks"),
        ("grown", "list.txt", "# asked for later\nurl:1.html\n", "inputs.base remove"),
        ("base", "base/0.html", html(prose(random.Random(5), 30)).decode(), "inputs.source fetch"),
    ],
)
def test_a_sealed_corpus_notices_other_content_at_the_same_place(
    made: Path, name: str, file: str, text: str, changed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make(made, name)
    assert "作成済みのため省略します" in capsys.readouterr().out
    before = (made / file).read_bytes()
    try:
        (made / file).write_text(text, "utf-8")
        load_benchmarks.cache_clear()
        with pytest.raises(RecipeDrift, match=rf"\({changed}: '"):
            make(made, name)
    finally:
        (made / file).write_bytes(before)
        load_benchmarks.cache_clear()
    make(made, name)
    assert "作成済みのため省略します" in capsys.readouterr().out


def test_order_and_comments_of_a_list_change_nothing(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (made / "list.txt").write_text("# the same\n\nurl:0.html\nurl:0.html\n", "utf-8")
    make(made, "grown")
    assert "作成済みのため省略します" in capsys.readouterr().out


def _other_hosts(folder: Path, patch: pytest.MonkeyPatch) -> None:
    shutil.copytree(rules.PRESETS, folder / "presets")
    text = (folder / "presets" / "minamoto.toml").read_text("utf-8")
    (folder / "presets" / "minamoto.toml").write_text(f'{text}\n[hosts]\ndeny = ["spam.example"]\n', "utf-8")
    patch.setattr(rules, "PRESETS", folder / "presets")
    patch.setattr(rules, "_read", rules._read.__wrapped__)


def _other_words(_: Path, patch: pytest.MonkeyPatch) -> None:
    load = word_lists.WordLists.load

    def changed(names: tuple[str, ...]) -> word_lists.WordLists:
        lists = load(names).lists
        return word_lists.WordLists((*lists[:-1], (lists[-1][0], ("別の語",))))

    patch.setattr(word_lists.WordLists, "load", staticmethod(changed))


@pytest.mark.parametrize("change", [_other_hosts, _other_words])
def test_lists_of_a_preset_are_inputs(
    change: Callable[[Path, pytest.MonkeyPatch], None], made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digests(made, "base")
    change(tmp_path, monkeypatch)
    after = digests(made, "base")
    assert {name for name in before if before[name] != after[name]} == {"preset minamoto"} and before.keys() == after.keys()


@pytest.mark.parametrize(
    "option", ['corpus.mask.kinds=["email"]', "corpus.boilerplate.enabled=true", "corpus.decontaminate.ngram=15"]
)
def test_settings_of_what_changes_texts_are_part_of_the_recipe(option: str, made: Path) -> None:
    with pytest.raises(RecipeDrift, match=option.partition("=")[0].removeprefix("corpus.")):
        make(made, "base", "--set", option)
