"""`python -m benchmarks.corpus.speed --data …`: judging and signing on one core, against reading and writing the same Parquet.

One process on one core. Every trial times both: (a) the Parquet file (zstd) read to Arrow and written again, nothing else;
(b) from Python strings the table of counts, values and verdicts of all rules of a preset, and MinHash band keys.
Each kernel alone comes first. Rates are MB of UTF-8 text a second, medians, with the slowest and fastest trial. Time is the
processor's, which other processes stretch less than the wall's; it leaves out what (a) waits for a disk, so favours (a).
"""

import argparse
import gzip
import itertools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.machine import describe
from corpus.dedup.settings import DedupSettings
from corpus.filters import rules
from corpus.filters.rules import Preset, load_preset
from corpus.stats.measure import measure
from corpus.stats.word_lists import NO_WORDS, WordLists
from pipeline.text import minhash
from pipeline.text.characters import buffer_of

PRESETS = ("minamoto", "llmjp-v1", "swallow-v1", "en")
TRIALS = 5
BATCH = 256  # documents judged at a time, as the stage does
MIN_RATIO = 0.25  # of (a)'s speed, that (b) with the default preset must reach


@dataclass(frozen=True)
class Rate:
    """MB of text a second: the median of some trials, the slowest and the fastest."""

    median: float
    least: float
    most: float

    @staticmethod
    def of(megabytes: float, seconds: Sequence[float]) -> "Rate":
        return Rate(megabytes / statistics.median(seconds), megabytes / max(seconds), megabytes / min(seconds))

    def __str__(self) -> str:
        return f"{self.median:7.1f} MB/s ({self.least:.1f} to {self.most:.1f})"


def one_core() -> int:
    """Keep this process and Arrow's threads to one core; returns its number."""
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    return core


def real_texts(data: Path) -> Iterator[tuple[str, str]]:
    """Texts and addresses: works of Aozora Bunko without notes, Wikipedia articles, pages of the crawl."""
    from corpus.extract.aozora import clean_aozora
    from corpus.extract.document import Extracted, extract
    from corpus.readers import RawDocument, SourceSettings, plan_shards, read_shard

    table = pq.read_table(data / "aozora.parquet", columns=["id", "text"])
    for name, text in zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True):
        yield clean_aozora(text), f"https://www.aozora.gr.jp/{name}"
    with gzip.open(data / "wikipedia-ja.jsonl.gz", "rt", encoding="utf-8") as file:
        for row in map(json.loads, file):
            yield row["text"], row["url"]
    for shard in plan_shards(SourceSettings("ja_cc", "warc", "", "", str(data / "web-ja.warc.gz"))):
        for record in read_shard(shard):
            got = extract(record) if isinstance(record, RawDocument) else None
            if isinstance(got, Extracted):
                yield got.text, record.url


def judge(texts: Sequence[str], urls: Sequence[str], preset: Preset) -> int:
    """Judge and sign texts in batches; how many pass. Keys are made of all, so that the time hangs on no verdict."""
    dedup, passed = DedupSettings(), 0
    for begin in range(0, len(texts), BATCH):
        some = texts[begin : begin + BATCH]
        table_DC = rules.table(some, urls[begin : begin + BATCH], preset)
        passed += int((rules.verdicts(rules.values(table_DC, preset), preset) < 0).sum())
        minhash.keys(some, dedup.shingle, dedup.bands, dedup.rows)
    return passed


def seconds(work: Callable[[], object]) -> float:
    """Processor time of one call, all threads of this process together."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def against_parquet(folder: Path, texts: Sequence[str], urls: Sequence[str], out: Callable[[str], None]) -> float:
    """(a) and (b) in turn for each preset; returns the ratio of the first preset."""
    file, copy = folder / "texts.parquet", folder / "copy.parquet"
    pq.write_table(pa.table({"text": texts, "url": urls}), file, compression="zstd")
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    out(f"   {len(texts):,} documents, {megabytes:.1f} MB of UTF-8, {file.stat().st_size / 1e6:.1f} MB of Parquet")
    ratios = []
    for name in PRESETS:
        preset = load_preset(name)
        judge(texts[:1], urls[:1], preset)  # compiles
        plain, judged, passed = [], [], 0
        for _ in range(TRIALS):
            plain.append(seconds(lambda: pq.write_table(pq.read_table(file), copy, compression="zstd")))
            begin = time.process_time()
            passed = judge(texts, urls, preset)
            judged.append(time.process_time() - begin)
        pairs = [one / other for one, other in zip(plain, judged, strict=True)]
        ratios.append(statistics.median(pairs))
        out(f"   {name}: {passed:,} pass; (a) {Rate.of(megabytes, plain)}")
        out(f"     (b) {Rate.of(megabytes, judged)}; b/a {ratios[-1]:.2f} ({min(pairs):.2f} to {max(pairs):.2f})")
    return ratios[0]


def kernels(texts: Sequence[str], urls: Sequence[str], out: Callable[[str], None]) -> None:
    """Each part of the work alone, over all texts in batches."""
    lists, dedup, default = WordLists.load(), DedupSettings(), load_preset(PRESETS[0])
    llmjp = WordLists.load(load_preset("llmjp-v1").word_lists)
    works: dict[str, Callable[[Sequence[str]], object]] = {
        "UTF-8 into one buffer": buffer_of,
        "characters, lines, sentences": lambda some: measure(some, NO_WORDS, frozenset()),
        "and paragraphs": lambda some: measure(some, NO_WORDS, frozenset({"paragraphs"})),
        "and n-grams of characters": lambda some: measure(some, NO_WORDS, frozenset({"ngrams"})),
        "and n-grams of words": lambda some: measure(some, NO_WORDS, frozenset({"wordgrams"})),
        "and llmjp-v1's words": lambda some: measure(some, llmjp, frozenset({"words"})),
        "and all lists' words": lambda some: measure(some, lists, frozenset({"words"})),
        "all that minamoto counts": lambda some: measure(some, WordLists.load(default.word_lists), default.groups),
        "MinHash band keys": lambda some: minhash.keys(some, dedup.shingle, dedup.bands, dedup.rows),
    }
    batches = [texts[begin : begin + BATCH] for begin in range(0, len(texts), BATCH)]
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    for name, work in works.items():
        work(texts[:1])
        trials = [seconds(lambda work=work: [work(batch) for batch in batches]) for _ in range(TRIALS)]
        out(f"   {name:30} {Rate.of(megabytes, trials)}")
    table_DC = rules.table(texts[:BATCH], urls[:BATCH], default)
    per = statistics.median(seconds(lambda: rules.verdicts(rules.values(table_DC, default), default)) for _ in range(TRIALS))
    out(f"   values and verdicts of {len(table_DC)} documents: {per * 1e6:.0f} µs")


def run(data: Path, out: Callable[[str], None], every: int = 1) -> None:
    """Measure on every so many-th document; raises AssertionError where judging is too slow."""
    out(f"   on core {one_core()}, {os.getloadavg()[0]:.1f} processes wait for one")
    texts, urls = zip(*itertools.islice(real_texts(data), 0, None, every), strict=True)
    kernels(texts, urls, out)
    with tempfile.TemporaryDirectory() as folder:
        ratio = against_parquet(Path(folder), texts, urls, out)
    assert ratio >= MIN_RATIO, f"{ratio:.2f} of the speed of reading and writing, expected {MIN_RATIO}"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--every", type=int, default=1, help="take only every so many-th document")
    chosen = arguments.parse_args()
    print(describe("numpy", "numba", "pyarrow"), flush=True)
    run(chosen.data, lambda line: print(line, flush=True), chosen.every)


if __name__ == "__main__":
    main()
