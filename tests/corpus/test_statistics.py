"""One pass of machine code against a plain-Python reading of the same definitions with unicodedata."""

import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corpus.statistics import CLASSES, LONG_SENTENCE, STATISTICS, class_table, measure

ENDS = "。．｡！？!?"


def class_of(character: str) -> str:
    """By Unicode name and category, where the kernel goes by code point ranges."""
    point, category, name = ord(character), unicodedata.category(character), unicodedata.name(character, "")
    if character == "\n":
        return "newline"
    if character in "\t\v\f\r" or category[0] == "Z":
        return "space"
    if category[0] == "L" or character == "〇":
        if name.startswith("HIRAGANA") and point < 0x10000:
            return "hiragana"
        if (name.startswith(("KATAKANA", "HALFWIDTH KATAKANA")) and point < 0x10000) or character == "ー":
            return "katakana"
        if name.startswith(("CJK UNIFIED", "CJK COMPATIBILITY IDEOGRAPH", "IDEOGRAPHIC")):
            return "kanji"
        if name.startswith(("LATIN", "FULLWIDTH LATIN")) and (
            point < 0x250 or 0x1E00 <= point < 0x1F00 or 0xFF00 < point < 0x10000
        ):
            return "latin"
    if 0x1F000 <= point <= 0x1FBFF:
        return "symbol"
    if point > 0xFFFF:
        return "other"
    return {"N": "digit" if category == "Nd" else "other", "P": "punctuation", "S": "symbol"}.get(category[0], "other")


def reference(text: str) -> dict[str, int]:
    found: dict[str, int] = dict.fromkeys(STATISTICS, 0)
    for character in text:
        found[class_of(character)] += 1
    found["characters"], found["bytes"] = len(text), len(text.encode())
    found["visible"] = len(text) - found["space"] - found["newline"]
    found["replacement"], found["kuten"] = text.count("\ufffd"), sum(text.count(k) for k in "。．｡！？")
    seen = set()
    for raw in text.split("\n"):
        line = "".join(c for c in raw if class_of(c) != "space")
        if not line:
            continue
        found["lines"] += 1
        found["closed_lines"] += line[-1] in ENDS + "." or (
            line[-1] in '）」』】)"”' and line[-2:-1] != "" and line[-2] in ENDS
        )
        found["ellipsis_lines"] += line[-1] in "…‥" or line.endswith(("...", "・・・", "。。。"))
        found["repeated_lines"] += line in seen
        found["repeated_characters"] += len(line) if line in seen else 0
        seen.add(line)
        sentences = [""]
        for character in raw:
            if class_of(character) == "space":
                sentences += [""] if "".join(sentences).endswith(".") else []
            else:
                sentences[-1] += character
                sentences += [""] if character in ENDS else []
        lengths = [len(sentence) for sentence in sentences if sentence]
        found["sentences"] += len(lengths)
        found["longest_sentence"] = max(found["longest_sentence"], *lengths)
        found["long_sentence_characters"] += sum(length for length in lengths if length > LONG_SENTENCE)
    return found


def known(character: str) -> bool:
    """Characters that this Python's Unicode knows (newer ideographs are kanji to the kernel by their plane)."""
    return unicodedata.category(character) not in ("Cn", "Cs") and not 0x1F000 <= ord(character) <= 0x1FBFF


text = st.text(
    st.one_of(
        st.sampled_from('あいうアイウー漢字々〇abc１2。．！？!?」）)"… \u3000\n\n.・‥。ｱﾞ한жªʘ\ufffd😀𠮷\t-+'),
        st.characters(exclude_categories=("Cs", "Cn")),
    ),
    max_size=80,
)


@settings(deadline=None, max_examples=400)
@given(text)
@example("")
@example("\n\n")
@example("あ" * 201 + "。" + "い" * 200 + ". う")
@example("そうです。」\nそうです。」 \n…\n...\n。。。\nあ。い")
def test_equals_the_reference(text: str) -> None:
    assert dict(zip(STATISTICS, measure([text])[0].tolist(), strict=True)) == reference(text)


def test_classes_of_the_whole_plane() -> None:
    table = class_table()
    points = [p for p in range(0x10000) if known(chr(p)) and chr(p) not in "ªº"]
    wrong = [f"U+{p:04X} {CLASSES[table[p]]} {class_of(chr(p))}" for p in points if CLASSES[table[p]] != class_of(chr(p))]
    assert not wrong, wrong[:20]


@pytest.mark.parametrize(
    ("character", "expected"),
    [
        ("𠮷", "kanji"),
        ("\U00031350", "kanji"),
        ("😀", "symbol"),
        ("𝐀", "other"),
        ("ª", "other"),
        ("한", "other"),
        ("ー", "katakana"),
    ],
)
def test_class_of_some_characters(character: str, expected: str) -> None:
    row = measure([character])[0]
    assert [name for name, count in zip(CLASSES, row, strict=False) if count] == [expected]


def test_classes_partition_the_characters() -> None:
    rows = measure(["日本語とEnglish、123！\n", "한국어 Русский ☃"])
    assert rows[:, : len(CLASSES)].sum(axis=1).tolist() == rows[:, STATISTICS.index("characters")].tolist() == [17, 13]
