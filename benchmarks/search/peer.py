"""The suffix array against infini-gram's byte index of the same documents: one core, warm, in turn in one process.

A query's processor time is the least of some trials, so that what other processes do to caches counts little; wall time is of
every call. Percentiles are over queries; the clock's own time is taken off. What is demanded is demanded of processor time:
infini-gram starts two threads a query, and how long they wait for a core that others use too makes the tail of its wall time
(p95 of 0.3 to 4 ms from run to run). It is measured as it comes, and beside that with its prefetching switched off, which
saves system calls where all is in memory. For `trace` both return the maximal spans of at least MINIMUM characters, their
counts and every place where they are.
"""

import gc
import json
import os
import random
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe
from benchmarks.search.infini import THEIRS, Cost, Peer, available, in_process, source_of, theirs
from benchmarks.search.texts import Texts, joined, load, ours, parser, working
from search.exact.suffix_array import SuffixArray, build, find_character_begins

TRIALS = 5
QUERIES = 400  # of each kind
SIZES = (2, 4, 8, 16, 50)  # characters of queries from the text
FETCHED, AROUND = 10, 300  # occurrences, and bytes of text before and after them
MINIMUM = 4  # characters of a span
AS_IT_COMES, UNPREFETCHED = THEIRS, "without prefetching"
NO_PREFETCH = {"ds_prefetch_depth": 0, "sa_prefetch_depth": 0, "od_prefetch_depth": 0}
# Times that ours is at least faster, and bytes on disk for a byte of text at most.
DEMANDED = {"count p50": 8.0, "count p95": 40.0, "trace": 20.0, "build": 5.0}
MAX_BYTES = 2.4
# Runs that Japanese writes words of content with.
_WORD = re.compile(r"[\u4e00-\u9fff]{2,8}|[\u30a1-\u30fc]{2,12}")
_SEED = 8


def main() -> None:
    arguments = parser(__doc__).parse_args()
    if not available():
        print(f"{THEIRS} is not installed here (it has wheels for Linux on x86-64 only): nothing is compared")
        return
    print(describe("numpy", "numba", "pydivsufsort", "infini-gram"), f"load {os.getloadavg()[0]:.1f}", sep=", ", flush=True)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    texts = load(arguments.data)
    with working(arguments.work) as work:
        ratios, size = builds(work, texts)
        suffixes = SuffixArray(ours(work, texts.documents))
        index = theirs(work, texts.documents)[0]
        peers = {AS_IT_COMES: Peer(index), UNPREFETCHED: Peer(index, **NO_PREFETCH)}
        gc.disable()  # a collection would fall into one query's time
        ratios |= counting(suffixes, peers, queries_of(texts))
        ratios |= fetching(suffixes, peers, queries_of(texts))
        ratios |= tracing(suffixes, peers, texts.answers)
    missed = [f"{name} {ratios[name]:.1f}x of {least:g}x" for name, least in DEMANDED.items() if ratios[name] < least]
    missed += [f"{size:.2f} bytes a byte of text, at most {MAX_BYTES:g}"] if size > MAX_BYTES else []
    if missed:
        sys.exit(f"demanded against {THEIRS} as it comes: {'; '.join(missed)}")


def builds(work: Path, texts: Texts) -> tuple[dict[str, float], float]:
    """Print what building took and takes on disk; returns their processor time by ours, and our bytes a byte of text."""
    index, cost = theirs(work, texts.documents)
    costs, size = list[Cost](), 0.0
    for _ in range(TRIALS):
        with tempfile.TemporaryDirectory(dir=work) as folder:
            costs.append(in_process(_build, source_of(work), Path(folder)))
            size = _size(Path(folder)) / texts.bytes
    ours_cpu = statistics.median(cost.cpu for cost in costs)
    print(f"{len(texts.documents):,} documents, {texts.bytes / 1e6:.1f} MB; building from JSON lines, one core")
    for name, one, cpu, disk in (("ours", costs[0], ours_cpu, size), (THEIRS, cost, cost.cpu, _size(index) / texts.bytes)):
        rate, peak = texts.bytes / 1e6 / cpu, one.peak / texts.bytes
        print(f"  {name:12} {rate:5.1f} MB a CPU-second, peak {peak:4.1f} bytes and disk {disk:.2f} bytes a byte of text")
    print(f"  ours builds {cost.cpu / ours_cpu:.1f}x faster (demanded {DEMANDED['build']:g}x)", flush=True)
    return {"build": cost.cpu / ours_cpu}, size


def _build(source: Path | None = None, folder: Path | None = None) -> None:
    """Our index of the documents of a JSON lines file; without arguments, of a few characters: imports and compiles."""
    if source is None or folder is None:
        with tempfile.TemporaryDirectory() as temporary:
            build(joined(["一二三"]), Path(temporary))
        return
    with source.open(encoding="utf-8") as file:
        documents = [json.loads(line)["text"] for line in file]
    build(joined(documents), folder)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def queries_of(texts: Texts) -> list[str]:
    """Strings from the text, words, and strings of held-out answers, most of which do not occur."""
    rng = random.Random(_SEED)
    queries = []
    for size in SIZES:
        long = [text for text in texts.documents if len(text) > size]
        for text in rng.choices(long, k=QUERIES):
            begin = rng.randrange(len(text) - size)
            queries.append(text[begin : begin + size])
    words = sorted({word for text in rng.sample(texts.documents, 200) for word in _WORD.findall(text)})
    answers = [rng.choice(texts.answers)[begin:][:12] for begin in rng.choices(range(480), k=QUERIES)]
    return queries + rng.sample(words, QUERIES) + answers


def counting(suffixes: SuffixArray, peers: dict[str, Peer], queries: list[str]) -> dict[str, float]:
    """Time counts; how many times ours is faster, at the median and the 95th percentile."""
    texts = [query.encode() for query in queries]
    numbers = [list(text) for text in texts]
    calls: dict[str, Callable[[int], Any]] = {"ours": lambda i: suffixes.count(texts[i])}
    for name, peer in peers.items():
        calls[name] = lambda i, peer=peer: peer.count(numbers[i])
    for i in range(len(texts)):
        counts = {call(i) for call in calls.values()}
        assert len(counts) == 1, f"counts of {queries[i]!r} differ: {counts}"
    return report("count", measured(calls, len(texts)), unit=1e6)


def fetching(suffixes: SuffixArray, peers: dict[str, Peer], queries: list[str]) -> dict[str, float]:
    """Time finding and the text around the first occurrences, with the number of their documents."""
    texts = [query.encode() for query in queries]
    numbers = [list(text) for text in texts]
    ends = np.flatnonzero(np.frombuffer(suffixes.text, np.uint8) == 0xFF)
    calls: dict[str, Callable[[int], Any]] = {"ours": lambda i: fetch(suffixes, ends, texts[i])}
    for name, peer in peers.items():
        calls[name] = lambda i, peer=peer: peer.fetch(numbers[i], FETCHED, AROUND)
    for i in range(0, len(texts), 10):
        found, *others = (sorted(number for number, _ in call(i)) for call in calls.values())
        assert all(other == found for other in others), f"other documents hold {queries[i]!r}"
    return report(f"find and fetch {FETCHED}", measured(calls, len(texts)), unit=1e6)


def fetch(suffixes: SuffixArray, ends: np.ndarray, query: bytes) -> list[tuple[int, bytes]]:
    """Document number and text around each of the first occurrences; `ends`: where documents end."""
    low, high = suffixes.range(query)
    found = []
    for place in suffixes.positions(low, min(high, low + FETCHED)).tolist():
        number = int(ends.searchsorted(place))
        begin = max(place - AROUND, int(ends[number - 1]) + 1 if number else 0)
        found.append((number, suffixes.text[begin : min(place + len(query) + AROUND, int(ends[number]))]))
    return found


def tracing(suffixes: SuffixArray, peers: dict[str, Peer], answers: Sequence[str]) -> dict[str, float]:
    """Time the tracing of answers, and check our spans with the peer's counts."""
    texts = [answer.encode() for answer in answers]
    spans = [trace(suffixes, text) for text in texts]
    for text, found in zip(texts, spans, strict=True):
        check_spans(peers[UNPREFETCHED], text, found)
    calls: dict[str, Callable[[int], Any]] = {"ours": lambda i: trace(suffixes, texts[i])}
    for name, peer in peers.items():
        calls[name] = lambda i, peer=peer: peer.trace(list(texts[i]), 3 * MINIMUM)
    print(f"{len(answers)} answers of {len(answers[0])} characters, {sum(map(len, spans)) / len(spans):.0f} spans each")
    return report("trace", measured(calls, len(texts)), unit=1e3)


def trace(suffixes: SuffixArray, answer: bytes) -> list[tuple[int, int, int, np.ndarray]]:
    """Maximal spans that occur: first byte, byte after the last, count, places."""
    begins = find_character_begins(answer)
    lengths = np.zeros(len(begins), np.int64)
    suffixes.extend_matches(answer, begins, lengths)
    ends = begins + lengths
    maximal = np.diff(np.maximum.accumulate(ends), prepend=0) > 0
    before = np.searchsorted(begins, ends)
    maximal &= before - np.arange(len(begins)) >= MINIMUM
    found = []
    for begin, end in zip(begins[maximal].tolist(), ends[maximal].tolist(), strict=True):
        low, high = suffixes.range(answer[begin:end])
        found.append((begin, end, high - low, suffixes.positions(low, high)))
    return found


def check_spans(peer: Peer, answer: bytes, spans: list[tuple[int, int, int, np.ndarray]]) -> None:
    """Assert that spans occur as often as the peer counts, none with one character more, and that they hold all of theirs."""
    numbers = list(answer)
    for begin, end, count, places in spans:
        assert peer.count(numbers[begin:end]) == count == len(places), (
            f"{answer[begin:end].decode()!r} is counted {count} times"
        )
        following = end + 1
        while following < len(answer) and answer[following] & 0xC0 == 0x80:
            following += 1
        assert end == len(answer) or not peer.count(numbers[begin:following]), f"{answer[begin:end].decode()!r} is not maximal"
    for span in peer.trace(numbers, 3 * MINIMUM):
        begin, end = span["l"], span["r"]
        while begin < end and answer[begin] & 0xC0 == 0x80:
            begin += 1
        while end > begin and end < len(answer) and answer[end] & 0xC0 == 0x80:
            end -= 1
        held = any(first <= begin and end <= last for first, last, _, _ in spans)
        assert held or len(answer[begin:end].decode()) < MINIMUM, f"{answer[begin:end].decode()!r} is left out"


def measured(calls: dict[str, Callable[[int], Any]], count: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Seconds of processor time of each query, (count,), and of wall time of each call, (TRIALS * count,)."""
    clock = np.median(_times(lambda _: None, 1000), axis=1, keepdims=True)
    trials = {name: np.empty((TRIALS, 2, count)) for name in calls}
    for trial in range(TRIALS):
        for name, call in calls.items():
            trials[name][trial] = _times(call, count) - clock
    return {name: (some[:, 0].min(axis=0), some[:, 1].ravel()) for name, some in trials.items()}


def _times(call: Callable[[int], Any], count: int) -> np.ndarray:
    times_2N = np.empty((2, count))
    for i in range(count):
        wall, cpu = time.perf_counter_ns(), time.process_time_ns()
        call(i)
        times_2N[:, i] = time.process_time_ns() - cpu, time.perf_counter_ns() - wall
    return times_2N / 1e9


def report(what: str, times: dict[str, tuple[np.ndarray, np.ndarray]], *, unit: float) -> dict[str, float]:
    """Print percentiles of all, in `unit`s a second; returns by how many times the peer as it comes takes longer than ours."""
    shown = {1e6: "µs", 1e3: "ms"}[unit]
    figures = {
        name: np.array([*np.percentile(cpu, (50, 95)), cpu.mean(), *np.percentile(wall, (50, 95))])
        for name, (cpu, wall) in times.items()
    }
    print(f"{what}, {TRIALS} x {len(times['ours'][0]):,} queries, {shown}: processor time p50, p95, mean | wall time p50, p95")
    for name, some in figures.items():
        print(f"  {name:20} {_row(some * unit)}")
        if name != "ours":
            print(f"    ours is faster by {_row(some / figures['ours'])}", flush=True)
    p50, p95, mean = (figures[AS_IT_COMES] / figures["ours"])[:3].tolist()
    return {f"{what} p50": p50, f"{what} p95": p95, what: mean}


def _row(figures: np.ndarray) -> str:
    p50, p95, mean, wall50, wall95 = figures.tolist()
    return f"{p50:7.1f} {p95:7.1f} {mean:7.1f} | {wall50:7.1f} {wall95:7.1f}"


if __name__ == "__main__":
    main()
