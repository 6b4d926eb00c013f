"""`python -m benchmarks.corpus.scale --data …`: the rate of each step on a real crawl, and what they make of 100 TB and of mC4.

One process on one core, its processor time. Pages of the crawl go through the stage's own functions, foreign and Japanese
ones apart, for in Common Crawl 95 of 100 pages are foreign. What the arithmetic assumes beside these rates is in the
constants below, with its source; the rates of removing copies are those of `benchmarks.corpus.hostile --only tiny`.
"""

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.corpus.speed import judge, one_core, seconds
from benchmarks.machine import describe
from corpus.dedup.settings import DedupSettings
from corpus.extract.document import Extracted, extract
from corpus.filters.rules import load_preset
from corpus.readers import RawDocument, SourceSettings, plan_shards, read_shard

TRIALS = 3
# A month of Common Crawl as WARC: about 90,000 files of 1.1 GB, gzip (commoncrawl.org, statistics of its crawls).
CRAWL_TB = 100.0
JAPANESE_PAGES = 0.05  # of the pages, by Common Crawl's own language statistics
BYTES_A_PAGE_GZ = 33_000  # 100 TB by about 3 billion captures
# mC4's Japanese part: 87 million documents; 4 TB was its text in all languages (Xue et al., arXiv:2010.11934, table 6).
MC4_DOCUMENTS, MC4_TEXT_TB = 87e6, 0.77
# Microseconds a document of removing copies and writing, of `benchmarks.corpus.hostile --only tiny`.
COPIES_MICROSECONDS = 25.0
CORES = 1000
KEY_BYTES, ROW_BYTES = 8, 8  # a key and the number of its row


@dataclass(frozen=True)
class Rates:
    """Measured, in MB per core and second; of compressed input, of HTML, of text."""

    read: float
    foreign: float
    japanese: float
    judged: float
    html_a_gz: float  # bytes of HTML a byte of gzip
    text_a_page: float  # bytes of text a Japanese page


def least_seconds(work: Callable[[], object]) -> float:
    """Processor time, the least of some trials."""
    return min(seconds(work) for _ in range(TRIALS))


def measure(data: Path, out: Callable[[str], None]) -> Rates:
    """Rates on the crawl of the data folder."""
    path = data / "web-ja.warc.gz"
    (shard,) = plan_shards(SourceSettings("ja_cc", "warc", "", "", str(path)))
    labels = map(json.loads, (data / "web-ja.labels.jsonl").read_text("utf-8").splitlines())
    japanese = {row["url"] for row in labels if row["lang"].startswith("ja")}
    pages = [record for record in read_shard(shard) if isinstance(record, RawDocument)]
    ours = [page for page in pages if page.url in japanese]
    others = [page for page in pages if page.url not in japanese]
    texts = [got.text for page in ours if isinstance(got := extract(page), Extracted)]
    packed, html = path.stat().st_size / 1e6, _size(pages)
    read = packed / least_seconds(lambda: list(read_shard(shard)))
    foreign = _size(others) / least_seconds(lambda: [extract(page) for page in others])
    native = _size(ours) / least_seconds(lambda: [extract(page) for page in ours])
    text = sum(len(text.encode()) for text in texts) / 1e6
    preset, urls = load_preset("minamoto"), [""] * len(texts)
    judged = text / least_seconds(lambda: judge(texts, urls, preset))
    out(f"   {len(pages):,} pages: {packed:.1f} MB of gzip, {html:.1f} MB of HTML, {text:.1f} MB of Japanese text")
    out(f"   read {read:.0f} MB/s of gzip; decode and gate, foreign pages {foreign:.0f} MB/s of HTML")
    out(f"   decode, gate and main text, Japanese pages {native:.1f} MB/s of HTML; judge and sign {judged:.0f} MB/s of text")
    return Rates(read, foreign, native, judged, html / packed, text * 1e6 / len(texts))


def _size(pages: Iterable[RawDocument]) -> float:
    return sum(len(page.raw) for page in pages) / 1e6


def hours(megabytes: float, rate: float) -> float:
    """Core-hours."""
    return megabytes / rate / 3600


def arithmetic(rates: Rates, out: Callable[[str], None]) -> None:
    """What a crawl and mC4 take, step by step."""
    gz = CRAWL_TB * 1e6
    html, pages = gz * rates.html_a_gz, gz * 1e6 / BYTES_A_PAGE_GZ
    documents = pages * JAPANESE_PAGES
    text = documents * rates.text_a_page / 1e6
    crawl = [
        ("read WARC", hours(gz, rates.read)),
        ("decode and gate foreign pages", hours(html * (1 - JAPANESE_PAGES), rates.foreign)),
        ("main text of Japanese pages", hours(html * JAPANESE_PAGES, rates.japanese)),
        ("judge and sign", hours(text, rates.judged)),
        ("remove copies and write", documents * COPIES_MICROSECONDS / 3.6e9),
    ]
    _table(f"{CRAWL_TB:.0f} TB of WARC: {pages / 1e9:.1f} billion pages, {documents / 1e6:.0f} million Japanese", crawl, out)
    _keys(documents, out)
    mc4 = [
        ("judge and sign", hours(MC4_TEXT_TB * 1e6, rates.judged)),
        ("remove copies and write", MC4_DOCUMENTS * COPIES_MICROSECONDS / 3.6e9),
    ]
    _table(f"mC4, Japanese: {MC4_DOCUMENTS / 1e6:.0f} million documents, {MC4_TEXT_TB:.2f} TB of text", mc4, out)
    _keys(MC4_DOCUMENTS, out)


def _table(title: str, steps: Sequence[tuple[str, float]], out: Callable[[str], None]) -> None:
    out(f"   {title}")
    for name, spent in steps:
        out(f"     {name:32} {spent:8,.1f} core-hours")
    whole = sum(spent for _, spent in steps)
    out(f"     {'together':32} {whole:8,.1f} core-hours, {whole / CORES:.1f} hours on {CORES:,} cores")


def _keys(documents: float, out: Callable[[str], None]) -> None:
    dedup = DedupSettings()
    band = documents * (KEY_BYTES + ROW_BYTES) / 1e9
    out(f"     keys on disk: {dedup.bands} bands of {band:.1f} GB, {band * dedup.bands:.0f} GB in all; a task takes a part")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, required=True)
    print(describe("numpy", "numba", "resiliparse", "fastwarc"), flush=True)
    one_core()
    arithmetic(measure(arguments.parse_args().data, lambda line: print(line, flush=True)), lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
