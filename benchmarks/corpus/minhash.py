"""`python -m benchmarks.corpus.minhash --data …`: MinHash signatures against datatrove and rensa on the same documents.

One process on one core, the same hashes of shingles of 5 visible characters for all, from Python strings to signatures.
datatrove runs its own `get_shingles` and `get_signature` with a tokenizer that gives characters and without normalization.
rensa gets shingles as its users make them, slices of a Python string, through its batch interfaces, which its README calls
the fastest; "rho" is its sketch of sampled tokens, which is no full MinHash. The row "our shingles" gives rensa the hashes
of our kernels in one buffer: what it could do if it took texts. Rates are MB of UTF-8 text a second of processor time,
medians of trials in turn. Accuracy: estimate less exact Jaccard similarity of the sets of shingles, over pairs of a text
and an edit of it.
"""

import argparse
import os
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.corpus.recall import edit, originals
from benchmarks.corpus.speed import Rate, one_core, seconds
from benchmarks.machine import describe
from corpus.dedup.settings import DedupSettings
from pipeline.text import minhash
from pipeline.text.characters import class_table, is_visible

DEFAULTS = DedupSettings()
WIDTH, BANDS, ROWS = DEFAULTS.shingle, DEFAULTS.bands, DEFAULTS.rows
HASHES = BANDS * ROWS
TRIALS = 5
PAIRS, MIN_PAIRS = 1000, 500
# Signatures a second against each peer's, from text to signature.
MIN_RATIOS = {"datatrove": 20.0, "rensa": 5.0}
# How much further from the truth than the best peer our estimates may be on average: the standard error of a mean of
# 1,000 absolute errors of .03 is .001.
SLACK = 0.003
OUR_SHINGLES = ", our shingles"


@dataclass(frozen=True)
class System:
    """A way to sign texts: all at once, and, where the library offers it, from shingles made before."""

    name: str
    shingle: Callable[[Sequence[str]], Sequence[Any]]
    from_shingles: Callable[[Sequence[Any]], Any]
    rows: Callable[[Any], Sequence[Any]] = list  # signatures one by one, of what `from_shingles` returns

    def sign(self, texts: Sequence[str]) -> Any:
        """Signatures of texts, as the library holds them."""
        return self.from_shingles(self.shingle(texts))


def visible(text: str) -> str:
    """The characters of which shingles are made."""
    return "".join(character for character in text if is_visible(ord(character), class_table()))


def equal_share(one: Any, other: Any) -> float:
    """Similarity as signatures estimate it."""
    return float(np.mean(np.asarray(one) == np.asarray(other)))


def ours() -> System:
    def shingle(texts: Sequence[str]) -> list[np.ndarray]:
        return [minhash.shingles(text, WIDTH) for text in texts]

    def from_shingles(made: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [minhash.signature(its, HASHES) for its in made]

    return System("ours", shingle, from_shingles)


def datatrove() -> System:
    """MinhashDedupSignature as it is, with normalization switched off and characters for words."""
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
    from datatrove.utils.text import TextNormConfig
    from datatrove.utils.word_tokenizers import WordTokenizer

    class Characters(WordTokenizer):
        def word_tokenize(self, text: str) -> list[str]:
            return list("".join(text.split()))

        def sent_tokenize(self, text: str) -> list[str]:
            return [text]

        def span_tokenize(self, text: str) -> list[tuple[int, int]]:
            return [(0, len(text))]

    as_is = TextNormConfig(False, False, False, False, False)
    config = MinhashConfig(n_grams=WIDTH, num_buckets=BANDS, hashes_per_bucket=ROWS, norm_config=as_is)
    # documented as a language's name, passed on to a function that takes a tokenizer too
    characters: Any = Characters()
    step = MinhashDedupSignature("memory://minhash", config, language=characters)
    # its string hash fails on str with xxhash 4, which takes bytes only
    digest = step._hash_func
    step._hash_func = lambda text: digest(text.encode())

    def shingle(texts: Sequence[str]) -> list[np.ndarray]:
        return [step.get_shingles(text) for text in texts]

    def from_shingles(made: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [np.concatenate([np.asarray(bucket) for bucket in step.get_signature(its)]) for its in made]

    return System("datatrove", shingle, from_shingles)


def rensa(method: str, *, ours: bool = False) -> System:
    """One of rensa's batch interfaces, "RMinHash.digest_matrix_from_token_sets" for one.

    Args:
        ours: whether it gets the hashes that our kernels make of shingles instead of strings.
    """
    import rensa as library

    maker, name = method.split(".")
    batch = getattr(getattr(library, maker), name)

    def shingle(texts: Sequence[str]) -> list[list[str]]:
        joined = ["".join(text.split()) for text in texts]
        return [[text[i : i + WIDTH] for i in range(max(len(text) - WIDTH + 1, 1))] for text in joined]

    def hashed(texts: Sequence[str]) -> list[np.ndarray]:
        return [minhash.shingles(text, WIDTH) for text in texts]

    def from_hashes(made: Sequence[np.ndarray]) -> Any:
        starts = np.cumsum([0, *map(len, made)]).astype(np.uint64)
        return batch(np.concatenate(made), starts, HASHES, 42)

    def rows(signatures: Any) -> Sequence[Any]:
        return signatures if isinstance(signatures, list) else signatures.to_rows()

    shown = f"rensa {maker}{' rho' if name.endswith('_rho') else ''}{OUR_SHINGLES if ours else ''}"
    if ours:
        return System(shown, hashed, from_hashes, rows)
    return System(shown, shingle, lambda made: batch(made, HASHES, 42), rows)


def speed(texts: Sequence[str], systems: Sequence[System], out: Callable[[str], None]) -> dict[str, float]:
    """Rates of all systems; the ratio of our rate from text to signature to each of theirs."""
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    out(f"   {len(texts):,} documents, {megabytes:.1f} MB; text to signature | shingles alone | signature alone")
    timed: dict[str, list[tuple[float, float, float]]] = {system.name: [] for system in systems}
    keys = list[float]()
    for system in systems:
        system.sign(texts[:2])
    minhash.keys(texts[:2], WIDTH, BANDS, ROWS)
    for _ in range(TRIALS):
        keys.append(seconds(lambda: minhash.keys(texts, WIDTH, BANDS, ROWS)))
        for system in systems:
            made = system.shingle(texts)
            one = seconds(lambda system=system, made=made: system.from_shingles(made))
            del made
            shingling = seconds(lambda system=system: system.shingle(texts))
            timed[system.name].append((seconds(lambda system=system: system.sign(texts)), shingling, one))
    out(f"   {'ours, band keys of a batch':32} {Rate.of(megabytes, keys)}")
    for name, trials in timed.items():
        whole, shingling, alone = (Rate.of(megabytes, column) for column in zip(*trials, strict=True))
        out(f"   {name:32} {whole} | {shingling.median:7.1f} | {alone.median:7.1f}")
    best = min(statistics.median(column) for column in (keys, [whole for whole, _, _ in timed["ours"]]))
    return {name: statistics.median(whole for whole, _, _ in trials) / best for name, trials in timed.items() if name != "ours"}


def accuracy(data: Path, systems: Sequence[System], out: Callable[[str], None]) -> dict[str, float]:
    """Mean absolute error of each system's estimates, in all and by similarity."""
    rng = random.Random(5)
    texts = originals(data, PAIRS, 5)
    alphabet = "".join(rng.sample("".join(texts), 100_000))
    edited = [edit(text, rng, alphabet) for text in texts]
    exact = np.array([_jaccard(one, other) for one, other in zip(texts, edited, strict=True)])
    errors = {}
    bins = [(0.0, 0.5), (0.5, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 1.01)]
    counts = [int(((exact >= low) & (exact < high)).sum()) for low, high in bins]
    out(f"   {len(exact):,} pairs; mean absolute error, mean error | by similarity from {[low for low, _ in bins]}: {counts}")
    for system in systems:
        estimates = np.array(list(map(equal_share, *(system.rows(system.sign(side)) for side in (texts, edited)))))
        off = estimates - exact
        errors[system.name] = float(np.abs(off).mean())
        parts = ", ".join(f"{np.abs(off[(exact >= low) & (exact < high)]).mean():.4f}" for low, high in bins)
        out(f"   {system.name:32} {errors[system.name]:.4f}, {off.mean():+.4f} | {parts}")
    assert len(exact) >= MIN_PAIRS, f"{len(exact)} pairs, expected {MIN_PAIRS}"
    return errors


def _jaccard(one: str, other: str) -> float:
    """By Python sets of strings, which no system's shingles take part in."""
    sets = [{text[i : i + WIDTH] for i in range(len(text) - WIDTH + 1)} for text in map(visible, (one, other))]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def run(data: Path, out: Callable[[str], None], documents: int = 2000) -> None:
    """Measure the speed on so many documents, and accuracy; raises AssertionError where we are too slow or less accurate."""
    os.environ["RAYON_NUM_THREADS"] = "1"
    out(f"   on core {one_core()}")
    tokens, flat = "RMinHash.digest_matrix_from_token_sets", "RMinHash.digest_matrix_from_flat_token_hashes"
    systems = (
        ours(),
        datatrove(),
        rensa(tokens),
        rensa(f"{tokens}_rho"),
        rensa("CMinHash.digests_from_token_sets"),
        rensa(flat, ours=True),
    )
    texts = originals(data, documents, 6)
    ratios = speed(texts, systems, out)
    out("   ours is faster from text to signature: " + ", ".join(f"{ratio:.1f} × {name}" for name, ratio in ratios.items()))
    errors = accuracy(data, systems, out)
    for peer, least in MIN_RATIOS.items():
        for name, ratio in ratios.items():
            is_theirs = name.startswith(peer) and not name.endswith(OUR_SHINGLES)
            assert not is_theirs or ratio >= least, f"{ratio:.1f} times as fast as {name}, expected {least}"
    best = min(error for name, error in errors.items() if name != "ours")
    assert errors["ours"] <= best + SLACK, f"mean absolute error {errors['ours']:.4f}, the best peer's {best:.4f}"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--documents", type=int, default=2000, help="for speed")
    chosen = arguments.parse_args()
    print(describe("numpy", "numba", "datatrove", "rensa"), flush=True)
    run(chosen.data, lambda line: print(line, flush=True), chosen.documents)


if __name__ == "__main__":
    main()
