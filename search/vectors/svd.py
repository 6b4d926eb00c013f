"""The default embedder: character 1- and 2-gram TF-IDF, reduced by an SVD that is fitted on the corpus itself.

Shapes: n passages, V features, d dimensions. No model is downloaded, no word segmentation is needed, and the same
corpus gives the same arrays. Everything a query needs is numpy and three arrays:

    vector/model/vocabulary.npy   (V,) int64, ascending: a character's code point, or (first + 1) << 21 | second
    vector/model/idf.npy          (V,) float32: ln((1 + n) / (1 + df)) + 1
    vector/model/components.npy   (V, d) float32: right singular vectors, each divided by its singular value
"""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from pipeline.errors import CorruptArtifact
from search.settings import SVD
from search.vectors.embedder import Embedder, Identity

if TYPE_CHECKING:
    from scipy import sparse

FILES = ("vocabulary.npy", "idf.npy", "components.npy")
# Code points need 21 bits; the first character of a pair is moved by one, so that no pair equals a single character.
_POINT_BITS = 21
# Halko, Martinsson, Tropp (arXiv:0909.4061) §4.2, §4.5: more directions than asked for, and power iterations where the
# spectrum decays slowly. On 8,000 passages a second power iteration moves R@1 by less than .01 and doubles the time.
OVERSAMPLING, POWER_ITERATIONS, SEED = 16, 1, 0
# Directions weaker than this beside the strongest are float32 noise; dividing by them would blow it up.
MIN_SINGULAR = 1e-3
_SPACES = re.compile(r"\s\s+")


def normalize(text: str) -> str:
    """Remove differences that do not matter here: width and compatibility forms (NFKC), case, runs of white space."""
    return _SPACES.sub(" ", unicodedata.normalize("NFKC", text).lower())


def extract_features(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Every character and every pair of neighbouring characters, of `normalize`d texts.

    Returns: (row, key), both (occurrences,) int64: which text, which feature.
    """
    folded = [normalize(text) for text in texts]
    point = np.frombuffer("".join(folded).encode("utf-32-le"), "<u4").astype(np.int64)
    row = np.repeat(np.arange(len(folded)), [len(text) for text in folded])
    inside = row[1:] == row[:-1]
    pair = ((point[:-1] + 1) << _POINT_BITS | point[1:])[inside]
    return np.concatenate([row, row[1:][inside]]), np.concatenate([point, pair])


class SvdEmbedder(Embedder):
    """A fitted embedding."""

    def __init__(self, vocabulary: np.ndarray, idf: np.ndarray, components: np.ndarray) -> None:
        """Args: (V,) int64, ascending; (V,) float32; (V, d) float32."""
        self.vocabulary, self.idf, self.components = vocabulary, idf, components
        state = hashlib.sha256()
        for array in (vocabulary, idf, components):
            state.update(np.ascontiguousarray(array).data)
        self.identity = Identity(SVD, "", f"sha256:{state.hexdigest()}", components.shape[1], ("", ""))

    @classmethod
    def read(cls, folder: Path) -> "SvdEmbedder":
        """Open the three arrays that `write` wrote, by mmap; `open_embedder` compares them with what was fitted.

        Raises: CorruptArtifact if a file is missing or shapes contradict each other.
        """
        try:
            arrays = [np.load(folder / name, mmap_mode="r", allow_pickle=False) for name in FILES]
        except (OSError, ValueError, EOFError) as error:
            raise CorruptArtifact(f"{folder}: not a readable embedding ({error}); make the index again") from error
        size = len(arrays[0])
        if arrays[1].shape != (size,) or arrays[2].ndim != 2 or len(arrays[2]) != size:
            raise CorruptArtifact(f"{folder}: arrays of shapes {[a.shape for a in arrays]} do not fit; make the index again")
        return cls(*arrays)

    def write(self, folder: Path) -> None:
        """Write the three arrays into `folder`."""
        for name, array in zip(FILES, (self.vocabulary, self.idf, self.components), strict=True):
            np.save(folder / name, array, allow_pickle=False)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """(n, d) float32 unit vectors; zeros for a text that has no known feature. Each row depends on its text alone."""
        return _scale_to_unit(weigh(texts, self.vocabulary, self.idf) @ self.components)

    def embed_query(self, text: str) -> np.ndarray:
        """(d,) float32 unit vector of one text, with numpy alone; zeros where no feature is known."""
        _, key = extract_features([text])
        column, known = _find_columns(key, self.vocabulary)
        column, count = np.unique(column[known], return_counts=True)
        weight = (1 + np.log(count)).astype(np.float32) * self.idf[column]
        return _scale_to_unit((weight @ self.components[column])[None])[0]


def weigh(texts: Sequence[str], vocabulary: np.ndarray, idf: np.ndarray) -> "sparse.csr_array":
    """(n, V) float32 TF-IDF with unit rows: (1 + ln tf) * idf, as scikit-learn's `sublinear_tf`."""
    from scipy import sparse

    row, key = extract_features(texts)
    column, known = _find_columns(key, vocabulary)
    ones = np.ones(int(known.sum()), np.float32)
    matrix = sparse.coo_array((ones, (row[known], column[known])), shape=(len(texts), len(vocabulary))).tocsr()
    matrix.data = (1 + np.log(matrix.data)) * idf[matrix.indices]
    norm = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1))).ravel()
    matrix.data /= np.repeat(norm, np.diff(matrix.indptr))
    return matrix


def fit(texts: Sequence[str], *, features_kept: int, dimensions: int) -> SvdEmbedder:
    """Fit vocabulary, weights and directions; deterministic, single-threaded.

    Args:
        texts: n passages, a sample of the corpus; at least one.
        features_kept: the V most frequent features (by passages, then by key) are kept.
        dimensions: d at most; fewer where the sample spans fewer.
    """
    from threadpoolctl import threadpool_limits

    # Sums of BLAS depend on how many threads share them; one thread gives the same bytes on any number of cores.
    with threadpool_limits(1):
        vocabulary, frequency = _choose_vocabulary(texts, features_kept)
        idf = (np.log((1 + len(texts)) / (1 + frequency)) + 1).astype(np.float32)
        directions, strength = _decompose(weigh(texts, vocabulary, idf), dimensions)
        kept = strength > MIN_SINGULAR * strength[0]
        # Whitening: R@1 of JSQuAD questions .546 -> .590 at d = 256.
        components = directions[kept] * (strength[0] / strength[kept])[:, None]
    return SvdEmbedder(vocabulary, idf, np.ascontiguousarray(components.T, np.float32))


def _choose_vocabulary(texts: Sequence[str], most: int) -> tuple[np.ndarray, np.ndarray]:
    """The most frequent features, ascending, and in how many texts each is."""
    row, key = extract_features(texts)
    order = np.lexsort((row, key))
    row, key = row[order], key[order]
    first = np.ones(len(key), bool)
    first[1:] = (row[1:] != row[:-1]) | (key[1:] != key[:-1])
    result, frequency = np.unique(key[first], return_counts=True)
    kept = np.sort(np.lexsort((result, -frequency))[:most])
    return result[kept], frequency[kept]


def _decompose(matrix: "sparse.csr_array", dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """Randomized SVD: (d, V) right singular vectors and (d,) singular values, strongest first."""
    rows, columns = cast("tuple[int, int]", matrix.shape)
    width = min(dimensions + OVERSAMPLING, rows, columns)
    transposed = matrix.T.tocsr()
    basis = matrix @ np.random.default_rng(SEED).standard_normal((columns, width), np.float32)
    for _ in range(POWER_ITERATIONS):
        basis = matrix @ np.linalg.qr(transposed @ np.linalg.qr(basis).Q).Q
    small = (transposed @ np.linalg.qr(basis).Q).T
    _, strength, directions = np.linalg.svd(small, full_matrices=False)
    return directions[:dimensions], strength[:dimensions]


def _find_columns(key: np.ndarray, vocabulary: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Column of each key, and whether the vocabulary has it."""
    column = np.minimum(np.searchsorted(vocabulary, key), len(vocabulary) - 1)
    return column, vocabulary[column] == key


def _scale_to_unit(vectors: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, norm, out=np.zeros_like(vectors), where=norm > 0)
