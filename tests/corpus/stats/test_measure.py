"""One pass of machine code against a plain-Python reading of the same definitions with unicodedata."""

import re
import time
import unicodedata

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corpus.stats.measure import ALL, COLUMN, GROUPS, STATISTICS, groups_of, lists_of, measure
from corpus.stats.text import LONG_SENTENCE, TEXT
from corpus.stats.word_lists import LISTS, WordLists
from corpus.stats.words import STOP_WORDS, TOKENS
from pipeline.text.characters import CLASSES, class_table

ENDS = "。．｡！？!?"
BULLETS = "•-*‣▪◦・●○■□◆◇▶※"


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


def visible(text: str) -> str:
    return "".join(character for character in text if class_of(character) not in ("space", "newline"))


def repeats(blocks: list[str]) -> tuple[int, int]:
    """How many blocks are equal to an earlier one, and their visible characters."""
    again = [block for place, block in enumerate(blocks) if block in blocks[:place]]
    return len(again), sum(len(visible(block)) for block in again)


def sentences_of(text: str) -> list[str]:
    sentences = [""]
    for character in text + "\n":
        if class_of(character) in ("space", "newline"):
            sentences += [""] if sentences[-1].endswith(".") or character == "\n" else []
        else:
            sentences[-1] += character
            sentences += [""] if character in ENDS else []
    return [sentence for sentence in sentences if sentence]


def reference(text: str) -> dict[str, int]:
    found: dict[str, int] = dict.fromkeys(TEXT, 0)
    for character in text:
        found[class_of(character)] += 1
    found |= {"characters": len(text), "bytes": len(text.encode()), "visible": len(visible(text))}
    found |= {"replacement": text.count("\ufffd"), "kuten": sum(text.count(k) for k in "。．｡！？"), "maru": text.count("。")}
    lines = [line for raw in text.split("\n") if (line := visible(raw))]
    found["lines"] = len(lines)
    for line in lines:
        found["closed_lines"] += line[-1] in ENDS + "." or (
            line[-1] in '）」』】)"”' and line[-2:-1] != "" and line[-2] in ENDS
        )
        found["ellipsis_lines"] += line[-1] in "…‥" or line.endswith(("...", "・・・", "。。。"))
        found["bullet_lines"] += line[0] in BULLETS
    found["repeated_lines"], found["repeated_characters"] = repeats(lines)
    sentences = sentences_of(text)
    lengths = [len(sentence) for sentence in sentences]
    found |= {"sentences": len(lengths), "longest_sentence": max(lengths, default=0)}
    found["long_sentence_characters"] = sum(length for length in lengths if length > LONG_SENTENCE)
    found["repeated_sentences"], found["repeated_sentence_characters"] = repeats(sentences)
    found["first_kana"] = len(re.findall("[ぁ-んァ-ン]", text[:50]))
    found |= {"longest_line": max(map(len, text.split("\n"))), "line_ends": text.count("\n"), "hash_signs": text.count("#")}
    found["alphanumeric"] = len(re.findall("[0-9A-Za-z]", text))
    found["url_characters"] = sum(map(len, re.findall("https?://[!-~]+", text)))
    marked = "\n".join(visible(raw) for raw in text.split("\n"))
    paragraphs = [block for block in re.split(r"\n\n+", marked.strip("\n")) if block]
    found["paragraphs"] = len(paragraphs)
    found["repeated_paragraphs"], found["repeated_paragraph_characters"] = repeats(paragraphs)
    return found


def known(character: str) -> bool:
    """Characters that this Python's Unicode knows (newer ideographs are kanji to the kernel by their plane)."""
    return unicodedata.category(character) not in ("Cn", "Cs") and not 0x1F000 <= ord(character) <= 0x1FBFF


text = st.text(
    st.one_of(
        st.sampled_from('あいうアイウー漢字々〇abc１2。．！？!?」）)"… \u3000\n\n.・‥。ｱﾞ한жªʘ\ufffd😀𠮷\t-+#:/'),
        st.characters(exclude_categories=("Cs", "Cn")),
    ),
    max_size=80,
)
blocks = st.lists(
    st.sampled_from(["\n", "\n\n", " ", "あ。", "い！", "う", "https://a.jp/", "http:", "http://", "s://x", "-", "…"]),
    max_size=40,
)


def found_in(text: str) -> dict[str, int]:
    return dict(zip(TEXT, measure([text])[0].tolist(), strict=False))


@settings(deadline=None, max_examples=400)
@given(text)
@example("")
@example("\n\n")
@example("あ" * 201 + "。" + "い" * 200 + ". う")
@example("そうです。」\nそうです。」 \n…\n...\n。。。\nあ。い")
def test_equals_the_reference(text: str) -> None:
    assert found_in(text) == reference(text)


@settings(deadline=None, max_examples=400)
@given(blocks)
@example(["あ。", "い！", "\n", "あ。い！", "\n\n", "あ。", " ", "い！", "\n", "あ。い！"])
def test_repeats_equal_the_reference(blocks: list[str]) -> None:
    assert found_in("".join(blocks)) == reference("".join(blocks))


def test_many_short_sentences_outgrow_the_first_set() -> None:
    kanji = [chr(0x4E00 + i) for i in range(80)]
    text = "".join(f"{one}{other}。" for one in kanji for other in kanji) + "\n" + "一一。一丁。新。\n"
    assert found_in(text)["repeated_sentences"] == 2
    assert found_in(text)["sentences"] == 80 * 80 + 3


@settings(deadline=None)
@given(st.lists(text, max_size=6))
@example(["ア", "ア", "abc", "abc", "イ"])
def test_a_batch_counts_as_its_texts_do(texts: list[str]) -> None:
    words = WordLists((("ads", ("あい", "1")), ("adult", ("ア", "イ")), ("adult_en", ("abc",)), ("footer", ("う",))))
    together = measure(texts, words)
    assert together.shape == (len(texts), len(STATISTICS))
    assert together.tolist() == [measure([text], words)[0].tolist() for text in texts]


def test_groups_leave_their_own_columns_out() -> None:
    words = WordLists((("ads", ("あい",)), ("footer", ("うえ",))))
    text = "あいうえお。あいうえお。うえ\n\nthe words and the words and the words and the words\n\nあいうえお\n\nあいうえお\n"
    whole = measure([text], words)[0]
    grouped = {name for names in GROUPS.values() for name in names}
    for group, names in GROUPS.items():
        row = measure([text], words, frozenset((group,)))[0]
        assert [n for n in STATISTICS if row[COLUMN[n]] != whole[COLUMN[n]]] == [
            n for n in STATISTICS if n in grouped.difference(names) and whole[COLUMN[n]]
        ]
        assert any(row[COLUMN[name]] for name in names), group
        assert groups_of(names) == {group}
    assert groups_of(["characters", "kuten"]) == frozenset()
    assert lists_of(["words_adult", "footer_lines", "words"]) == ("adult", "footer")
    assert {f"words_{name}" for name in LISTS} <= set(STATISTICS)
    with pytest.raises(ValueError, match="groups nothing: expected paragraphs"):
        measure([text], words, ALL | {"nothing"})


def tokens_of(text: str) -> dict[str, int]:
    words = re.findall(r"[^ \n]+", text)
    letters = [re.sub("[^a-z]", "", word.translate({i: i + 32 for i in range(65, 91)})) for word in words]
    return {
        "words": len(words),
        "word_characters": sum(map(len, words)),
        "alphabetic_words": sum(any(class_of(c) not in ("digit", "punctuation", "symbol") for c in word) for word in words),
        "stop_words": len(set(STOP_WORDS).intersection(letters)),
    }


@settings(deadline=None, max_examples=400)
@given(st.text("theTHEbandofwi ,.1\n語😀", max_size=60))
@example("The be, TO of-and that have with withs 12 語 +")
@example("haveaa ahave havewithhavethe")
def test_words_between_spaces(text: str) -> None:
    row = measure([text])[0]
    assert {name: row[COLUMN[name]] for name in TOKENS[:4]} == tokens_of(text)


HOSTILE = {
    "one character": lambda size: "あ" * size,
    "all distinct": lambda size: "".join(map(chr, np.arange(size) % 20_000 + 0x4E00)),
    "spaces": lambda size: " " * size,
    "line ends": lambda size: "a\n" * (size // 2),
    "short sentences": lambda size: "".join(
        f"{chr(0x4E00 + i % 20_000)}{chr(0x4E00 + i // 20_000)}。" for i in range(size // 3)
    ),
    "addresses": lambda size: "x://" * (size // 4),
    "words": lambda size: "a b " * (size // 4),
    "beginnings of words": lambda size: "お問い合わせくださ" * (size // 9),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_cost_is_linear(kind: str) -> None:
    """Eight times the text may take at most three times eight times as long; a quadratic kernel would take 64 times."""
    words = WordLists.load()
    measure([HOSTILE[kind](1000)], words)
    seconds = []
    for size in (60_000, 480_000):
        text, trials = HOSTILE[kind](size), []
        for _ in range(3):
            begin = time.process_time()
            measure([text], words)
            trials.append(time.process_time() - begin)
        seconds.append(min(trials))
    assert seconds[1] < 24 * seconds[0] + 0.01


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
