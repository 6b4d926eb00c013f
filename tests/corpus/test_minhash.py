"""Signatures against exact Jaccard similarity, and shingles against plain Python sets."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus import minhash

ALPHABET = "あいうえおかきくけこさしすせそ日本語漢字、。"
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
