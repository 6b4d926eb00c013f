"""Masking of personal data: precision and recall by kind on `benchmarks/data/personal.jsonl`, beside hojichar's, and speed.

`python -m benchmarks.corpus.personal [--data FOLDER]`. A gold span counts as found where a found span of its kind overlaps it,
as exact where both are equal; a found span is right where it overlaps a gold span of its kind. hojichar knows two kinds only.
"""

import argparse
import gzip
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.machine import describe
from corpus.pii.mask import KINDS, find, mask

SENTENCES = Path(__file__).parents[1] / "data" / "personal.jsonl"
AOZORA_DOCUMENTS = 400
SHOWN = 6  # examples of each kind from real text
Span = tuple[str, int, int]
Out = Callable[[str], None]


class Sentence(NamedTuple):
    """One line of the evaluation file."""

    text: str
    spans: tuple[Span, ...]
    trap: str  # what a sentence without personal data resembles


def sentences() -> list[Sentence]:
    """The evaluation file without its header."""
    rows = [json.loads(row) for row in SENTENCES.read_text("utf-8").splitlines()[1:]]
    return [Sentence(row["text"], tuple((k, b, e) for k, b, e in row["spans"]), row["trap"]) for row in rows]


def hojichar_spans() -> Callable[[str], list[Span]]:
    """What hojichar 0.18 masks, from the patterns of its own filter."""
    from hojichar.filters.document_filters import MaskPersonalInformation

    theirs = MaskPersonalInformation()
    patterns = (("phone", theirs.phone_pat), ("email", theirs.email_pat))
    return lambda text: [(kind, *match.span()) for kind, pattern in patterns for match in pattern.finditer(text)]


def ours(text: str) -> list[Span]:
    return [(one.kind, one.begin, one.end) for one in find(text)]


def compare(rows: list[Sentence], system: Callable[[str], list[Span]], kinds: tuple[str, ...], out: Out) -> None:
    gold: Counter[str] = Counter()
    found: Counter[str] = Counter()
    exact: Counter[str] = Counter()
    said: Counter[str] = Counter()
    right: Counter[str] = Counter()
    wrong: list[str] = []
    for row in rows:
        spans = system(row.text)
        for span in row.spans:
            gold[span[0]] += 1
            found[span[0]] += any(_overlap(span, other) for other in spans)
            exact[span[0]] += span in spans
            wrong += [f"missed {span[0]}: {row.text}"] if not any(_overlap(span, other) for other in spans) else []
        for span in spans:
            said[span[0]] += 1
            is_right = any(_overlap(span, other) for other in row.spans)
            right[span[0]] += is_right
            wrong += [] if is_right else [f"false {span[0]} 「{row.text[span[1] : span[2]]}」: {row.text}"]
    for kind in kinds:
        precision = f"{right[kind] / said[kind]:6.1%}" if said[kind] else "     –"
        recall = f"{found[kind] / gold[kind]:6.1%}, with exact ends {exact[kind] / gold[kind]:6.1%}"
        out(f"  {kind:10} {gold[kind]:3} in the file, {said[kind]:3} found: precision {precision}, recall {recall}")
    for line in wrong if system is ours else ():
        out(f"    {line}")


def _overlap(one: Span, other: Span) -> bool:
    return one[0] == other[0] and one[1] < other[2] and other[1] < one[2]


def real_texts(data: Path) -> Iterator[tuple[str, list[str]]]:
    """Groups of real texts: the sample data as it is, the crawl through our reading and extraction."""
    import pyarrow.parquet as pq
    from fastwarc.warc import ArchiveIterator, WarcRecordType  # pyright: ignore[reportMissingImports]
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.encoding import detect_encoding

    yield "Aozora Bunko", pq.read_table(data / "aozora.parquet").column("text").to_pylist()[:AOZORA_DOCUMENTS]
    with gzip.open(data / "wikipedia-ja.jsonl.gz", "rt", encoding="utf-8") as lines:
        yield "Wikipedia", [json.loads(line)["text"] for line in lines]
    yield "instructions", (data / "dolly-ja.jsonl").read_text("utf-8").splitlines()
    pages: dict[str, list[str]] = {}
    with (data / "web-ja.warc.gz").open("rb") as file:
        for record in ArchiveIterator(file, record_types=WarcRecordType.response):
            if "html" in (record.http_content_type or ""):
                html = record.reader.read()
                host = record.headers["WARC-Target-URI"].split("/")[2].split(".")[-3]  # law, momdo, …; copies with originals
                page = html.decode(detect_encoding(html, html5_compatible=True) or "utf-8", "replace")
                pages.setdefault(host, []).append(extract_plain_text(page))
    yield from sorted(pages.items())


def real(data: Path, out: Out) -> None:
    """Speed and findings on real text; every example is to be looked at."""
    theirs = hojichar_spans()
    for name, texts in real_texts(data):
        size = sum(len(text.encode()) for text in texts) / 1e6
        rate, peer = (size / statistics.median(_seconds(system, texts) for _ in range(3)) for system in (ours, theirs))
        found = [(one, text) for text in texts for one in find(text)]
        counts = dict(Counter(one.kind for one, _ in found))
        peer_counts = dict(Counter(kind for text in texts for kind, _, _ in theirs(text)))
        out(
            f"{name}: {size:.1f} MB, ours {rate:.0f} MB/s, hojichar {peer:.1f} MB/s; masked {counts}, by hojichar {peer_counts}"
        )
        shown: Counter[str] = Counter()
        for one, text in {text[one.begin : one.end]: (one, text) for one, text in found}.values():
            shown[one.kind] += 1
            if shown[one.kind] <= SHOWN:
                before = text[max(0, one.begin - 14) : one.begin].replace("\n", "/")
                out(f"    {one.kind}: {before}【{text[one.begin : one.end]}】")


def _seconds(system: Callable[[str], list[Span]], texts: list[str]) -> float:
    begun = time.perf_counter()
    for text in texts:
        system(text)
    return time.perf_counter() - begun


def run(data: Path, out: Out) -> None:
    rows = sentences()
    traps = Counter(row.trap for row in rows if row.trap)
    out(f"{len(rows)} sentences, {sum(traps.values())} of them without personal data: {dict(traps)}")
    masked = sum(bool(mask(row.text)[1]) for row in rows if row.trap)
    peers = hojichar_spans()
    by_peers = sum(bool(peers(row.text)) for row in rows if row.trap)
    out(f"sentences without personal data that are masked: ours {masked}, hojichar {by_peers}")
    out("hojichar MaskPersonalInformation")
    compare(rows, peers, ("email", "phone"), out)
    out("ours")
    compare(rows, ours, KINDS, out)
    real(data, out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared" / "data")
    print(describe("numpy", "numba", "hojichar"))
    run(parser.parse_args().data, print)


if __name__ == "__main__":
    main()
