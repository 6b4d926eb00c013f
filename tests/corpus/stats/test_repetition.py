"""Repetition by characters and by words against dictionaries of n-grams that follow Gopher's definitions to the letter."""

import random
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corpus.stats.measure import COLUMN, measure
from corpus.stats.repetition import DUPLICATE, REPETITION, TOP, WINDOW
from corpus.stats.words import TOKENS


def repetition(symbols: Sequence[str]) -> list[int]:
    """Top n-grams: count times characters, of the longest of the most frequent, 0 if it occurs once. Duplicate n-grams:
    characters of the symbols that n-grams cover which begin a second or later time, each once."""
    found = []
    for width in TOP:
        counts = Counter(tuple(symbols[i : i + width]) for i in range(len(symbols) - width + 1))
        most = max(counts.values(), default=1)
        longest = max((sum(map(len, gram)) for gram, count in counts.items() if count == most), default=0)
        found.append(most * longest if most > 1 else 0)
    for width in DUPLICATE:
        seen, covered = set(), set()
        for i in range(len(symbols) - width + 1):
            gram = tuple(symbols[i : i + width])
            covered.update(range(i, i + width) if gram in seen else ())
            seen.add(gram)
        found.append(sum(len(symbols[i]) for i in covered))
    return found


def in_windows(symbols: Sequence[str]) -> list[int]:
    windows = [repetition(symbols[i : i + WINDOW]) for i in range(0, len(symbols), WINDOW)]
    return [sum(column) for column in zip(*windows, strict=True)] if windows else [0] * len(REPETITION)


def of_characters(text: str) -> list[int]:
    return measure([text])[0, COLUMN[REPETITION[0]] :][: len(REPETITION)].tolist()


def of_words(text: str) -> list[int]:
    return measure([text])[0, COLUMN["words"] :][4 : len(TOKENS)].tolist()


pieces = st.lists(
    st.sampled_from(["あいうえおかきくけこさし", "あいう", "えおか", "漢字", "a", "𠮷", "b c", "\n", "ー"]), max_size=30
)


@settings(deadline=None, max_examples=400)
@given(st.one_of(pieces.map("".join), st.text("あいう \n", max_size=60), st.text(max_size=40)))
@example("")
@example("あ")
@example("ああ")
@example("ああああああああああああああああ")
@example("0123456789x0123456789")
def test_characters(text: str) -> None:
    symbols = [c for c in text if measure([c])[0, COLUMN["visible"]]]
    assert of_characters(text) == repetition(symbols)


@settings(deadline=None, max_examples=400)
@given(st.lists(st.sampled_from(["a", "bb", "ccc", "the", "語", "one two three four five six seven", "\n"]), max_size=60))
@example([*"abababcccccccccccc"])
@example(["a", "bb", "x", "a", "bb", "y", "ccc", "a", "z", "ccc", "a"])
def test_words(words: list[str]) -> None:
    text = " ".join(words)
    assert of_words(text) == repetition(text.split())


@pytest.mark.parametrize("seed", range(3))
def test_long_texts_are_measured_in_windows(seed: int) -> None:
    rng = random.Random(seed)
    phrases = ["".join(rng.choice("あいうえおかきくけこ漢字語文") for _ in range(rng.randint(2, 15))) for _ in range(3000)]
    text = "".join(rng.choice(phrases) for _ in range(5000 + 2000 * seed))
    assert len(text) > 2 * WINDOW
    assert of_characters(text) == in_windows(text)
    spaced = " ".join(rng.choice(phrases[:400]) for _ in range(WINDOW + 3000))
    assert of_words(spaced) == in_windows(spaced.split())


def test_one_phrase_again_and_again_covers_nearly_all() -> None:
    text = "今だけ無料登録はこちらから" * 40
    top_2, *_, dup_10 = of_characters(text)
    assert top_2 == 80
    assert dup_10 == len(text) - 13
