"""`python -m benchmarks.corpus.readers --data …`: every reader's speed, memory and truth, beside who does the same work.

Files are built from the development data in a temporary folder. Each is read by our reader and by a peer, or by the bound
that its format sets (decompression alone), in turn, each in a process of its own on one core. Speed is of that core's time
(user and system), so that what else runs does not count; medians of TRIALS, with the slowest and the fastest.
What comes out must be what went in, to the byte and in order; and reading a file of eight times the size must not take more
than GROWTH_MB more memory. Parts of files, not whole ones, are held: peaks are those of the process, imports included.
"""

import argparse
import bz2
import gzip
import io
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.corpus.readers_files import FILES, FRAME, build, framed, rows_of
from benchmarks.corpus.speed import one_core
from benchmarks.machine import describe

TRIALS = 3
TIMES = 8  # how much larger the large file is
# A batch, a block or a page more may be held at the wrong moment, and allocators keep some; a file held is 90 MB or more.
GROWTH_MB = 32
# Share of articles that must come back to the letter: their own text may hold what is markup, "''" or "[[".
MIN_EQUAL = 0.99
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Case:
    """A format: our reader, and who else reads its file."""

    reader: str
    peers: tuple[str, ...]


CASES = {
    "WARC.gz": Case("warc", ("fastwarc alone",)),
    "WET.gz": Case("wet", ("gunzip alone",)),
    "JSONL": Case("jsonl", ("json.loads",)),
    "JSONL.gz": Case("jsonl", ("json.loads", "datasets")),
    "JSONL.zst": Case("jsonl", ("json.loads",)),
    "Parquet": Case("parquet", ("pyarrow alone", "datasets")),
    "Wikipedia.bz2": Case("wikipedia", ("bunzip2 alone",)),
    "Aozora (CP932)": Case("aozora", ("decoding alone",)),
}


# What a process reads: documents, or only bytes where a peer makes no documents.
Read = Callable[[Path], Iterator[str | bytes]]


def ours(reader: str) -> Read:
    """Texts of our reader (of pages: their bytes); anything dropped is kept out of them."""
    from corpus.readers import RawDocument, SourceSettings, plan_shards, read_shard

    def read(path: Path) -> Iterator[str | bytes]:
        for shard in plan_shards(SourceSettings("x", reader, "x", "x", str(path))):  # pyright: ignore[reportArgumentType]
            for record in read_shard(shard):
                if isinstance(record, RawDocument):
                    yield record.raw if record.text is None else record.text

    return read


def fastwarc_alone(path: Path) -> Iterator[bytes]:
    """HTML answers with status 200, undamaged files only."""
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    with path.open("rb") as file:
        for record in ArchiveIterator(file, record_types=WarcRecordType.response, parse_http=True):
            http: Any = record.http_headers
            kind = (http.get("Content-Type") or "").strip().lower()
            if http.status_code == 200 and kind.startswith(("text/html", "application/xhtml+xml")):
                yield record.reader.read()


def bytes_alone(path: Path) -> Iterator[bytes]:
    """The decompressed content in pieces."""
    with _opened(path) as file:
        while part := file.read(_CHUNK):
            yield part


def json_loads(path: Path) -> Iterator[str]:
    with _opened(path) as file:
        for line in file:
            yield json.loads(line)["text"]


def pyarrow_alone(path: Path) -> Iterator[str]:
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(path).iter_batches(columns=["text", "title", "url"]):
        for row in batch.to_pylist():
            yield row["text"]


def by_datasets(path: Path) -> Iterator[str]:
    import datasets

    kind = "parquet" if path.suffix == ".parquet" else "json"
    for row in datasets.load_dataset(kind, data_files=str(path), split="train", streaming=True):
        yield row["text"]


def decoding_alone(path: Path) -> Iterator[str]:
    for name in sorted(path.iterdir()):
        yield name.read_bytes().decode("cp932")


PEERS: dict[str, Read] = {
    "fastwarc alone": fastwarc_alone, "gunzip alone": bytes_alone, "bunzip2 alone": bytes_alone,
    "json.loads": json_loads, "datasets": by_datasets, "pyarrow alone": pyarrow_alone,
    "decoding alone": decoding_alone,
}  # fmt: skip
# Peers that yield the same texts as we; of the others speed alone counts.
SAME = ("fastwarc alone", "json.loads", "datasets", "pyarrow alone")


def _opened(path: Path) -> io.BufferedIOBase:
    """Decompressed by Python's own modules, and by Arrow where they lack the format."""
    import pyarrow as pa

    openers: dict[str, Callable[[Path], Any]] = {
        ".gz": gzip.open, ".bz2": bz2.open, ".zst": lambda name: io.BufferedReader(pa.input_stream(str(name)), _CHUNK),
    }  # fmt: skip
    return openers.get(path.suffix, lambda name: name.open("rb"))(path)


def child(reader: str, peer: str, path: Path, trials: int) -> dict[str, Any]:
    """Read a file some times on one core. Returns: seconds, documents, their bytes and digest, memory in MB."""
    import xxhash

    one_core()
    read, taken, documents = PEERS[peer] if peer else ours(reader), [], 0
    for _ in range(trials):
        began, documents = time.process_time(), 0
        for _ in read(path):
            documents += 1
        taken.append(time.process_time() - began)
    peak, made, raw = _peak_mb(), xxhash.xxh3_128(), 0
    for text in read(path) if not peer or peer in SAME else ():
        data = framed(text)
        made.update(data)
        raw += len(data) - FRAME
    return {"seconds": taken, "documents": documents, "bytes": raw, "digest": made.hexdigest(), "peak": peak}


def _peak_mb() -> float:
    """Most resident memory of this program; getrusage would count the one that started it, too."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) / 1024


def in_child(reader: str, peer: str, path: Path, trials: int) -> dict[str, Any]:
    """`child` in a process of its own."""
    words = [sys.executable, "-m", "benchmarks.corpus.readers", "--child", reader, peer, str(path), str(trials)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(path.parent / "cache")}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stderr}"
    return json.loads(done.stdout.splitlines()[-1])


def measure(name: str, small: Path, large: Path, went_in: list[tuple[int, str]], out: Callable[[str], None]) -> None:
    """One format: truth, memory at two sizes, speed beside its peers. Raises: AssertionError."""
    case = CASES[name]
    path = small / FILES[name]
    read, more = in_child(case.reader, "", path, TRIALS), in_child(case.reader, "", large / FILES[name], 1)
    peers = {peer: in_child(case.reader, peer, path, TRIALS) for peer in case.peers}
    megabytes, text_mb = _size(path) / 1e6, read["bytes"] / 1e6
    out(f"   {name}: {read['documents']:,} documents, {megabytes:.1f} MB of input, {text_mb:.1f} MB of text")
    for who, done in {"ours": read, **peers}.items():
        out(f"     {who:24} {_rates(megabytes, text_mb, done['seconds'])}; peak {done['peak']:4.0f} MB")
    growth, again = more["peak"] - read["peak"], f"ours, ×{TIMES}"
    out(f"     {again:24} {_rates(TIMES * megabytes, TIMES * text_mb, more['seconds'])}; peak {more['peak']:4.0f} MB")
    assert more["documents"] == TIMES * read["documents"], f"{name}: {more['documents']} documents of {TIMES} times as many"
    for done, (documents, digest) in zip((read, more), went_in, strict=True):
        assert done["documents"] == documents, f"{name}: {done['documents']} documents came out, {documents} went in"
        assert digest in ("", done["digest"]), f"{name}: other texts came out than went in"
    for peer in set(peers) & set(SAME):
        assert peers[peer]["digest"] == read["digest"], f"{name}: {peer} reads other texts"
    assert growth <= GROWTH_MB, f"{name}: {growth:.0f} MB more for a file {TIMES} times as large, expected {GROWTH_MB} at most"


def _rates(megabytes: float, text_mb: float, seconds: list[float]) -> str:
    median = statistics.median(seconds)
    spread = f" ({megabytes / max(seconds):.1f} to {megabytes / min(seconds):.1f})" if len(seconds) > 1 else ""
    return f"{megabytes / median:7.1f} MB/s of input{spread}, {text_mb / median:7.1f} of text"


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else sum(name.stat().st_size for name in path.iterdir())


def articles_come_back(data: Path, dump: Path, out: Callable[[str], None]) -> None:
    """How many articles are, without the markup put around and into them, what they were. Raises: AssertionError."""
    went_in = [row.text for row in rows_of(data)]
    came_out = [str(text) for text in ours("wikipedia")(dump)]
    assert len(came_out) == len(went_in), f"{len(came_out)} articles of {len(went_in)}"
    equal = sum("".join(one.split()) == "".join(other.split()) for one, other in zip(went_in, came_out, strict=True))
    out(f"   Wikipedia: {equal:,} of {len(went_in):,} articles come back to the letter, spaces aside")
    assert equal >= MIN_EQUAL * len(went_in), f"{equal} of {len(went_in)} articles come back"


def run(data: Path, names: list[str], out: Callable[[str], None]) -> None:
    """Measure every format; raises AssertionError where truth or memory do not hold."""
    with tempfile.TemporaryDirectory() as made:
        small, large = Path(made) / "small", Path(made) / "large"
        both = build(data, {1: small, TIMES: large})
        articles_come_back(data, small / FILES["Wikipedia.bz2"], out)
        for name in names:
            measure(name, small, large, [both[1][name], both[TIMES][name]], out)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path)
    arguments.add_argument("--only", nargs="*", choices=CASES, default=list(CASES))
    arguments.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    if chosen.child:
        reader, peer, path, trials = chosen.child
        print(json.dumps(child(reader, peer, Path(path), int(trials))))
        return
    if chosen.data is None:
        arguments.error("--data is required")
    print(describe("fastwarc", "pyarrow", "datasets"), flush=True)
    run(chosen.data, chosen.only, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
