"""Inputs made to break the corpus stage: what each ends as, and the most memory any process took.

Every case is made in a temporary folder (compressed or sparse where it can be), goes through the whole stage with one
worker in processes of its own, and is removed. Guide: 1.5 GB a worker, in = kept + dropped.
`--scale 0.01` makes them small, to see that it runs.
"""

import argparse
import gzip
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from pipeline.artifact import open_sealed

LIMIT_MB = 1500
_BIG = 2 << 30
_MAX_CELL = (2 << 30) - (1 << 20)  # a page says its bytes in 31 bits
_TINY = 10_000_000
_CHUNK = 8 << 20
_SAMPLE_SECONDS = 0.1
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Outcome:
    """What a run ended as."""

    stats: dict[str, Any]  # of the source in the manifest
    worker_mb: int  # most resident memory of a worker
    driver_mb: int
    seconds: float


def sentences(rng: random.Random, count: int) -> str:
    """Japanese that passes the rules."""
    who, where, what = (
        ("技術者", "利用者", "先生", "友人"),
        ("図書館", "研究室", "公園", "駅前"),
        ("辞書", "地図", "手紙", "機械"),
    )
    how, did = ("静かに", "急いで", "丁寧に", "何度も"), ("調べました", "直しました", "読みました", "運びます")
    parts = (who, "は", where, "で", what, "を", how, did)
    return "".join(
        "".join(p if isinstance(p, str) else rng.choice(p) for p in parts) + f"{rng.randrange(1000)}回目です。"
        for _ in range(count)
    )


def page(seed: int) -> bytes:
    """A page that stays."""
    return f'<html lang="ja"><body><p>{sentences(random.Random(seed), 12)}</p></body></html>'.encode()


def row(text: str) -> bytes:
    return json.dumps({"text": text}, ensure_ascii=False).encode() + b"\n"


def huge_line(folder: Path, scale: float) -> str:
    """One JSONL line of 2 GB between two good ones, in gzip members."""
    chunk = ("あ" * (_CHUNK // 3)).encode()
    member = gzip.compress(chunk, 1)
    with (folder / "rows.jsonl.gz").open("wb") as file:
        file.write(gzip.compress(row(sentences(random.Random(1), 12)) + b'{"text": "'))
        for _ in range(max(int(_BIG * scale / len(chunk)), 10)):
            file.write(member)
        file.write(gzip.compress(b'"}\n' + row(sentences(random.Random(2), 12))))
    return "jsonl"


def huge_html(folder: Path, scale: float) -> str:
    """A sparse HTML file of 2 GB beside a good one."""
    (folder / "good.html").write_bytes(page(1))
    with (folder / "huge.html").open("wb") as file:
        file.write(page(2))
        file.truncate(max(int(_BIG * scale), 80 << 20))
    return "html"


def huge_cell(folder: Path, scale: float) -> str:
    """A Parquet cell of 2 GB between two good ones."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    size = min(max(int(_BIG * scale), 80 << 20), _MAX_CELL) // 3 * 3
    schema = pa.schema([("text", pa.large_string())])
    options: dict[str, Any] = {"compression": "zstd", "use_dictionary": False, "write_statistics": False}
    with pq.ParquetWriter(folder / "rows.parquet", schema, **options) as writer:
        for text in (
            sentences(random.Random(1), 12).encode(),
            "あ".encode() * (size // 3),
            sentences(random.Random(2), 12).encode(),
        ):
            # Arrow takes the bytes as they are: made of a str, 2 GB become 20
            ends = pa.py_buffer(np.array([0, len(text)], np.int64))
            cell = pa.Array.from_buffers(pa.large_string(), 1, [None, ends, pa.py_buffer(text)])
            writer.write_batch(pa.record_batch([cell], schema))
    return "parquet"


def record(url: str, body: bytes, length: int | None = None) -> bytes:
    """A WARC response, its length as it is or as it claims."""
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + body
    head = (
        f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {url}\r\nWARC-Date: 2024-01-01T00:00:00Z\r\n"
        f"WARC-Record-ID: <urn:uuid:00000000-0000-0000-0000-{zlib.crc32(url.encode()):012}>\r\n"
        f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(http) if length is None else length}\r\n\r\n"
    )
    return head.encode() + http + b"\r\n\r\n"


def bomb(folder: Path, scale: float) -> str:
    """A WARC record of a few megabytes that inflates to 2 GB, between two good ones."""
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    size = max(int(_BIG * scale), 80 << 20)
    with (folder / "crawl.warc.gz").open("wb") as file:
        file.write(gzip.compress(record("https://a.example/1", page(1))))
        file.write(packer.compress(record("https://a.example/bomb", b"<html>", size)[:-4]))
        for _ in range(size // _CHUNK):
            file.write(packer.compress(bytes(_CHUNK)))
        file.write(packer.compress(b"\r\n\r\n") + packer.flush())
        file.write(gzip.compress(record("https://a.example/2", page(2))))
    return "warc"


def lies(folder: Path, scale: float) -> str:
    """WARC records that claim a terabyte, less than they hold, and less than nothing; compressed and plain."""
    del scale
    honest = [record(f"https://a.example/{i}", page(i)) for i in range(3)]
    lying = [record(f"https://a.example/lie{i}", page(10 + i), length) for i, length in enumerate((10**12, 40, -5))]
    records = [part for pair in zip(honest, lying, strict=True) for part in pair]
    (folder / "crawl.warc.gz").write_bytes(b"".join(map(gzip.compress, records)))
    (folder / "plain.warc").write_bytes(b"".join(record.replace(b"a.example", b"b.example") for record in records))
    return "warc"


def tiny(folder: Path, scale: float) -> str:
    """Ten million lines of a sentence each, a hundred times the same; with the rule of length off they all go to dedup."""
    count = max(int(_TINY * scale), 1000)
    distinct = [row(f"今日は{number}番の駅で人に会いました。") for number in range(max(count // 100, 1))]
    with (folder / "rows.jsonl").open("wb") as file:
        for _ in range(count // len(distinct)):
            file.writelines(distinct)
    return "jsonl"


def deep(folder: Path, scale: float) -> str:
    """HTML nested 10,000 and 1,000,000 deep beside a good page."""
    (folder / "good.html").write_bytes(page(1))
    text = sentences(random.Random(2), 12).encode()
    for depth in (10_000, max(int(1_000_000 * scale), 20_000)):
        (folder / f"deep{depth}.html").write_bytes(b'<html lang="ja"><body>' + b"<div>" * depth + text + b"</div>" * depth)
    return "html"


CASES: dict[str, Callable[[Path, float], str]] = {
    made.__name__: made for made in (huge_line, huge_html, huge_cell, bomb, lies, deep, tiny)
}


def write_run(folder: Path, name: str, reader: str) -> Path:
    """A run file over one case; a tiny document may be as short as it likes, and most of a hostile input may be damaged."""
    rules = "[corpus.rules]\nlength = false\nkuten = false\nmarks = false\n" if name == "tiny" else ""
    path = folder / f"{name}.toml"
    path.write_text(
        f'[ray]\nworkers = 1\n[corpus]\nmax_failed_share = 1.0\n{rules}[[corpus.sources]]\nname = "{name}"\n'
        f'reader = "{reader}"\npath = "{(folder / name).as_posix()}"\nlicence = "CC0-1.0"\nattribution = "made"\n',
        "utf-8",
    )
    return path


def run_stage(run: Path, name: str, artifacts: Path) -> Outcome:
    """The stage in processes of its own, their memory watched.

    Raises: RuntimeError if it fails, with the end of what it said.
    """
    command = [sys.executable, "-m", "corpus", "--run", str(run), "--artifacts", str(artifacts)]
    began, peaks = time.monotonic(), {"worker": 0, "driver": 0}
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    watcher = threading.Thread(target=watch, args=(process, peaks))
    watcher.start()
    out, _ = process.communicate()
    watcher.join()
    if process.returncode:
        raise RuntimeError(f"{name}: exit {process.returncode}\n{out[-3000:]}")
    stats = open_sealed(artifacts / "corpus" / run.stem).stats["sources"][name]
    return Outcome(stats, peaks["worker"] >> 10, peaks["driver"] >> 10, time.monotonic() - began)


def watch(process: subprocess.Popen[str], peaks: dict[str, int]) -> None:
    """Keep the most kB that were resident in the process and in the Ray workers below it (VmHWM: the kernel's own peak)."""
    while process.poll() is None:
        for pid, kind in _watched(process.pid):
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:  # it has ended
                continue
            peak = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)
            peaks[kind] = max(peaks[kind], peak)
        time.sleep(_SAMPLE_SECONDS)


def _watched(pid: int) -> Iterator[tuple[int, str]]:
    yield pid, "driver"
    try:
        for child in psutil.Process(pid).children(recursive=True):
            command = child.cmdline()
            if command and command[0].startswith("ray::"):
                yield child.pid, "worker"
    except psutil.Error:  # one of them has just ended
        return


def run(data: Path | None, out: Callable[[str], None], scale: float = 1.0, only: tuple[str, ...] = tuple(CASES)) -> bool:
    """Run the cases and print a row for each. Returns: whether all kept to the limit and balanced."""
    del data  # all inputs are made here
    out(f"{'input':10} {'in':>10} {'kept':>8} {'worker':>8} {'driver':>8} {'s':>6}  in = kept + dropped, by reason")
    good = True
    for name in only:
        with tempfile.TemporaryDirectory(prefix="hostile") as temporary:
            folder = Path(temporary)
            (folder / name).mkdir()
            reader = CASES[name](folder / name, scale)
            got = run_stage(write_run(folder, name, reader), name, folder / "artifacts")
        stats, dropped = got.stats, got.stats["dropped"]
        balanced = stats["in"] == stats["kept"] + sum(dropped.values())
        good &= balanced and max(got.worker_mb, got.driver_mb) < LIMIT_MB
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in dropped.items())
        out(
            f"{name:10} {stats['in']:>10,} {stats['kept']:>8,} {got.worker_mb:>5} MB {got.driver_mb:>5} MB {got.seconds:>6.0f}"
            f"  {'holds' if balanced else 'BROKEN'}: {reasons}"
        )
    return good


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, help="not read: all inputs are made here")
    arguments.add_argument("--scale", type=float, default=1.0, help="1: 2 GB and ten million documents")
    arguments.add_argument("--only", nargs="*", choices=list(CASES), default=list(CASES))
    chosen = arguments.parse_args()
    if not run(chosen.data, lambda line: print(line, flush=True), chosen.scale, tuple(chosen.only)):
        sys.exit(f"over {LIMIT_MB} MB, or an account that does not balance")


if __name__ == "__main__":
    main()
