"""The embedding against scikit-learn, the neighbours against all cosines."""

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from pipeline.errors import CorruptArtifact
from search import embed, vector
from search.embed import Embedder, features, fit, normalize, weigh
from search.vector import Neighbours, build, training_size
from tests.search.world import PARTS, sentence
from tests.tokenizer.strategies import texts

QUERIES = ["源氏物語の作者は紫式部", "ＦＩＬＥを  保存", "🙂", "ファイル", "a.*[b]", "か\u3099葛\U000e0100", "未知の字: 鱻"]


def corpus(count: int) -> list[str]:
    rng = random.Random(3)
    return [sentence(source, rng) + sentence(source, rng) for source in PARTS for _ in range(count // 2)]


def vectorizer() -> TfidfVectorizer:
    return TfidfVectorizer(analyzer="char", ngram_range=(1, 2), sublinear_tf=True, preprocessor=normalize, dtype=np.float64)


@given(texts)
def test_features_are_the_characters_and_pairs_of_scikit_learn(text: str) -> None:
    row, key = features(["x", text, "y"])
    inside = key[row == 1].tolist()
    made = [chr(k) if k < 1 << 21 else chr((k >> 21) - 1) + chr(k & ((1 << 21) - 1)) for k in inside]
    assert sorted(made) == sorted(vectorizer().build_analyzer()(text))


def test_embedding_equals_the_scikit_learn_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed, "OVERSAMPLING", 200)  # as many directions as passages: the randomized SVD becomes exact
    passages = corpus(120)
    ours = fit(passages, features_kept=10_000, dimensions=12)
    theirs = vectorizer()
    weights = theirs.fit_transform(passages)
    svd = TruncatedSVD(12, algorithm="arpack", random_state=0).fit(weights)
    names = theirs.get_feature_names_out()
    keys = [ord(n) if len(n) == 1 else (ord(n[0]) + 1) << 21 | ord(n[1]) for n in names]
    order = np.argsort(keys)
    assert ours.vocabulary.tolist() == np.array(keys)[order].tolist()
    np.testing.assert_allclose(ours.idf, theirs.idf_[order], rtol=1e-6)
    for texts_ in (passages, QUERIES):
        expected = sparse.csr_matrix(theirs.transform(texts_))
        np.testing.assert_allclose(
            weigh(texts_, ours.vocabulary, ours.idf).toarray(), np.asarray(expected.todense())[:, order], atol=1e-6
        )
        dense = svd.transform(expected) / svd.singular_values_
        dense /= np.maximum(np.linalg.norm(dense, axis=1, keepdims=True), 1e-12)
        got = ours.embed(texts_)
        np.testing.assert_allclose(got @ got.T, dense @ dense.T, atol=2e-3)  # the sign of a direction is free
        for text, row in zip(texts_, got, strict=True):
            np.testing.assert_allclose(ours.embed_query(text), row, atol=1e-5)


def test_unknown_text_is_zero_and_a_rank_beyond_the_sample_is_dropped() -> None:
    fitted = fit(["あいう", "あいえ"], features_kept=100, dimensions=50)
    assert fitted.dimensions == 2
    assert not fitted.embed_query("xyz").any() and not fitted.embed(["xyz"]).any()
    assert fit(["あ"], features_kept=100, dimensions=50).dimensions == 1


def test_only_the_most_frequent_features_are_kept() -> None:
    fitted = fit(["あい", "あう", "いう"], features_kept=3, dimensions=2)
    assert [chr(k) for k in fitted.vocabulary.tolist()] == ["あ", "い", "う"]


def test_embedding_is_read_back_and_damage_is_refused(tmp_path: Path) -> None:
    fitted = fit(corpus(20), features_kept=50, dimensions=4)
    fitted.save(tmp_path)
    assert np.array_equal(Embedder.open(tmp_path).embed(QUERIES), fitted.embed(QUERIES))
    (tmp_path / "idf.npy").write_bytes((tmp_path / "idf.npy").read_bytes()[:-8])
    with pytest.raises(CorruptArtifact, match="not a readable embedding"):
        Embedder.open(tmp_path)
    np.save(tmp_path / "idf.npy", fitted.idf[:-1])
    with pytest.raises(CorruptArtifact, match="do not fit"):
        Embedder.open(tmp_path)


def indexed(vectors: np.ndarray, path: Path) -> Path:
    training = vectors[np.arange(size := training_size(len(vectors))) * len(vectors) // max(size, 1)]
    build((vectors[i : i + 100] for i in range(0, len(vectors), 100)), training, len(vectors), path)
    return path


def unit_rows(count: int, dimensions: int) -> np.ndarray:
    rows = np.random.default_rng(1).standard_normal((count, dimensions), np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_neighbours_equal_all_cosines(tmp_path: Path) -> None:
    vectors = unit_rows(700, 16)
    vectors[300] = vectors[5]
    near = Neighbours(indexed(vectors, tmp_path / "v"), 700, 16)
    for query in unit_rows(20, 16) * -1:
        cosine = vectors @ query
        found = near.search(query, 50)
        assert [number for number, _ in found[:10]] == np.argsort(-cosine)[:10].tolist()
        np.testing.assert_allclose([score for _, score in found], np.sort(cosine)[::-1][:50], atol=2e-3)
    assert [number for number, _ in near.search(vectors[5], 2)] == [5, 300]  # equal ones in order
    assert all(score > 0 for _, score in near.search(vectors[0], 700)) and len(near.search(vectors[0], 700)) < 700


def test_a_large_shard_is_lists_and_its_bytes_repeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector, "FLAT_MOST", 500)
    monkeypatch.setattr(vector, "READ_SHARE", 2)
    vectors = unit_rows(5000, 16)
    first, second = indexed(vectors, tmp_path / "v"), indexed(vectors, tmp_path / "w")
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size < 2 * 5000 * 16
    near = Neighbours(first, 5000, 16)
    hits = [vectors[i] @ vectors.T for i in range(0, 5000, 100)]
    recalled = [
        len({n for n, _ in near.search(vectors[i * 100], 10)} & set(np.argsort(-cosine)[:10].tolist()))
        for i, cosine in enumerate(hits)
    ]
    assert np.mean(recalled) > 8  # of 10, on noise, the hardest case


def test_damaged_or_foreign_neighbours_are_refused(tmp_path: Path) -> None:
    path = indexed(unit_rows(50, 8), tmp_path / "v")
    with pytest.raises(CorruptArtifact, match="50 vectors of 8 dimensions, the shard has 49 of 8"):
        Neighbours(path, 49, 8)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CorruptArtifact, match="not a readable faiss index"):
        Neighbours(path, 50, 8)
    with pytest.raises(CorruptArtifact, match="not a readable faiss index"):
        Neighbours(tmp_path / "none", 50, 8)
