"""Decontamination on real text: why n = 13 and .7, what is found of what was planted, and speed.

`python -m benchmarks.corpus.contamination [--data FOLDER]`. Wikipedia (JaQuAD) and Aozora Bunko are the clean texts: no JGLUE
item was made from these articles, so what is found there of an item is there by chance or because both quote a name.
"""

import argparse
import gzip
import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.machine import describe
from corpus.decontaminate import DecontaminateSettings, load_benchmarks
from pipeline.text.benchmark_files import Passage, read_passages
from pipeline.text.benchmark_match import BenchmarkIndex
from pipeline.text.fold import fold

WIDTHS = (8, 10, 13, 15, 20, 30)
SHARES = (0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
EDITS = (0.0, 0.01, 0.02, 0.05, 0.1)  # characters changed
AOZORA_CHARACTERS = 12_000_000
CHOICES = ((10, 0.7), (12, 0.6), (13, 0.6), (13, 0.7), (13, 0.8), (20, 0.6))  # widths and shares compared
PLANTED = 300  # items of each kind
Out = Callable[[str], None]


def clean_texts(data: Path) -> dict[str, list[str]]:
    import pyarrow.parquet as pq

    with gzip.open(data / "wikipedia-ja.jsonl.gz", "rt", encoding="utf-8") as lines:
        texts = {"Wikipedia": [json.loads(line)["text"] for line in lines], "Aozora Bunko": []}
    size = 0
    for text in pq.read_table(data / "aozora.parquet", columns=["text"]).column("text").to_pylist():
        texts["Aozora Bunko"].append(text)
        size += len(text)
        if size > AOZORA_CHARACTERS:
            break
    return texts


def chance(files: tuple[Path, ...], texts: dict[str, list[str]], out: Out) -> None:
    """What of the items is in clean text, by width of n-gram: single n-grams, and items by share."""
    folded = {name: [fold(text) for text in group] for name, group in texts.items()}
    millions = {name: sum(map(len, group)) / 1e6 for name, group in texts.items()}
    out(
        f"n-grams found per million characters, and items of which one text holds {', '.join(f'{s:g}' for s in SHARES)} or more"
    )
    for width in WIDTHS:
        benchmarks = load_benchmarks(DecontaminateSettings(files, ngram=width, shortest=min(width, 10), min_share=SHARES[0]))
        for name, group in folded.items():
            found = sum(len(benchmarks.long.find(text)[0]) for text in group)
            best: dict[tuple[str, ...], float] = {}
            for text in texts[name]:
                for hit in benchmarks.hits(text):
                    best[hit[:3]] = max(best.get(hit[:3], 0), hit.share)
            counts = [sum(share >= limit for share in best.values()) for limit in SHARES]
            out(f"  n = {width:2}  {name:12}  {found / millions[name]:8.1f}  {counts}")
    for shortest in (8, 9, 10, 12):
        benchmarks = load_benchmarks(DecontaminateSettings(files, shortest=shortest))
        hits = {
            hit[:3]: text[hit.begin : hit.end] for group in texts.values() for text in group for hit in benchmarks.hits(text)
        }
        sought = sum(item.check == "whole" for item in benchmarks.texts)
        too_short = sum(item.check == "too short" for item in benchmarks.texts)
        out(f"  shortest = {shortest:2}: {sought} sought whole, {too_short} too short; found: {sorted(set(hits.values()))}")


def changed(text: str, share: float, draw: random.Random) -> str:
    """The text with that share of its characters replaced by other hiragana."""
    return "".join(draw.choice("あいうえおかきくけこ") if draw.random() < share else c for c in text)


def planted(files: tuple[Path, ...], texts: dict[str, list[str]], out: Out) -> None:
    """Items put into Wikipedia articles, their characters changed: how many are found."""
    passages = [p for path in files for p in read_passages(path)]
    out(
        f"planted items found, up to {PLANTED} of a kind, with {', '.join(f'{e:.0%}' for e in EDITS)} of the characters changed"
    )
    for width, share in CHOICES:
        benchmarks = load_benchmarks(DecontaminateSettings(files, ngram=width, min_share=share, shortest=min(width, 12)))
        by_chance = {hit[:3] for group in texts.values() for text in group for hit in benchmarks.hits(text)}
        out(f" n = {width}, share {share}: {len(by_chance)} items found in the clean texts")
        kinds: dict[str, list[int]] = {}
        for i, item in enumerate(benchmarks.texts):
            if item.check != "too short":
                kinds.setdefault(f"{item.file.split('-')[1]} {item.field}", []).append(i)
        draw = random.Random(0)
        for kind, numbers in sorted(kinds.items()):
            chosen = draw.sample(numbers, min(PLANTED, len(numbers)))
            shares = [_found(benchmarks, passages, chosen, edit, texts["Wikipedia"], draw) for edit in EDITS]
            out(f"  {kind:24} {len(chosen):4}  " + "  ".join(f"{share:6.1%}" for share in shares))


def _found(
    benchmarks: BenchmarkIndex, passages: list[Passage], chosen: list[int], edit: float, hosts: list[str], draw: random.Random
) -> float:
    """Share of the chosen items found after they were changed and put into a host text."""
    found = 0
    for i in chosen:
        host = draw.choice(hosts)
        at = draw.randrange(len(host))
        document = host[:at] + changed(passages[i].text, edit, draw) + host[at:]
        found += benchmarks.texts[i][:3] in {hit[:3] for hit in benchmarks.hits(document)}
    return found / len(chosen)


def speed(files: tuple[Path, ...], texts: dict[str, list[str]], out: Out) -> None:
    begun = time.perf_counter()
    benchmarks = load_benchmarks(DecontaminateSettings(files, min_share=0.71))  # other than above: not the cached one
    out(f"index of {len(benchmarks.texts)} texts, {len(benchmarks.long.hashes)} n-grams: {time.perf_counter() - begun:.1f} s")
    for name, group in texts.items():
        size = sum(len(text.encode()) for text in group) / 1e6
        rates = sorted(size / _seconds(benchmarks, group) for _ in range(3))
        out(f"  {name:12} {size:5.1f} MB  median {rates[1]:4.0f} MB/s, fastest {rates[2]:4.0f} MB/s")


def _seconds(benchmarks: BenchmarkIndex, texts: list[str]) -> float:
    begun = time.perf_counter()
    for text in texts:
        benchmarks.hits(text)
    return time.perf_counter() - begun


def crawl_texts(data: Path) -> Iterator[tuple[str, str]]:
    for name in ("dolly-ja.jsonl", "instruction-ja.jsonl"):
        for number, row in enumerate((data / name).read_text("utf-8").splitlines()):
            yield f"{name}:{number + 1}", json.dumps(json.loads(row), ensure_ascii=False)


def true_hits(files: tuple[Path, ...], data: Path, texts: dict[str, list[str]], out: Out) -> None:
    """What the defaults drop in the sample data."""
    benchmarks = load_benchmarks(DecontaminateSettings(files))
    rows = [(f"{name} {i}", text) for name, group in texts.items() for i, text in enumerate(group)] + list(crawl_texts(data))
    hits = [(name, hit, text) for name, text in rows for hit in benchmarks.hits(text)]
    out(f"sample data with the defaults: {len({name for name, _, _ in hits})} of {len(rows)} documents hold an item")
    for name, hit, text in hits[:20]:
        out(f"  {name}: {hit.detail} {hit.field} {hit.share:.2f} 「{text[hit.begin : hit.end][:60]}」")


def run(data: Path, out: Out) -> None:
    files = tuple(sorted(data.glob("jglue-*.json")))
    texts = clean_texts(data)
    true_hits(files, data, texts, out)
    chance(files, texts, out)
    planted(files, texts, out)
    speed(files, texts, out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared" / "data")
    print(describe("numpy", "numba"))
    run(parser.parse_args().data, print)


if __name__ == "__main__":
    main()
