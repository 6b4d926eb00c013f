"""`python -m benchmarks.corpus_minhash --data …`: MinHash signatures against datatrove and rensa on the same documents.

One process on one core, 112 hashes of shingles of 5 visible characters for all. datatrove runs its own `get_shingles` and
`get_signature` with a tokenizer that gives characters and without normalization; rensa gets shingles as its users make
them, slices of a Python string. Rates are MB of UTF-8 text a second, medians of trials in turn. Accuracy: estimate less
exact Jaccard similarity of the sets of shingles, over pairs of a text and an edit of it.
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

from benchmarks.corpus_recall import edit, originals
from benchmarks.corpus_speed import Rate, one_core, seconds
from benchmarks.machine import describe
from corpus import minhash
from corpus.characters import class_table, is_visible

WIDTH, BANDS, ROWS = 5, 14, 8
HASHES = BANDS * ROWS
TRIALS = 5
PAIRS, LEAST_PAIRS = 1000, 500
# Signatures a second against each peer's, from text to signature.
LEAST_RATIOS = {"datatrove": 20.0, "rensa": 5.0}
# How much further from the truth than the best peer our estimates may be on average: the standard error of a mean of
# 1,000 absolute errors of .03 is .001.
SLACK = 0.003
Signatures = Callable[[Sequence[str]], Sequence[Any]]


@dataclass(frozen=True)
class System:
    """A way to sign texts: all at once, and, where the library offers it, from shingles made before."""

    name: str
    sign: Signatures
    shingle: Callable[[Sequence[str]], Sequence[Any]]
    from_shingles: Callable[[Sequence[Any]], Sequence[Any]]
    similarity: Callable[[Any, Any], float]


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

    return System("ours", lambda texts: from_shingles(shingle(texts)), shingle, from_shingles, equal_share)


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

    return System("datatrove", lambda texts: from_shingles(shingle(texts)), shingle, from_shingles, equal_share)


def rensa(kind: str) -> System:
    import rensa as library

    maker = getattr(library, kind)

    def shingle(texts: Sequence[str]) -> list[list[str]]:
        joined = ["".join(text.split()) for text in texts]
        return [[text[i : i + WIDTH] for i in range(max(len(text) - WIDTH + 1, 1))] for text in joined]

    def from_shingles(made: Sequence[list[str]]) -> list[Any]:
        signatures = []
        for its in made:
            signature = maker(num_perm=HASHES, seed=42)
            signature.update(its)
            signatures.append(signature.digest())
        return signatures

    return System(f"rensa {kind}", lambda texts: from_shingles(shingle(texts)), shingle, from_shingles, equal_share)


def rensa_hashed(texts: Sequence[str]) -> Callable[[], object]:
    """rensa's signatures of our shingles' hashes in one buffer, without any string: its fastest exact way in."""
    import rensa as library

    matrix = getattr(library, "RMinHash").digest_matrix_from_flat_token_hashes  # noqa: B009 - its stub leaves the class out
    made = [minhash.shingles(text, WIDTH) for text in texts]
    starts = np.cumsum([0, *map(len, made)]).astype(np.uint64)
    hashes = np.concatenate(made)
    return lambda: matrix(hashes, starts, HASHES, 42)


def speed(texts: Sequence[str], systems: Sequence[System], out: Callable[[str], None]) -> dict[str, float]:
    """Rates of all systems; the ratio of our rate from text to signature to each of theirs."""
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    out(f"   {len(texts):,} documents, {megabytes:.1f} MB; text to signature | shingles alone | signature alone")
    timed: dict[str, list[tuple[float, float, float]]] = {system.name: [] for system in systems}
    keys, hashed = [], []
    in_one_buffer = rensa_hashed(texts)
    for system in systems:
        system.sign(texts[:2])
    minhash.keys(texts[:2], WIDTH, BANDS, ROWS)
    for _ in range(TRIALS):
        keys.append(seconds(lambda: minhash.keys(texts, WIDTH, BANDS, ROWS)))
        hashed.append(seconds(in_one_buffer))
        for system in systems:
            made = system.shingle(texts)
            one = seconds(lambda system=system, made=made: system.from_shingles(made))
            shingling = seconds(lambda system=system: system.shingle(texts))
            timed[system.name].append((seconds(lambda system=system: system.sign(texts)), shingling, one))
    out(f"   {'ours, band keys of a batch':28} {Rate.of(megabytes, keys)}")
    for name, trials in timed.items():
        whole, shingling, alone = (Rate.of(megabytes, column) for column in zip(*trials, strict=True))
        out(f"   {name:28} {whole} | {shingling.median:7.1f} | {alone.median:7.1f}")
    out(f"   {'rensa, our hashes, a buffer':28} {'':30} | {'':7} | {Rate.of(megabytes, hashed).median:7.1f}")
    best = min(statistics.median(column) for column in (keys, [whole for whole, _, _ in timed["ours"]]))
    return {name: statistics.median(whole for whole, _, _ in trials) / best for name, trials in timed.items()}


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
        estimates = np.array(list(map(system.similarity, system.sign(texts), system.sign(edited))))
        off = estimates - exact
        errors[system.name] = float(np.abs(off).mean())
        parts = ", ".join(f"{np.abs(off[(exact >= low) & (exact < high)]).mean():.4f}" for low, high in bins)
        out(f"   {system.name:28} {errors[system.name]:.4f}, {off.mean():+.4f} | {parts}")
    assert len(exact) >= LEAST_PAIRS, f"{len(exact)} pairs, expected {LEAST_PAIRS}"
    return errors


def _jaccard(one: str, other: str) -> float:
    """By Python sets of strings, which no system's shingles take part in."""
    sets = [{text[i : i + WIDTH] for i in range(len(text) - WIDTH + 1)} for text in map(visible, (one, other))]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def run(data: Path, out: Callable[[str], None]) -> None:
    """Measure; raises AssertionError where we are too slow or less accurate."""
    os.environ["RAYON_NUM_THREADS"] = "1"
    out(f"   on core {one_core()}")
    systems = (ours(), datatrove(), rensa("RMinHash"), rensa("CMinHash"))
    texts = originals(data, 2000, 6)
    ratios = speed(texts, systems, out)
    out("   ours is faster from text to signature: " + ", ".join(f"{ratio:.1f} × {name}" for name, ratio in ratios.items()))
    errors = accuracy(data, systems, out)
    for peer, least in LEAST_RATIOS.items():
        for name, ratio in ratios.items():
            assert not name.startswith(peer) or ratio >= least, f"{ratio:.1f} times as fast as {name}, expected {least}"
    best = min(error for name, error in errors.items() if name != "ours")
    assert errors["ours"] <= best + SLACK, f"mean absolute error {errors['ours']:.4f}, the best peer's {best:.4f}"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, required=True)
    print(describe("numpy", "numba", "datatrove", "rensa"), flush=True)
    run(arguments.parse_args().data, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
