"""The form of our instruction data; that it is true and natural is for people to judge."""

import json
import re
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "finetune" / "data"
AT_LEAST = {"greeting": 40, "identity": 50, "knowledge": 120, "computing": 50, "task": 70}
# Kana, kanji, Japanese punctuation, ASCII: what a Japanese sentence about these subjects is written with.
PLAUSIBLE = re.compile(r"[\u3041-\u3096\u30a1-\u30fa\u30fc\u4e00-\u9fff々、。「」・！？（） -~]+")
POLITE_END = re.compile(r"(です|でした|ます|ました|ません|でしょう|ましょう)(か|ね|よ)?[。！]$|(ください|ますように)。$")


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    return [json.loads(line) for line in (FOLDER / "instructions-ja.jsonl").read_text("utf-8").splitlines()]


def test_every_category_is_there(rows: list[dict[str, str]]) -> None:
    counts = Counter(row["category"] for row in rows)
    assert counts.keys() == AT_LEAST.keys()
    assert all(counts[name] >= least for name, least in AT_LEAST.items()), counts


def test_fields(rows: list[dict[str, str]]) -> None:
    for row in rows:
        assert row.keys() - {"input"} == {"instruction", "output", "category"}, row
        assert all(isinstance(value, str) and value.strip() == value != "" for value in row.values()), row


def test_nothing_is_said_twice(rows: list[dict[str, str]]) -> None:
    for key in ("instruction", "output"):
        counts = Counter(row[key] for row in rows)
        assert [value for value, count in counts.items() if count > 1] == []


def test_characters_and_normal_form(rows: list[dict[str, str]]) -> None:
    for row in rows:
        for value in row.values():
            assert unicodedata.is_normalized("NFC", value), value
            assert PLAUSIBLE.fullmatch(value), PLAUSIBLE.sub("", value)
            assert value.count("「") == value.count("」"), value


def test_answers_are_short_polite_sentences(rows: list[dict[str, str]]) -> None:
    for row in rows:
        answer = row["output"]
        assert 20 <= len(answer) <= 140, answer
        outside_quotes = re.sub(r"「[^」]*」", "「」", answer)
        ends = re.findall(r"[。！？](?=.|$)", outside_quotes)
        assert 1 <= len(ends) <= 3, answer
        assert answer[-1] in "。！？", answer
        assert POLITE_END.search(outside_quotes), answer


def test_the_licence_stands_beside_the_data() -> None:
    assert "CC0-1.0" in (FOLDER / "README.md").read_text("utf-8")
