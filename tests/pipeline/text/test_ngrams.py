"""The n-gram index against substring search."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.text import ngrams
from pipeline.text.fold import fold, to_text
from pipeline.text.ngrams import NgramIndex


@given(st.lists(st.text("あいう", min_size=3, max_size=9), min_size=1, max_size=6), st.text("あいうえ", max_size=80))
@settings(max_examples=200, deadline=None)
def test_index_finds_what_substring_search_finds(texts: list[str], document: str) -> None:
    index = NgramIndex.build([fold(text) for text in texts], 3)
    positions, grams = index.find(fold(document))
    expected = [at for at in range(len(document) - 2) if any(document[at : at + 3] in text for text in texts)]
    assert positions.tolist() == expected
    for at, gram in zip(positions, grams, strict=True):
        window = document[at : at + 3]
        assert index.texts_of(np.array([gram])).tolist() == [i for i, text in enumerate(texts) if window in text]
    for i, text in enumerate(texts):
        own = {to_text(index.points[index.places[g] : index.places[g] + 3]) for g in index.grams_of(i)}
        assert own == {text[k : k + 3] for k in range(len(text) - 2)}


def test_a_hash_collision_is_no_hit(monkeypatch: pytest.MonkeyPatch) -> None:
    index = NgramIndex.build([fold("あいうえおかきくけこ")], 3)
    liar = dataclasses.replace(index, points=fold("かきくけこさしすせそ"))  # same hashes, other texts
    assert len(index.find(fold("まあいうえま"))[0]) == 2
    assert len(liar.find(fold("まあいうえま"))[0]) == 0
    # x * 1**2 + y * 1 + z: with base 1 every permutation collides, so building must go on to the next base
    monkeypatch.setattr(ngrams, "_BASES", (1, 0x9E3779B97F4A7C15))
    assert NgramIndex.build([fold("あいうあえ"), fold("ういあ")], 3).base != 1
