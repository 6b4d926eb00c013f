"""The index of a whole run: find and fetch with provenance, 4 shards against 1, and 64 clients at once over HTTP for a minute.

The run is made of the works of Aozora Bunko, cut and read as training of three epochs would read them (`search_run`).
"""

import asyncio
import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.machine import describe
from benchmarks.search.run import make_run
from benchmarks.search.texts import Texts, load, parser, working
from pipeline.runfile import RunFile
from search.hits import MODES
from search.searcher import Searcher

CLIENTS, SECONDS = 64, 60
QUERIES, PAGE = 2000, 10
SHARDS = 4
GUIDE = 300e-6  # seconds to find and fetch a page of ten, on an idle core
_SEED = 9


def main() -> None:
    arguments = parser(__doc__).parse_args()
    print(describe("numpy", "numba", "fastapi", "uvicorn"), f"load {os.getloadavg()[0]:.1f}", sep=", ", flush=True)
    texts = load(arguments.data)
    with working(arguments.work) as work:
        one = make_run(work / "one", texts.documents, shard_bytes=1 << 30)
        searcher = Searcher.open(one)
        print(
            f"{len(texts.documents):,} documents, {searcher.texts.searched_bytes / 1e6:.1f} MB, {searcher.total:,} iterations"
        )
        print(f"index and text: {_size(one) / searcher.texts.searched_bytes:.3f} bytes a byte of text, vectors apart")
        queries = queries_of(texts)
        fetching(searcher, queries)
        four = make_run(work / "four", texts.documents, shard_bytes=texts.bytes // (SHARDS - 1), like=one)
        differ = differences(searcher, Searcher.open(four), queries)
        errors = serving(one, queries)
    if differ or errors:
        sys.exit(f"demanded: no answer that differs between one shard and several ({differ}), no error of a client ({errors})")


def queries_of(texts: Texts) -> list[str]:
    """Strings of 2 to 20 characters from the text."""
    rng = random.Random(_SEED)
    found = []
    while len(found) < QUERIES:
        text = rng.choice(texts.documents)
        begin = rng.randrange(max(len(text) - 20, 1))
        if query := text[begin : begin + rng.randint(2, 20)].strip():
            found.append(query)
    return found


def fetching(searcher: Searcher, queries: Sequence[str]) -> None:
    """Time pages of ten hits, each with its document and its iterations."""
    for query in queries[:50]:
        searcher.search(query, "ngram", limit=PAGE)
    wall, processor = list[float](), list[float]()
    for query in queries:
        began, used = time.perf_counter(), time.thread_time()
        page = searcher.search(query, "ngram", limit=PAGE)
        if len(page.hits) == PAGE and page.occurrences > 0:
            wall.append(time.perf_counter() - began)
            processor.append(time.thread_time() - used)
    said = " and ".join(f"{np.percentile(t, 50) * 1e6:.0f} (95 %: {np.percentile(t, 95) * 1e6:.0f})" for t in (wall, processor))
    print(f"find and fetch {PAGE} passages with provenance, µs of wall and processor: {said}; {len(wall)} queries", flush=True)
    print(f"  the guide for an idle core is {GUIDE * 1e6:.0f}")


def differences(one: Searcher, several: Searcher, queries: Sequence[str]) -> int:
    """How many queries are answered otherwise by several shards."""
    count = 0
    for query, mode in itertools.product(queries[:500], MODES):
        ours, theirs = (searcher.search(query, mode, limit=PAGE) for searcher in (one, several))
        # Vectors of several shards are found by other lists of codes; what is demanded is exact search.
        same = ours.hits == theirs.hits if mode == "ngram" else True
        count += not (same and ours.occurrences == theirs.occurrences and ours.searched_bytes == theirs.searched_bytes)
    print(f"{len(several.texts.shards)} shards against 1: {count} of {500} queries are answered otherwise", flush=True)
    return count


def serving(run: RunFile, queries: Sequence[str]) -> int:
    """CLIENTS ask the server without a pause; prints rates, returns errors."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    line = ["--run", str(run.path), "--artifacts", str(run.artifacts), "--set", f"search.port={port}"]
    server = subprocess.Popen([sys.executable, "-m", "search.server.serve", *line], stdout=subprocess.DEVNULL)
    try:
        taken, errors = asyncio.run(ask(f"http://127.0.0.1:{port}", queries))
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()
    every = [seconds for rows in taken.values() for seconds in rows]
    rate = len(every) / SECONDS
    print(f"{CLIENTS} clients for {SECONDS} s: {len(every):,} answers, {rate:.0f} a second, errors {dict(errors) or 0}")
    for name, rows in taken.items():
        said = ", ".join(f"{p} % {np.percentile(rows, p) * 1e3:.0f} ms" for p in (50, 95, 99))
        print(f"  {name}: {len(rows):,} within {said}")
    return sum(errors.values())


async def ask(url: str, queries: Sequence[str]) -> tuple[dict[str, list[float]], Counter[str]]:
    """Seconds of each answer by path, and errors by kind."""
    import aiohttp

    taken: dict[str, list[float]] = {"search": [], "count": [], "vector": []}
    errors: Counter[str] = Counter()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CLIENTS)) as session:
        await _ready(session, url)
        end = time.monotonic() + SECONDS

        async def client(number: int) -> None:
            rng = random.Random(number)
            while time.monotonic() < end:
                kind, query = rng.choice(list(taken)), rng.choice(queries)
                path = "/v1/count" if kind == "count" else "/v1/search"
                extra: dict[str, Any] = {"mode": "vector"} if kind == "vector" else {}
                began = time.monotonic()
                try:
                    async with session.get(url + path, params={"q": query, **extra}) as answer:
                        await answer.json()
                        if answer.status != 200:
                            errors[f"status {answer.status}"] += 1
                except aiohttp.ClientError as error:
                    errors[type(error).__name__] += 1
                taken[kind].append(time.monotonic() - began)

        await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    return taken, errors


async def _ready(session: Any, url: str) -> None:
    import aiohttp

    for _ in range(600):
        try:
            async with session.get(url + "/v1/index") as answer:
                await answer.json()
                return
        except aiohttp.ClientConnectionError:
            await asyncio.sleep(0.1)
    raise TimeoutError(url)


def _size(run: RunFile) -> int:
    return sum(path.stat().st_size for path in (run.root("index") / "data" / "shards").rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
