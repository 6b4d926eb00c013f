"""Signatures against exact Jaccard similarity, and shingles against plain Python sets."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.text import minhash

ALPHABET = "あいうえおかきくけこさしすせそ日本語漢字、。"
GOLDEN = [[8546470832346166186, 6451343075938143260], [2104961344002402101, 6451343075938143260]]
# Standard error of a 112-hash estimate at J = .5 is sqrt(.25 / 112) = .047; its mean absolute error is .8 of that.
HASHES, MEAN_ERROR = 112, 0.047


def sets(text: str, width: int) -> set[str]:
    visible = "".join(text.split())
    return {visible[i : i + width] for i in range(max(len(visible) - width + 1, 1))} if visible else set()


def exact(one: str, other: str, width: int = 5) -> float:
    a, b = sets(one, width), sets(other, width)
    return len(a & b) / len(a | b) if a | b else 1.0


def edited(text: str, share: float, rng: random.Random) -> str:
    return "".join(rng.choice(ALPHABET) if rng.random() < share else c for c in text)


@settings(deadline=None)
@given(st.text(ALPHABET + " \n𠮷a", max_size=60), st.text(ALPHABET + " \n𠮷a", max_size=60), st.integers(1, 6))
def test_jaccard_equals_sets_of_strings(one: str, other: str, width: int) -> None:
    a, b = (np.unique(minhash.shingles(text, width)) for text in (one, other))
    assert len(a) == len(sets(one, width))
    assert minhash.jaccard(a, b) == exact(one, other, width)


def test_signatures_estimate_similarity() -> None:
    rng = random.Random(1)
    errors = []
    for pair in range(200):
        one = "".join(rng.choice(ALPHABET) for _ in range(400))
        other = edited(one, pair / 1000, rng)
        signatures = [minhash.signature(minhash.shingles(text, 5), HASHES) for text in (one, other)]
        errors.append((signatures[0] == signatures[1]).mean() - exact(one, other))
    assert np.abs(errors).mean() < MEAN_ERROR
    assert abs(np.mean(errors)) < 0.01  # unbiased: 3 standard errors of the mean of 200


def test_a_text_shorter_than_a_shingle_has_its_own_signature() -> None:
    keys = {
        text: minhash.band_keys(minhash.signature(minhash.shingles(text, 5), HASHES), 14, 8).tobytes() for text in "あい日本"
    }
    assert len(set(keys.values())) == 4
    again = minhash.band_keys(minhash.signature(minhash.shingles(" あ\n", 5), HASHES), 14, 8)
    assert again.tobytes() == keys["あ"]


@settings(deadline=None)
@given(
    st.lists(st.text(ALPHABET + " \n𠮷a", max_size=40), max_size=5),
    st.integers(1, 7),
    st.sampled_from([(14, 8), (3, 5), (1, 1)]),
)
def test_keys_of_a_batch_are_those_of_its_texts(texts: list[str], width: int, shape: tuple[int, int]) -> None:
    bands, rows = shape
    found = minhash.keys(texts, width, bands, rows)
    assert found.shape == (bands, len(texts))
    for place, text in enumerate(texts):
        signature = minhash.signature(minhash.shingles(text, width), bands * rows)
        assert found[:, place].tolist() == minhash.band_keys(signature, bands, rows).tolist()


def test_keys_of_long_texts_are_those_of_all_their_shingles() -> None:
    rng = random.Random(4)
    for length in (4_090, 4_096, 4_101, 4_102, 30_000):
        text = "".join(rng.choice(ALPHABET + " ") for _ in range(length))
        signature = minhash.signature(minhash.shingles(text, 6), HASHES)
        assert minhash.keys([text], 6, 14, 8)[:, 0].tolist() == minhash.band_keys(signature, 14, 8).tolist()
        least = [min((int(f) * (int(x) >> 32) + int(t)) % 2**32 for x in minhash.shingles(text, 6)) for f, t in functions(3)]
        assert signature[:3].tolist() == least


def functions(hashes: int) -> list[tuple[int, int]]:
    """Factors and terms of the first hash functions, read off single shingles: term at 0, factor + term at 1."""
    zero, one = (minhash.signature(np.array([x << 32], np.uint64), HASHES)[:hashes].astype(np.int64) for x in (0, 1))
    return [(int(f), int(t)) for f, t in zip((one - zero) % 2**32, zero, strict=True)]


def test_keys_are_the_same_on_every_machine() -> None:
    """A corpus grows by the keys of earlier runs: these numbers may change only with a new version of its artifacts."""
    assert minhash.keys(["今日は良い天気です。", ""], 5, 2, 4).tolist() == GOLDEN


def test_layout_does_not_count() -> None:
    assert (
        minhash.shingles("今日は良い天気です。", 5).tolist() == minhash.shingles("今日は\n良い\u3000天気 です。\n", 5).tolist()
    )


@pytest.mark.parametrize("similarity", [0.7, 0.8, 0.9])
def test_pairs_meet_as_often_as_the_formula_says(similarity: float) -> None:
    """1 - (1 - J^8)^14, over shingle sets of exactly that similarity."""
    rng = np.random.default_rng(2)
    met, pairs, size = 0, 400, 500
    shared = round(2 * size * similarity / (1 + similarity))
    for _ in range(pairs):
        drawn = rng.integers(0, 1 << 63, 2 * size - shared, np.uint64)
        one, other = drawn[:size], drawn[size - shared :]
        keys = [minhash.band_keys(minhash.signature(side, HASHES), 14, 8) for side in (one, other)]
        met += bool((keys[0] == keys[1]).any())
    expected = 1 - (1 - similarity**8) ** 14
    assert met / pairs == pytest.approx(expected, abs=3.5 * (expected * (1 - expected) / pairs) ** 0.5)
