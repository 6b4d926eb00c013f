"""Tracing answers in the index of a whole run: processor time, and what of clean text is in other text by chance.

The works of Aozora Bunko are the training data; neither Wikipedia's articles nor the items of JGLUE were made from them, so
what is found of those is there by chance: it decides how long a span has to be that says something.
"""

import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.machine import describe
from benchmarks.search.run import make_run
from benchmarks.search.texts import ANSWERS, Texts, load, parser, working
from pipeline.text.benchmark_files import read_passages
from search.provenance.contamination import find_contamination
from search.provenance.exposure import measure_exposure
from search.provenance.trace import TraceSettings, count_covered, find_maximal_spans, trace_text
from search.searcher import Searcher

TRIALS = 5
GUIDE = 5e-3  # seconds of processor time to trace an answer of 500 characters, at the median
SPANS = (4, 6, 8, 10, 12, 13, 16)  # characters
BENCHMARKS = tuple(f"jglue-{name}-valid.json" for name in ("jsquad", "jcommonsenseqa", "jsts"))
STRINGS = ("源氏物語", "学校", "は、", "の")
_SEED = 11


def main() -> None:
    arguments = parser(__doc__).parse_args()
    print(describe("numpy", "numba"), f"load {os.getloadavg()[0]:.1f}", sep=", ", flush=True)
    texts = load(arguments.data)
    with working(arguments.work) as work:
        searcher = Searcher.open(make_run(work / "one", texts.documents, shard_bytes=1 << 30))
        size = searcher.texts.searched_bytes / 1e6
        print(f"{len(texts.documents):,} documents, {size:.1f} MB, {searcher.total:,} iterations", flush=True)
        median = tracing(searcher, texts)
        spans(searcher, texts)
        exposing(searcher)
        benchmarks(searcher, arguments.data)
    if median > GUIDE:
        sys.exit(f"demanded: {GUIDE * 1e3:g} ms of processor time for a trace at the median, took {median * 1e3:.1f} ms")


def tracing(searcher: Searcher, texts: Texts) -> float:
    """Print times of whole traces; returns the median of the default settings."""
    median, works = 0.0, [text for text in texts.documents if len(text) > 2000]
    rng = random.Random(_SEED)
    verbatim = [(text := rng.choice(works))[(at := rng.randrange(len(text) - 500)) : at + 500] for _ in range(ANSWERS)]
    default = TraceSettings()
    print(f"traces of {ANSWERS} answers of {len(texts.answers[0])} characters, processor time")
    for name, answers, settings in (
        (f"spans of {default.min_chars}", texts.answers, default),
        ("spans of 10", texts.answers, replace(default, min_chars=10)),
        ("spans of 4", texts.answers, replace(default, min_chars=4)),
        ("unlikeliest .05", texts.answers, replace(default, keep_per_char=0.05)),
        ("verbatim", verbatim, default),
    ):
        trials = np.empty((TRIALS, len(answers)))  # all answers in turn: none finds its own pages in the processor's cache
        for trial in range(TRIALS):
            for number, answer in enumerate(answers):
                begun = time.process_time()
                trace_text(searcher, answer, settings)
                trials[trial, number] = time.process_time() - begun
        times = np.median(trials[1:], axis=0)
        found = np.mean([len(trace_text(searcher, answer, settings).spans) for answer in answers])
        p50, p95 = np.percentile(times, (50, 95)) * 1e3
        print(f"  {name:16} p50 {p50:5.2f} p95 {p95:5.2f} mean {np.mean(times) * 1e3:5.2f} ms, {found:5.1f} spans", flush=True)
        median = median or float(np.median(times))
    return median


def _median(call: Callable[[], object]) -> float:
    times = []
    for _ in range(TRIALS):
        begun = time.process_time()
        call()
        times.append(time.process_time() - begun)
    return float(np.median(times[1:]))


def spans(searcher: Searcher, texts: Texts) -> None:
    """Print how much of an answer is in maximal spans, by their length: of held-out literature, and by chance."""
    half = len(texts.answers) // 2
    matches = [searcher.texts.matches(answer) for answer in texts.answers]
    print("maximal spans of an answer and its share that they cover: held-out works, Wikipedia")
    for least in SPANS:
        shown = []
        for part, answers in ((matches[:half], texts.answers[:half]), (matches[half:], texts.answers[half:])):
            bounds = [find_maximal_spans(*one, min_chars=least) for one in part]
            share = np.mean([count_covered(b) / len(a) for b, a in zip(bounds, answers, strict=True)])
            shown.append(f"{np.mean([len(b) for b in bounds]):6.1f} {share:6.1%}")
        print(f"  {least:2} characters: {'   '.join(shown)}")


def exposing(searcher: Searcher) -> None:
    for text in STRINGS:
        found, seconds = measure_exposure(searcher, text), _median(lambda text=text: measure_exposure(searcher, text))
        print(
            f"exposure of {text}: {found.occurrences:,} occurrences, {found.total:,} reads, {seconds * 1e3:.1f} ms", flush=True
        )


def benchmarks(searcher: Searcher, data: Path) -> None:
    """Print how fast every document is searched for the texts of JGLUE, and how many are there by chance."""
    passages = [passage for name in BENCHMARKS for passage in read_passages(data / name)]
    begun = time.process_time()
    found = find_contamination(searcher, passages)
    seconds = time.process_time() - begun
    size = searcher.texts.searched_bytes / 1e6
    print(f"{len(passages):,} texts of JGLUE in {size:.1f} MB: {seconds:.1f} s ({size / seconds:.1f} MB/s): {found.total()}")


if __name__ == "__main__":
    main()
