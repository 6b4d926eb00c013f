"""Preset files: what they say is what is judged, changes are checked, digests see what decides verdicts and nothing else."""

import dataclasses
import functools
import pickle
import tomllib
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.corpus.llmjp import Oracle, compare
from corpus.filters import rules
from corpus.filters.cleaners import CLEANERS
from corpus.filters.features import FEATURES, measure_features
from corpus.filters.hosts import HostLists, extension_of, host_of
from corpus.filters.rules import COLUMN, PRESETS, Preset, load_preset, preset_names
from corpus.settings import CorpusSettings
from pipeline.errors import ConfigError
from pipeline.runfile import build_settings
from tests.corpus.filters.test_rules import ENGLISH, PROSE, verdict

NAMES = ("code", "en", "llmjp-v1", "llmjp-v1-strict", "minamoto", "swallow-v1")
SOURCE = {"name": "a", "reader": "jsonl", "licence": "l", "attribution": "a", "path": "x"}


def test_the_presets_that_come_with_the_package() -> None:
    assert preset_names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_rule_has_a_source_a_label_and_known_columns(name: str) -> None:
    preset = load_preset(name)
    entries = tomllib.loads((PRESETS / f"{name}.toml").read_text("utf-8"))["rules"]
    assert [rule.name for rule in preset.rules] == [entry["name"] for entry in entries]
    for rule, entry in zip(preset.rules, entries, strict=True):
        assert rule.threshold == entry[rule.bound]
        assert len(rule.source) > 10 or rule.source.startswith("as ")
        assert rule.label
        assert set(rule.above + rule.below) <= set(COLUMN)
    assert set(preset.cleaners) <= set(CLEANERS)
    assert pickle.loads(pickle.dumps(preset)).digest == preset.digest


def test_presets_ask_for_the_groups_and_lists_that_their_rules_read() -> None:
    llmjp = load_preset("llmjp-v1")
    assert (llmjp.groups, llmjp.word_lists) == ({"words"}, ("ads", "adult", "discrimination", "violence"))
    assert load_preset("llmjp-v1", dict.fromkeys(("ads", "adult", "discrimination", "violence"), False)).word_lists == ()
    assert load_preset("code").groups == frozenset()
    assert load_preset("en").groups == {"paragraphs", "wordgrams"}


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("minamot", {}, "no preset 'minamot'; did you mean 'minamoto'?"),
        ("minamoto", {"kanna": 0.1}, "preset 'minamoto' has no rule 'kanna'; did you mean 'kana'?"),
        ("minamoto", {"kana": 2.0}, "kana = 2.0: expected a share from 0 to 1, the preset has 0.05"),
        ("minamoto", {"length": -1}, "length = -1.0: expected 0 or more"),
        ("minamoto", {"kuten": float("nan")}, "kuten = nan: expected 0 or more"),
    ],
)
def test_mistakes_are_named(name: str, changes: dict[str, float | bool], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_preset(name, changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_changes_set_thresholds_and_take_rules_out() -> None:
    ours = load_preset("minamoto")
    changed = load_preset("minamoto", {"length": 10, "kana": False, "kuten": True})
    assert [rule.name for rule in changed.rules] == [rule.name for rule in ours.rules if rule.name != "kana"]
    assert next(rule.threshold for rule in changed.rules if rule.name == "length") == 10
    assert verdict(PROSE[:40]) == "length"
    assert verdict(PROSE[:40], changed) is None
    assert len({ours.digest, changed.digest, load_preset("llmjp-v1").digest, load_preset("llmjp-v1-strict").digest}) == 4


def test_the_digest_sees_what_decides_and_not_what_explains() -> None:
    ours = load_preset("minamoto")
    reworded = [dataclasses.replace(rule, source="other words", label="別名") for rule in ours.rules]
    assert dataclasses.replace(ours, rules=tuple(reworded), description="x").digest == ours.digest
    assert dataclasses.replace(ours, rules=ours.rules[::-1]).digest != ours.digest
    assert dataclasses.replace(ours, cleaners=("japanese_lines",)).digest != ours.digest
    assert dataclasses.replace(ours, hosts=HostLists(deny=("a.jp",))).digest != ours.digest


def test_run_files_take_numbers_and_false() -> None:
    table = {"sources": [SOURCE], "preset": "llmjp-v1", "rules": {"ads": 20, "domain": False, "rare_kuten": 99.5}}
    settings = build_settings(table, CorpusSettings, "here")
    assert settings.rules == {"ads": 20.0, "domain": False, "rare_kuten": 99.5}
    assert len(load_preset(settings.preset, settings.rules).rules) == len(load_preset("llmjp-v1").rules) - 1
    with pytest.raises(ConfigError, match=r"here rules\.ads: expected float, got 'x'"):
        build_settings({"sources": [SOURCE], "rules": {"ads": "x"}}, CorpusSettings, "here")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://User@Example.JP:8080/a", "example.jp"),
        ("http://[::1", ""),
        ("foo.html", ""),
        ("", ""),
        ("//a.b/c", "a.b"),
    ],
)
def test_hosts(url: str, host: str) -> None:
    assert host_of(url) == host


def test_host_lists() -> None:
    lists = HostLists(("jp", "com"), ("5ch.net",), ("https://ja.wikipedia.org/",), ("py", "Makefile", "C"))
    assert [lists.allowed(url) for url in ("http://a.co.jp/", "http://a.de", "x", "http://jp/")] == [True, False, False, True]
    denied = (
        "http://5ch.net/",
        "http://a.5ch.net/",
        "http://x5ch.net/",
        "https://ja.wikipedia.org/w",
        "http://ja.wikipedia.org/",
    )
    assert [lists.denied(url) for url in denied] == [True, True, False, True, False]
    names = ("a/b.py", "https://x.jp/Makefile?raw=1", "a.c", "a.C#L1", "a", "")
    assert [lists.extension_allowed(name) for name in names] == [True, True, False, True, False, False]
    assert HostLists().allowed("x")
    assert not HostLists().denied("http://5ch.net/")
    assert extension_of("https://x.jp/a.tar.gz") == "gz"


@given(st.lists(st.text(max_size=40), max_size=5))
def test_features_are_what_python_says(texts: list[str]) -> None:
    wanted = frozenset({"filled", "compressed_bytes"})
    table_DF = measure_features(texts, [""] * len(texts), HostLists(), wanted)
    assert table_DF[:, FEATURES.index("filled")].tolist() == [int(text.strip() != "") for text in texts]
    zipped = [len(zlib.compress(text.encode(), level=9)) for text in texts]
    assert table_DF[:, FEATURES.index("compressed_bytes")].tolist() == zipped


def test_only_wanted_features_are_measured() -> None:
    table_DF = measure_features(["あ"], ["http://a.jp"], HostLists(), frozenset({"linked"}), [7])
    assert table_DF.tolist() == [[7 if name == "linked" else 0 for name in FEATURES]]
    assert not measure_features(["あ"], [""], HostLists(), frozenset({"linked"})).any()


@pytest.mark.parametrize(
    ("text", "url", "preset", "expected"),
    [
        (PROSE, "https://a.jp/", "llmjp-v1", None),
        (PROSE, "https://ja.wikipedia.org/wiki/x", "llmjp-v1", "denied_host"),
        (PROSE, "https://a.de/", "llmjp-v1", "domain"),
        (" \n\u3000", "https://a.jp/", "llmjp-v1", "filled"),
        ("x" * 50 + PROSE, "https://a.jp/", "llmjp-v1", "first_kana"),
        (PROSE + "営業時間" * 11, "https://a.jp/", "llmjp-v1", "ads"),
        (PROSE + "営業時間" * 10, "https://a.jp/", "llmjp-v1", None),
        (PROSE.replace("。", "、") * 3, "https://a.jp/", "llmjp-v1", "rare_kuten"),
        ("春の庭に花が咲いて鳥が鳴く。" * 30, "https://a.jp/", "llmjp-v1", "compression_min"),
        ("猫だ。", "https://a.jp/", "llmjp-v1", "compression_max"),
        (PROSE, "https://a.jp/", "swallow-v1", "length"),
        (PROSE * 4, "https://a.wikipedia.org/", "swallow-v1", "denied_host"),
        (PROSE, "a.py", "en", "words_min"),
        ("x = 1\n" * 30, "a/b.py", "code", None),
        ("x = 1\n" * 30, "a/b.txt", "code", "extension"),
        ("x" * 1001, "a/b.py", "code", "longest_line"),
        ("x" * 101 + "\n" + "y" * 150, "a/b.py", "code", "mean_line"),
        ("{};\n" * 30, "a/b.py", "code", "alphanumeric"),
    ],
)
def test_verdicts_of_the_other_presets(text: str, url: str, preset: str, expected: str | None) -> None:
    assert verdict(text, load_preset(preset), url) == expected


def test_english_said_again_and_again_falls_for_its_n_grams() -> None:
    """One line of ten equal sentences: 130 words, no line twice."""
    assert verdict("All of the people that have to be with us stand in the rain. " * 10, load_preset("en"), "a") in {
        f"top_{n}word" for n in (2, 3, 4)
    } | {"dup_5word"}


LIST_WORDS = ("営業時間", "お問い合わせ", "アダルト", "アス", "セックス", "痴", "痴漢", "女中", "人夫", "死", "殺す", "死ぬ")
PIECES = (*LIST_WORDS, "ア", "ー", "ヵ", "。", "、", "これは猫である。", "x" * 49, "\n", " ", "\u3000", "😀")
TEXTS = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)
URLS = st.sampled_from(("https://a.jp/", "https://ja.wikipedia.org/wiki/a", "http://a.de", "jp", ""))


@functools.cache
def _oracle(name: str) -> Oracle:
    return Oracle.make(strict=name.endswith("strict"))


@settings(deadline=None)  # the first example compiles a regular expression of 1,462 words
@given(st.lists(st.tuples(TEXTS, URLS), min_size=1, max_size=4), st.sampled_from(("llmjp-v1", "llmjp-v1-strict")))
def test_llmjp_is_what_llm_jp_s_own_filters_say(documents: list[tuple[str, str]], name: str) -> None:
    assert compare(documents, load_preset(name), _oracle(name))[2] == []


def test_a_table_is_the_same_for_any_batch() -> None:
    preset: Preset = load_preset("llmjp-v1")
    texts, urls = [PROSE, ENGLISH, "猫だ。"], ["https://a.jp/", "x", "https://b.com/"]
    together = rules.table(texts, urls, preset)
    alone = [rules.table([text], [url], preset) for text, url in zip(texts, urls, strict=True)]
    assert np.array_equal(together, np.concatenate(alone))
