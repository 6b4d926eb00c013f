"""Every rule at its threshold, and texts whose verdict anyone can see."""

import dataclasses

import numpy as np
import pytest

from corpus import rules
from corpus.account import REASONS
from corpus.readers.records import DROP_REASONS
from corpus.settings import RuleSettings
from corpus.statistics import COLUMN, STATISTICS, measure

SETTINGS = RuleSettings()
PROSE = (
    "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。何でも薄暗いじめじめした所で"
    "ニャーニャー泣いていた事だけは記憶している。吾輩はここで始めて人間というものを見た。しかもあとで聞くと"
    "それは書生という人間中で一番獰悪な種族であったそうだ。この書生というのは時々我々を捕えて煮て食うという話である。"
)
CHINESE = "中华人民共和国的公民有言论、出版、集会、结社、游行、示威的自由。国家保护公民的合法权益。" * 5
ENGLISH = "All human beings are born free and equal in dignity and rights. " * 10
KOREAN = "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. " * 10


def verdict(text: str, settings: RuleSettings = SETTINGS) -> str | None:
    index = rules.verdicts(rules.values(measure([text])), settings)[0]
    return None if index < 0 else rules.RULES[index].name


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
    assert verdict(PROSE + (body + "。") * 3) is None
    assert verdict(PROSE + (body + "ん。") * 3) == "sentence"


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.name)
def test_each_rule_alone_at_its_threshold(rule: rules.Rule) -> None:
    """Statistics made so that exactly this value stands at the threshold, then a hair beyond it."""
    values_DR = np.tile([0.0 if r.bound == "most" else 1e9 for r in rules.RULES], (2, 1))
    place, limit = rules.RULES.index(rule), getattr(SETTINGS, rule.setting)
    values_DR[0, place] = limit
    values_DR[1, place] = np.nextafter(limit, np.inf if rule.bound == "most" else -np.inf)
    assert rules.verdicts(values_DR, SETTINGS).tolist() == [-1, place]


def test_values_are_the_ratios_they_claim() -> None:
    table_DS = np.zeros((1, len(STATISTICS)), np.int64)
    for name, count in {
        "hiragana": 30,
        "katakana": 10,
        "kanji": 20,
        "latin": 40,
        "visible": 120,
        "kuten": 4,
        "digit": 12,
    }.items():
        table_DS[0, COLUMN[name]] = count
    found = rules.by_name(rules.values(table_DS)[0])
    expected = {"japanese": 0.6, "kana": 40 / 60, "length": 60, "katakana": 10 / 60, "kuten": 30, "marks": 0.1}
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_the_first_failing_rule_in_order_is_the_verdict() -> None:
    values_DR = np.array([[0.0 if r.bound == "least" else 1e9 for r in rules.RULES]])
    assert rules.verdicts(values_DR, SETTINGS).tolist() == [0]


def test_every_reason_has_words_for_people_and_a_threshold() -> None:
    assert set(REASONS) == {rule.name for rule in rules.RULES} | set(DROP_REASONS) | {"url", "exact", "near"}
    assert {rule.setting for rule in rules.RULES} == {f.name for f in dataclasses.fields(RuleSettings)}
    assert rules.thresholds(SETTINGS)["kana"] == ["least", SETTINGS.min_kana_share]


def test_thresholds_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"min_kana_share = 1\.5"):
        RuleSettings(min_kana_share=1.5)
    with pytest.raises(ValueError, match="min_japanese_characters = -1"):
        RuleSettings(min_japanese_characters=-1)
