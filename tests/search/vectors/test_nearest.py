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
from search.settings import AnyKind
from search.vectors import nearest
from search.vectors import svd as embed_svd
from search.vectors.embedder import Identity
from search.vectors.factory import open_embedder
from search.vectors.nearest import Neighbours, build, choose_kind
from search.vectors.svd import extract_features, fit, normalize, weigh
from tests.search.helpers.world import PARTS, sentence
from tests.tokenizer.helpers.strategies import texts

QUERIES = ["源氏物語の作者は紫式部", "ＦＩＬＥを  保存", "🙂", "ファイル", "a.*[b]", "か\u3099葛\U000e0100", "未知の字: 鱻"]


def corpus(count: int) -> list[str]:
    rng = random.Random(3)
    return [sentence(source, rng) + sentence(source, rng) for source in PARTS for _ in range(count // 2)]


def vectorizer() -> TfidfVectorizer:
    return TfidfVectorizer(analyzer="char", ngram_range=(1, 2), sublinear_tf=True, preprocessor=normalize, dtype=np.float64)


@given(texts)
def test_features_are_the_characters_and_pairs_of_scikit_learn(text: str) -> None:
    row, key = extract_features(["x", text, "y"])
    inside = key[row == 1].tolist()
    made = [chr(k) if k < 1 << 21 else chr((k >> 21) - 1) + chr(k & ((1 << 21) - 1)) for k in inside]
    assert sorted(made) == sorted(vectorizer().build_analyzer()(text))


def test_embedding_equals_the_scikit_learn_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed_svd, "OVERSAMPLING", 200)  # as many directions as passages: the randomized SVD becomes exact
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
    opened = open_embedder(tmp_path)
    assert opened.identity == fitted.identity
    assert np.array_equal(opened.embed(QUERIES), fitted.embed(QUERIES))
    np.save(tmp_path / "idf.npy", fitted.idf * np.float32(1.01))
    with pytest.raises(CorruptArtifact, match=r"the index was made with 'svd' .*, now there is 'svd' \("):
        open_embedder(tmp_path)
    np.save(tmp_path / "idf.npy", fitted.idf[:-1])
    with pytest.raises(CorruptArtifact, match="do not fit"):
        open_embedder(tmp_path)
    (tmp_path / "idf.npy").write_bytes((tmp_path / "idf.npy").read_bytes()[:-8])
    with pytest.raises(CorruptArtifact, match="not a readable embedding"):
        open_embedder(tmp_path)
    (tmp_path / "embedder.json").write_text("{}")
    with pytest.raises(CorruptArtifact, match=r"embedder\.json: not readable"):
        open_embedder(tmp_path)


def identity(dimensions: int, digest: str = "sha256:0") -> Identity:
    return Identity("svd", "", digest, dimensions, ("", ""))


def indexed(vectors: np.ndarray, folder: Path, kind: AnyKind = "auto", *, step: int = 100) -> Path:
    folder.mkdir()
    batches = (vectors[i : i + step] for i in range(0, len(vectors), step))
    build(batches, folder, count=len(vectors), identity=identity(vectors.shape[1]), kind=kind)
    return folder


def opened(folder: Path, vectors: np.ndarray) -> Neighbours:
    return Neighbours(folder, len(vectors), identity(vectors.shape[1]))


def unit_rows(count: int, dimensions: int, *, seed: int = 1) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, dimensions), np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("dimensions", [16, 17, 1])
def test_neighbours_equal_all_cosines(tmp_path: Path, dimensions: int) -> None:
    vectors = unit_rows(700, dimensions)
    vectors[300] = vectors[5]
    near = opened(indexed(vectors, tmp_path / "v"), vectors)
    for query in unit_rows(20, dimensions, seed=2):
        cosine = vectors @ query
        found = near.search(query, 50)
        np.testing.assert_allclose([score for _, score in found], np.sort(cosine)[::-1][:50], atol=2e-3)
        np.testing.assert_allclose([cosine[number] for number, _ in found], [score for _, score in found], atol=2e-3)
    if dimensions > 1:
        assert [number for number, _ in near.search(vectors[5], 2)] == [5, 300]  # equal ones in order
    assert all(score > 0 for _, score in near.search(vectors[0], 700)) and len(near.search(vectors[0], 700)) < 700


@pytest.mark.parametrize("kind", ["scan", "hnsw", "ivf-sq8", "ivf-pq"])
@pytest.mark.parametrize("dimensions", [24, 15])
def test_coded_vectors_find_the_nearest_and_their_exact_cosines(tmp_path: Path, kind: AnyKind, dimensions: int) -> None:
    vectors = unit_rows(4000, dimensions)
    vectors[7] = 0  # a passage of which nothing is known
    near = opened(indexed(vectors, tmp_path / "v", kind), vectors)
    stored = vectors.astype(np.float16).astype(np.float32)
    shares = []
    for query in unit_rows(100, dimensions, seed=2):
        cosine = stored @ query
        found = near.search(query, 10)
        assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)
        np.testing.assert_allclose([score for _, score in found], [cosine[number] for number, _ in found], atol=1e-6)
        shares.append(len({number for number, _ in found} & set(np.argsort(-cosine)[:10].tolist())) / 10)
    # What the index says of itself, measured on its own vectors, holds for others; noise is the hardest case.
    assert np.mean(shares) >= 0.93
    assert near.about.recall >= nearest.TARGET
    assert len(near.search(vectors[0], 3)) == 3
    assert not near.search(np.zeros(dimensions, np.float32), 10)


@pytest.mark.parametrize("kind", ["flat", "scan", "hnsw", "ivf-sq8", "ivf-pq"])
def test_bytes_repeat_and_do_not_depend_on_batches(tmp_path: Path, kind: AnyKind) -> None:
    vectors = unit_rows(3000, 16)
    first, second = indexed(vectors, tmp_path / "v", kind), indexed(vectors, tmp_path / "w", kind, step=701)
    files = sorted(path.name for path in first.iterdir())
    assert files == sorted(["index.faiss", "vectors.json"] + (["vectors.f16"] if kind != "flat" else []))
    for name in files:
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_codes_are_small(tmp_path: Path) -> None:
    vectors = unit_rows(20_000, 64)
    sizes = {
        k: (indexed(vectors, tmp_path / k, k) / "index.faiss").stat().st_size / 20_000 for k in ("flat", "scan", "ivf-sq8")
    }
    assert 128 <= sizes["flat"] < 129 and 16 <= sizes["scan"] < 18 and 64 + 8 <= sizes["ivf-sq8"] < 76


def test_as_many_lists_and_candidates_are_read_as_the_vectors_need(tmp_path: Path) -> None:
    centres = unit_rows(40, 32)
    spread = unit_rows(8000, 32, seed=3) * 0.1 + np.repeat(centres, 200, axis=0)
    clustered = (spread / np.linalg.norm(spread, axis=1, keepdims=True)).astype(np.float32)
    easy = opened(indexed(clustered, tmp_path / "v", "ivf-sq8"), clustered)
    noise = unit_rows(8000, 32)
    hard = opened(indexed(noise, tmp_path / "w", "ivf-sq8"), noise)
    assert easy.about.probes * 4 <= hard.about.probes


def test_kind_is_chosen_by_size_and_few_vectors_are_flat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "FLAT_MAX", 2000)
    monkeypatch.setattr(nearest, "SCAN_MAX", 3000)
    assert [choose_kind(n) for n in (1, 2000, 2001, 3000, 3001)] == ["flat", "flat", "scan", "scan", "ivf-pq"]
    assert choose_kind(nearest.MIN_TRAINED, "hnsw") == "hnsw" and choose_kind(nearest.MIN_TRAINED - 1, "hnsw") == "flat"


def test_damaged_or_foreign_neighbours_are_refused(tmp_path: Path) -> None:
    folder = indexed(unit_rows(1200, 8), tmp_path / "v", "scan")
    with pytest.raises(CorruptArtifact, match=r"1200 vectors of 8 dimensions .* expected 1199 of 8"):
        Neighbours(folder, 1199, identity(8))
    with pytest.raises(CorruptArtifact, match=r"expected 1200 of 8 made by .* \('svd'\)"):
        Neighbours(folder, 1200, identity(8, "sha256:1"))  # the same shape, another model
    (folder / "vectors.f16").write_bytes((folder / "vectors.f16").read_bytes()[:-16])
    with pytest.raises(CorruptArtifact, match=r"vectors\.f16: 19184 bytes, expected 19200"):
        Neighbours(folder, 1200, identity(8))
    (folder / "vectors.f16").unlink()
    with pytest.raises(CorruptArtifact, match=r"vectors\.f16: not readable"):
        Neighbours(folder, 1200, identity(8))
    (folder / "index.faiss").write_bytes((folder / "index.faiss").read_bytes()[:-40])
    with pytest.raises(CorruptArtifact, match="not a readable faiss index"):
        Neighbours(folder, 1200, identity(8))
    with pytest.raises(CorruptArtifact, match=r"vectors\.json: not readable"):
        Neighbours(tmp_path / "none", 50, identity(8))


def test_fewer_vectors_than_passages_or_other_dimensions_are_no_index(tmp_path: Path) -> None:
    with pytest.raises(CorruptArtifact, match="20 vectors for 21 passages"):
        build([unit_rows(20, 8)], tmp_path, count=21, identity=identity(8))
    with pytest.raises(CorruptArtifact, match=r"shape \(20, 8\), expected \(n, 9\)"):
        build([unit_rows(20, 8)], tmp_path, count=20, identity=identity(9))
