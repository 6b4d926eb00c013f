"""Every rule of our own preset at its threshold, and texts whose verdict anyone can see."""

import math

import numpy as np
import pytest

from corpus.filters import rules
from corpus.filters.rules import COLUMN, COLUMNS, Preset, Rule, load_preset

OURS = load_preset("minamoto")
PROSE = (
    "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。何でも薄暗いじめじめした所で"
    "ニャーニャー泣いていた事だけは記憶している。吾輩はここで始めて人間というものを見た。しかもあとで聞くと"
    "それは書生という人間中で一番獰悪な種族であったそうだ。この書生というのは時々我々を捕えて煮て食うという話である。"
)
CHINESE = "中华人民共和国的公民有言论、出版、集会、结社、游行、示威的自由。国家保护公民的合法权益。" * 5
ENGLISH = "All human beings are born free and equal in dignity and rights. " * 10
KOREAN = "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. " * 10


def verdict(text: str, preset: Preset = OURS, url: str = "https://example.jp/") -> str | None:
    index = rules.verdicts(rules.values(rules.table([text], [url], preset), preset), preset)[0]
    return None if index < 0 else preset.rules[index].name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PROSE, None),
        (CHINESE, "kana"),
        (CHINESE + "優の良品", "kana"),  # one の does not make it Japanese
        (ENGLISH, "japanese"),
        (KOREAN, "japanese"),
        (ENGLISH + PROSE[:20], "japanese"),
        (ENGLISH + PROSE, "foreign"),
        (ENGLISH[:50] + "\n" + PROSE, None),  # an English header does not make it English
        (PROSE[:40], "length"),
        ("", "japanese"),
        (PROSE.replace("猫", "\ufffd" * 3), "replacement"),
        ("プリンター、スキャナー、モニター、キーボード、マウス、スピーカー、ケーブルの販売。" * 8, "katakana"),
        (PROSE.replace("。", "、") * 3, "kuten"),
        (PROSE.replace("。", "\n") * 3, "kuten"),
        ("".join(f"{i}番目の見出しのとても面白い記事を読む…\n" for i in range(8)) + PROSE.replace("。", "。\n"), "ellipsis"),
        (PROSE + "\n" + "このページの先頭へ戻る。\n" * 20, "repeated"),
        (PROSE + "12.5, 13.7, 14.9; " * 30, "sentence"),
        ("".join(f"{PROSE[i : i + 12]}。{i * 7919:016}\n" for i in range(0, 140, 12)), "marks"),
    ],
)
def test_verdict(text: str, expected: str | None) -> None:
    assert verdict(text) == expected


def test_sentences_are_long_from_201_characters_on() -> None:
    body = "".join(chr(0x3042 + i % 40) for i in range(199))
    only_sentences = load_preset("minamoto", {rule.name: False for rule in OURS.rules if rule.name != "sentence"})
    assert verdict(PROSE + (body + "。") * 3, only_sentences) is None
    assert verdict(PROSE + (body + "ん。") * 3, only_sentences) == "sentence"


@pytest.mark.parametrize("rule", OURS.rules, ids=lambda rule: rule.name)
def test_each_rule_alone_at_its_threshold(rule: Rule) -> None:
    """Values made so that exactly this one is at the threshold, then a hair beyond it."""
    values_DR = np.tile([0.0 if r.bound == "most" else 1e9 for r in OURS.rules], (2, 1))
    place = OURS.rules.index(rule)
    values_DR[0, place] = rule.threshold
    values_DR[1, place] = np.nextafter(rule.threshold, np.inf if rule.bound == "most" else -np.inf)
    assert rules.verdicts(values_DR, OURS).tolist() == [-1, place]
    assert rules.failures(values_DR, OURS).sum() == 1


def test_values_are_the_ratios_they_claim() -> None:
    table_DC = np.zeros((1, len(COLUMNS)), np.int64)
    for name, count in {
        "hiragana": 30,
        "katakana": 10,
        "kanji": 20,
        "latin": 40,
        "visible": 120,
        "kuten": 4,
        "digit": 12,
    }.items():
        table_DC[0, COLUMN[name]] = count
    found = rules.by_name(rules.values(table_DC, OURS)[0], OURS)
    expected = {"japanese": 0.6, "kana": 40 / 60, "length": 60, "katakana": 10 / 60, "kuten": 30, "marks": 0.1}
    assert {name: found[name] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize(("empty", "expected"), [(math.inf, [math.inf, 0, 5]), (None, [10, 0, 5])])
def test_something_over_nothing(empty: float | None, expected: list[float]) -> None:
    rule = Rule("kuten", "quality", ("characters",), ("maru",), "most", 250, empty=empty)
    table_DC = np.zeros((3, len(COLUMNS)), np.int64)
    table_DC[:, [COLUMN["characters"], COLUMN["maru"]]] = [[10, 0], [0, 0], [10, 2]]
    preset = Preset("p", "", "ja", (rule,), (), frozenset(), ())
    assert rules.values(table_DC, preset)[:, 0].tolist() == expected


def test_the_first_failing_rule_in_order_is_the_verdict() -> None:
    values_DR = np.array([[0.0 if r.bound == "least" else 1e9 for r in OURS.rules]])
    assert rules.verdicts(values_DR, OURS).tolist() == [0]


def test_a_preset_without_rules_passes_everything() -> None:
    bare = load_preset("minamoto", {rule.name: False for rule in OURS.rules})
    assert bare.rules == ()
    assert verdict("", bare) is None


def test_columns_of_text_and_features_have_one_name_each() -> None:
    assert len(set(COLUMNS)) == len(COLUMNS)
