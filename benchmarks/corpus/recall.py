"""`python -m benchmarks.corpus.recall --data …`: near copies found, against exact Jaccard over all pairs of real documents.

Documents are pieces of Aozora Bunko, Wikipedia articles and crawled pages, each with a few copies whose edits are known:
characters changed, put in or taken out here and there or in one run, lines in another order, boilerplate around the text.
A copy's similarity follows from its edit, but what counts is measured: the exact Jaccard similarity of the sets of
5-character shingles, of every pair of documents.
"""

import argparse
import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.machine import describe
from corpus.dedup.settings import DedupSettings
from corpus.dedup.signatures import compute_keys
from corpus.storage.judged import FIRST_BAND
from pipeline.text import minhash

SHINGLE = DedupSettings().shingle
MIN_SIMILARITY = 0.5  # pairs below are never counted, and too many to list
LEVELS = (0.7, 0.8, 0.9)
OURS = (DedupSettings().bands, DedupSettings().rows)
# (bands, rows): ours, datatrove's, LLM-jp v4's, Swallow's, and what costs about as much as ours.
SETTINGS = (OURS, (14, 8), (20, 10), (40, 20), (16, 7), (28, 8), (18, 6), (25, 5))
_PIECE = (300, 3000)  # characters of a document; a web page's main text has about a thousand
_HEAD, _FOOT = (
    "ホーム ＞ 一覧 ＞ 記事\n前の記事へ　次の記事へ\n",
    "\nこの記事を共有する\n関連記事　お問い合わせ　利用規約　著作権について\n",
)
Pairs = dict[tuple[int, int], float]  # documents in order -> exact similarity


@dataclass(frozen=True)
class Found:
    """Pairs that meet in a band, and how many there are."""

    bands: int
    rows: int
    seconds: float  # to sign all documents
    pairs: frozenset[tuple[int, int]]


def originals(data: Path, count: int, seed: int) -> list[str]:
    """Texts from all three sources, equally many of each as far as they go."""
    rng = random.Random(seed)
    kinds = [list(itertools.islice(source(data), 4 * count)) for source in (_aozora, _wikipedia, _crawl)]
    texts = []
    for kind in kinds:
        rng.shuffle(kind)
    for text in itertools.chain.from_iterable(itertools.zip_longest(*kinds)):
        if text and len(text) >= _PIECE[0] and len(texts) < count:
            size = rng.randint(*_PIECE)
            begin = rng.randrange(max(len(text) - size, 0) + 1)
            texts.append(text[begin : begin + size])
    return texts


def with_copies(texts: Sequence[str], seed: int, copies: int = 3) -> list[str]:
    """Each text and `copies` edits of it."""
    rng = random.Random(seed)
    alphabet = "".join(rng.sample("".join(texts), min(100_000, sum(map(len, texts)))))
    documents = []
    for text in texts:
        documents.append(text)
        documents += [edit(text, rng, alphabet) for _ in range(copies)]
    return documents


def edit(text: str, rng: random.Random, alphabet: str) -> str:
    """One of the edits; at most 30 % of the characters are touched, and often few, so that all similarities occur."""
    share = rng.random() * rng.choice((0.02, 0.05, 0.30))
    kind = rng.choice(("scattered", "run", "lines", "around"))
    if kind == "scattered":
        return "".join(_touched(character, rng, alphabet, share) for character in text)
    if kind == "run":
        share = rng.random() * 0.30
        size = int(share * len(text))
        begin = rng.randrange(len(text) - size + 1)
        middle = "".join(rng.choices(alphabet, k=rng.choice((0, size, size))))
        return text[:begin] + middle + text[begin + size :]
    if kind == "lines":
        lines = text.split("\n")
        for _ in range(max(int(share * len(lines)), 1)):
            one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
            lines[one], lines[other] = lines[other], lines[one]
        return "".join(_touched(character, rng, alphabet, share / 8) for character in "\n".join(lines))
    return _HEAD * rng.randint(0, 2) + text + _FOOT * rng.randint(0, 3)


def all_pairs(documents: Sequence[str], least: float = MIN_SIMILARITY) -> Pairs:
    """Exact similarity of every pair that has `least` or more: the matrix of shared shingles, a block of rows at a time."""
    from scipy.sparse import csr_array

    sets = [np.unique(minhash.shingles(text, SHINGLE)) for text in documents]
    sizes = np.array([len(its) for its in sets])
    _, columns = np.unique(np.concatenate(sets), return_inverse=True)
    starts = np.r_[0, np.cumsum(sizes)]
    matrix = csr_array((np.ones(len(columns), np.int32), columns, starts))
    transposed, found = matrix.T.tocsr(), Pairs()
    for begin in range(0, len(documents), 256):
        shared = (matrix[begin : begin + 256] @ transposed).tocoo()
        ones, others = shared.coords[0] + begin, shared.coords[1]
        similarity = shared.data / (sizes[ones] + sizes[others] - shared.data)
        for place in np.flatnonzero((ones < others) & (similarity >= least)).tolist():
            found[int(ones[place]), int(others[place])] = float(similarity[place])
    return found


def meeting(documents: Sequence[str], bands: int, rows: int) -> Found:
    """The pairs that share a band's key, through the stage's own keys."""
    settings = DedupSettings(bands=bands, rows=rows)
    pages = [("s", f"https://a.example/{number}") for number in range(len(documents))]
    began = time.perf_counter()
    keys = compute_keys(pages, documents, settings)[FIRST_BAND:]
    seconds = time.perf_counter() - began
    met = set[tuple[int, int]]()
    for row in keys:
        order = np.argsort(row, kind="stable")
        for bucket in np.split(order, np.flatnonzero(np.diff(row[order])) + 1):
            met.update(itertools.combinations(sorted(bucket.tolist()), 2))
    return Found(bands, rows, seconds, frozenset(met))


def theory(similarity: float, bands: int, rows: int) -> float:
    """Share of pairs of a similarity that meet in a band (Leskovec et al., Mining of Massive Datasets, 3.4.2)."""
    return 1 - (1 - similarity**rows) ** bands


def lines(documents: Sequence[str], exact: Pairs, seen: Sequence[Found]) -> Iterator[str]:
    """The tables, a line at a time."""
    megabytes = sum(len(text.encode()) for text in documents) / 1e6
    counts = ", ".join(f"J ≥ {level}: {sum(value >= level for value in exact.values()):,}" for level in LEVELS)
    yield f"{len(documents):,} documents, {megabytes:.1f} MB, {len(documents) * (len(documents) - 1) // 2:,} pairs; {counts}"
    yield "recall by similarity, measured (and by theory for these very pairs); verification keeps precision at 1"
    heads = [f"J ≥ {level}" for level in LEVELS] + ["[.80, .85)", "[.70, .75)"]
    yield f"{'bands × rows':14}" + "".join(f"{head:>18}" for head in heads) + f"{'candidates':>12}{'unlike':>9}{'MB/s':>7}"
    for found in seen:
        cells = [_recall(exact, found, level, 1.01) for level in LEVELS]
        cells += [_recall(exact, found, 0.80, 0.85), _recall(exact, found, 0.70, 0.75)]
        unlike = sum(exact.get(pair, 0.0) < 0.7 for pair in found.pairs)
        yield (
            f"{f'{found.bands} × {found.rows}':14}"
            + "".join(f"{cell:>18}" for cell in cells)
            + f"{len(found.pairs):>12,}{unlike:>9,}{megabytes / found.seconds:>7.0f}"
        )
    yield "precision and recall of what each takes for a copy"
    yield f"{'rule':52}" + "".join(f"{f'J ≥ {level}':>18}" for level in LEVELS)
    for name, rule in _rules(documents, exact, seen).items():
        cells = [_both(exact, rule(level), level) for level in LEVELS]
        yield f"{name:52}" + "".join(f"{cell:>18}" for cell in cells)


def _rules(
    documents: Sequence[str], exact: Pairs, seen: Sequence[Found]
) -> dict[str, Callable[[float], frozenset[tuple[int, int]]]]:
    """Ways to take pairs for copies at a level of similarity."""
    ours = {(found.bands, found.rows): found.pairs for found in seen}

    def checked(pairs: frozenset[tuple[int, int]]) -> Callable[[float], frozenset[tuple[int, int]]]:
        return lambda level: frozenset(pair for pair in pairs if exact.get(pair, 0.0) >= level)

    return {
        f"ours, {OURS[0]} × {OURS[1]}, candidates compared exactly": checked(ours[OURS]),
        "a shared band and no check, 14 × 8 (datatrove)": lambda _: ours[14, 8],
        "a shared band and no check, 20 × 10 (LLM-jp v4)": lambda _: ours[20, 10],
        "a shared band and no check, 40 × 20 (Swallow)": lambda _: ours[40, 20],
        "datasketch: LSH(J, 128) and estimate ≥ J": lambda level: _datasketch(documents, level),
    }


def _datasketch(documents: Sequence[str], level: float) -> frozenset[tuple[int, int]]:
    """Pairs of datasketch's MinHashLSH with its own bands for the threshold, whose estimated similarity reaches it."""
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=level, num_perm=128)
    signed = []
    for number, text in enumerate(documents):
        signature = MinHash(num_perm=128)
        signature.update_batch([shingle.tobytes() for shingle in np.unique(minhash.shingles(text, SHINGLE))])
        index.insert(number, signature)
        signed.append(signature)
    met = ((number, int(str(other))) for number, signature in enumerate(signed) for other in index.query(signature))
    return frozenset((one, other) for one, other in met if one < other and signed[one].jaccard(signed[other]) >= level)


def _recall(exact: Pairs, found: Found, low: float, high: float) -> str:
    pairs = [(pair, value) for pair, value in exact.items() if low <= value < high]
    if not pairs:
        return "-"
    expected = sum(theory(value, found.bands, found.rows) for _, value in pairs) / len(pairs)
    return f"{sum(pair in found.pairs for pair, _ in pairs) / len(pairs):.4f} ({expected:.4f})"


def _both(exact: Pairs, taken: frozenset[tuple[int, int]], level: float) -> str:
    right = {pair for pair, value in exact.items() if value >= level}
    return f"{len(taken & right) / max(len(taken), 1):.3f} / {len(taken & right) / max(len(right), 1):.3f}"


def _touched(character: str, rng: random.Random, alphabet: str, share: float) -> str:
    if rng.random() >= share:
        return character
    return rng.choice((rng.choice(alphabet), rng.choice(alphabet), character + rng.choice(alphabet), ""))


def _aozora(data: Path) -> Iterator[str]:
    import pyarrow.parquet as pq

    from corpus.extract.aozora import clean_aozora

    for batch in pq.ParquetFile(data / "aozora.parquet").iter_batches(64, columns=["text"]):
        for text in batch["text"].to_pylist():
            yield clean_aozora(text[:40_000])


def _wikipedia(data: Path) -> Iterator[str]:
    import gzip
    import json

    with gzip.open(data / "wikipedia-ja.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)["text"]


def _crawl(data: Path) -> Iterator[str]:
    from corpus.extract.document import Extracted, extract
    from corpus.readers import RawDocument, SourceSettings, plan_shards, read_shard

    source = SourceSettings("ja_cc", "warc", "", "", str(data / "web-ja.warc.gz"))
    for shard in plan_shards(source):
        for record in read_shard(shard):
            got = extract(record) if isinstance(record, RawDocument) else None
            if isinstance(got, Extracted):
                yield got.text


def run(data: Path, out: Callable[[str], None], count: int = 1000, seed: int = 1) -> None:
    """Measure on `count` texts and three copies of each; writes line by line to `out`."""
    documents = with_copies(originals(data, count, seed), seed)
    exact = all_pairs(documents)
    for line in lines(documents, exact, [meeting(documents, bands, rows) for bands, rows in SETTINGS]):
        out(line)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, required=True, help="the folder of development data")
    arguments.add_argument("--count", type=int, default=1000, help="texts; each has three copies")
    chosen = arguments.parse_args()
    print(describe("numpy", "numba", "datasketch"))
    run(chosen.data, print, chosen.count)


if __name__ == "__main__":
    main()
