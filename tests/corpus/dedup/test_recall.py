"""Near copies found: as many as the theory of LSH says, and nothing that is none; counted against sets of strings."""

import itertools
import math
import random
from pathlib import Path

import pytest

from benchmarks.corpus import recall
from corpus.dedup.settings import DedupSettings

ALPHABET = "あいうえおかきくけこさしすせそたちつてと日本語漢字文章研究者図書館、。ー"
# Chance that a sound build fails a bound: 1 in 16,000 each (four standard deviations).
DEVIATIONS = 4.0


def shingles(text: str) -> set[str]:
    """All runs of five visible characters, as strings."""
    visible = "".join(text.split())
    return {visible[i : i + 5] for i in range(max(len(visible) - 4, 1))}


@pytest.fixture(scope="module")
def documents() -> list[str]:
    """150 texts and three edits of each."""
    rng = random.Random(11)
    texts = [
        "\n".join("".join(rng.choices(ALPHABET, k=rng.randint(10, 60))) for _ in range(rng.randint(8, 25))) for _ in range(150)
    ]
    return recall.with_copies(texts, seed=12)


@pytest.fixture(scope="module")
def exact(documents: list[str]) -> dict[tuple[int, int], float]:
    """Similarity of every pair that has .5 or more, from sets of strings."""
    sets = [shingles(text) for text in documents]
    found = {}
    for one, other in itertools.combinations(range(len(sets)), 2):
        shared = len(sets[one] & sets[other])
        similarity = shared / (len(sets[one]) + len(sets[other]) - shared)
        if similarity >= recall.MIN_SIMILARITY:
            found[one, other] = similarity
    return found


def test_all_pairs_are_those_of_brute_force(documents: list[str], exact: dict[tuple[int, int], float]) -> None:
    found = recall.all_pairs(documents)
    assert found.keys() == exact.keys()
    assert all(math.isclose(found[pair], similarity) for pair, similarity in exact.items())
    assert sum(0.7 <= similarity < 0.9 for similarity in exact.values()) > 100, "too few pairs near the threshold"


@pytest.mark.parametrize(("bands", "rows"), [(14, 8), (40, 20), (20, 7)])
def test_recall_is_what_theory_says(bands: int, rows: int, documents: list[str], exact: dict[tuple[int, int], float]) -> None:
    """Independent trials of unequal chances: the variance of their sum is at most that of the binomial with their mean."""
    met = recall.meeting(documents, bands, rows).pairs
    for low, high in ((0.5, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 1.01), (0.7, 1.01)):
        pairs = [(pair, similarity) for pair, similarity in exact.items() if low <= similarity < high]
        expected = sum(recall.theory(similarity, bands, rows) for _, similarity in pairs)
        mean = expected / len(pairs)
        # Pairs of one family share a document, so about three of them are one trial.
        bound = DEVIATIONS * math.sqrt(3 * len(pairs) * mean * (1 - mean)) + 1
        assert abs(sum(pair in met for pair, _ in pairs) - expected) <= bound, (low, high)


def test_what_is_compared_is_never_wrong(documents: list[str], exact: dict[tuple[int, int], float]) -> None:
    """The stage's own verification, on every candidate: it takes exactly those whose sets of strings are alike."""
    import numpy as np

    from pipeline.text import minhash

    least = DedupSettings().min_similarity
    sets = [np.unique(minhash.shingles(text, DedupSettings().shingle)) for text in documents]
    met = recall.meeting(documents, 25, 5).pairs
    taken = {pair for pair in met if minhash.jaccard(sets[pair[0]], sets[pair[1]]) >= least}
    assert taken == {pair for pair in met if exact.get(pair, 0.0) >= least}
    assert len(met - taken) > 20, "every candidate is a copy: nothing to tell apart"


@pytest.mark.sample
def test_real_texts_of_all_sources(sample_data: Path) -> None:
    documents = recall.with_copies(recall.originals(sample_data, 30, seed=1), seed=1, copies=2)
    exact = recall.all_pairs(documents)
    seen = [recall.meeting(documents, bands, rows) for bands, rows in (recall.OURS, (14, 8), (20, 10), (40, 20))]
    rows = list(recall.lines(documents, exact, seen))
    assert "90 documents" in rows[0]
    ours = next(row for row in rows if row.startswith("ours"))
    assert [cell.split(" / ")[0].strip() for cell in ours.split("exactly")[1].split("   ") if cell.strip()] == ["1.000"] * 3
