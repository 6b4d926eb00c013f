"""Compiled word search against Python's regular expressions, in the form in which hojichar writes them."""

import pickle
import random
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corpus.stats import word_list_hits
from corpus.stats.measure import COLUMN, measure
from corpus.stats.word_lists import ENGLISH, NO_WORDS, UNCONFUSED, WordLists, words_of

WORDS = frozenset({"words"})


def hits(text: str, words: WordLists) -> dict[str, int]:
    row = measure([text], words, WORDS)[0]
    return {name: int(row[COLUMN[f"words_{name}"]]) for name in words.names}


def by_regular_expression(text: str, words: WordLists) -> dict[str, int]:
    """As NgWordsFilterJa with ignore_confused, DiscardAds and NgWordsFilterEn of hojichar 0.18.1 compile their patterns."""
    found = {}
    for name, entries in words.lists:
        alternation = "|".join(re.escape(word) for word in entries)
        if name in ENGLISH:
            alternation = rf"(?:^| )({alternation})(?:( |,|\.)|$)"
        elif name in UNCONFUSED:
            katakana = [word for word in entries if re.fullmatch(r"[ァ-ヴー]+", word)]
            others = "|".join(re.escape(word) for word in entries if word not in katakana)
            alternation = "|".join(katakana)
            beside = rf"(?<![ァ-ヴー])({alternation})(?![ァ-ヴー])"
            alternation = f"{others}|{beside}" if others and katakana else beside if katakana else others
        found[name] = len(re.findall(alternation, text, re.IGNORECASE if name in ENGLISH else 0))
    return found


def around_the_lists(rng: random.Random, lists: WordLists, pieces: int) -> str:
    """Words of the lists whole, cut at either end, doubled or in another case, and anything between them."""
    out = []
    for _ in range(pieces):
        _, words = rng.choice(lists.lists)
        word = rng.choice(words)
        cut = rng.randrange(len(word) + 1)
        out.append(rng.choice([word, word, word[:cut], word[cut:], word + word[:cut], word.upper(), word.lower()]))
        out.append(
            rng.choice(["", "", "", " ", ". ", ",", "\n", "あ", "ー", "ヴ", "ヵ", "ああいう文", "a", "\u3000", "ſ", "𠮷"])
        )
    return "".join(out)


@pytest.mark.parametrize("seed", range(40))
def test_texts_around_the_lists(seed: int) -> None:
    rng, lists = random.Random(seed), WordLists.load()
    text = around_the_lists(rng, lists, 400)
    found = hits(text, lists)
    assert found == by_regular_expression(text, lists)
    assert found == {name: len(lists.spans(text, name)) for name in lists.names}
    assert sum(found.values()) > 100


small = st.lists(st.text("あいうaA𠮷■アスー", min_size=1, max_size=5), min_size=1, max_size=8).map(tuple)


@settings(deadline=None, max_examples=300)
@given(small, small, st.text("あいうaA𠮷■アスー\n ", max_size=60))
@example(("ああ", "あ"), ("あ", "ああ"), "あああああ")
@example(("あい", "あいう"), ("いう", "■"), "あいうあい■")
@example(("アス", "ア"), ("アス", "ア", "アあ"), "アスパラアスアア アス■アあア")
def test_any_lists(one: tuple[str, ...], other: tuple[str, ...], text: str) -> None:
    lists = WordLists((("ads", one), ("adult", other)))
    assert hits(text, lists) == by_regular_expression(text, lists)


letters = st.lists(st.text("abIkS ", min_size=1, max_size=4).filter(lambda w: w.strip() == w), min_size=1, max_size=6).map(
    tuple
)


@settings(deadline=None, max_examples=400)
@given(letters, st.text("abikSIK ,.\nſıİ\u212aあ", max_size=50))
@example(("a", "a b"), "a b a b,a b.")
@example(("a b", "a"), " a b a\n")
@example(("a",), "a a a a\n\n")
def test_english_lists(words: tuple[str, ...], text: str) -> None:
    lists = WordLists((("adult_en", words),))
    assert hits(text, lists) == by_regular_expression(text, lists)


def test_case_of_every_character_is_python_s() -> None:
    everything = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)]))
    for letter in "abcdefghijklmnopqrstuvwxyz0-":
        alike = set(re.findall(letter, everything, re.IGNORECASE)) - {letter}
        text = "".join(f" {character} ." for character in sorted(alike | set("xyzéßåΩ")) if character.strip())
        lists = WordLists((("adult_en", (letter,)),))
        assert hits(text, lists) == by_regular_expression(text, lists), letter


def test_the_lists_are_those_of_the_wheel() -> None:
    from hojichar.filters import document_filters

    lists = WordLists.load()
    theirs = {
        "ads": document_filters.DiscardAds().keyword_pat,
        "adult": document_filters.DiscardAdultContentJa(ignore_confused=True).keyword_pat,
        "discrimination": document_filters.DiscardDiscriminationContentJa(ignore_confused=True).keyword_pat,
        "violence": document_filters.DiscardViolenceContentJa(ignore_confused=True).keyword_pat,
        "adult_en": document_filters.DiscardAdultContentEn().keyword_pat,
    }
    dictionary = document_filters.BASE_PATH / "dict" / "header_footer_keywords_ja.txt"
    assert dict(lists.lists)["footer"] == tuple(dictionary.read_text("utf-8").split("\n"))
    text = around_the_lists(random.Random(7), lists, 1000)
    assert {name: hits(text, lists)[name] for name in theirs} == {
        name: len(pattern.findall(text)) for name, pattern in theirs.items()
    }


def test_lists_are_read_as_hojichar_reads_them() -> None:
    assert words_of("あ\n\n い \nう") == ("あ", "い", "う")
    for words, fold in ((words_of("あ\n \nい"), False), (("é",), True)):
        with pytest.raises(ValueError, match=r"word \d of list 1: expected"):
            word_list_hits.build([words], [[False] * len(words)], fold)


def footer_lines(text: str, lists: WordLists) -> int:
    lines = [line for line in text.split("\n") if line.split()][-10:]
    found = 0
    for line in lines:
        inside = "".join(line[begin:end] for begin, end in lists.spans(line, "footer"))
        found += 10 * len("".join(inside.split())) > 3 * len("".join(line.split()))
    return found


@pytest.mark.parametrize("seed", range(30))
def test_footer_lines(seed: int) -> None:
    rng, lists = random.Random(seed), WordLists.load(("footer",))
    pieces = [*dict(lists.lists)["footer"], "本文です。", " ", "\n", "\n", "\u3000", "あいうえおかきくけこさしすせそ"]
    for length in (0, 5, 60):
        text = "".join(rng.choice(pieces) for _ in range(length))
        assert measure([text], lists)[0, COLUMN["footer_lines"]] == footer_lines(text, lists)


def test_lists_by_name() -> None:
    lists = WordLists.load(("ads", "footer"))
    assert lists.names == ("ads", "footer")
    assert pickle.loads(pickle.dumps(lists)) == lists
    assert lists.digest != WordLists.load(("ads",)).digest != NO_WORDS.digest
    assert lists.spans("送料と価格", "footer") == [(3, 5)]
    assert measure(["送料と価格"], NO_WORDS)[0, COLUMN["words_ads"]] == 0
    with pytest.raises(ValueError, match="word list 'adult': expected one of ads, footer"):
        lists.spans("", "adult")
    with pytest.raises(ValueError, match="word lists bad: expected ads, adult"):
        WordLists.load(("bad",))
