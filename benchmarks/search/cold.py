"""Pages of 4 KiB that a query reads when nothing but the fence keys is in memory: as Linux read them, counted one by one.

Before each query a copy of the index that nobody else maps is dropped from the page cache, and reading ahead is switched
off; after it, mincore(2) says which pages are there. A binary search over all suffixes, without fences, is measured beside.
Needs the index on a disk: the pages of a memory file system cannot be dropped.
"""

import ctypes
import mmap
import os
import random
import shutil
import sys
import tempfile
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.machine import describe
from benchmarks.search.texts import Texts, load, ours, parser, working
from search.exact import suffix_array

QUERIES = 300
SIZES = (2, 4, 8, 16, 50)
PAGE = 4096
DEMANDED = 15.0  # pages a query at most, on average
_SEED = 10


class Cold:
    """The files of an index that can be dropped from memory."""

    def __init__(self, folder: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        paths = [path for path in sorted(folder.iterdir()) if path.name != suffix_array.FENCES and path.stat().st_size]
        self._descriptors = [os.open(path, os.O_RDONLY) for path in paths]
        self._maps = [np.frombuffer(mmap.mmap(fd, 0, prot=mmap.PROT_READ), np.uint8) for fd in self._descriptors]
        self._resident = [np.empty(-(-len(one) // PAGE), np.uint8) for one in self._maps]
        for fd in self._descriptors:
            os.fsync(fd)  # a page that is not yet written cannot be dropped
        self._names = {str(path.resolve()) for path in paths}

    def drop(self) -> None:
        """Take every page of the files out of memory, and see that they are read one by one from now on."""
        for begin, size in self._mappings():
            for advice in (mmap.MADV_DONTNEED, mmap.MADV_RANDOM):
                self._call("madvise", ctypes.c_void_p(begin), ctypes.c_size_t(size), advice)
        for fd in self._descriptors:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def pages(self) -> int:
        """How many pages of the files are in memory."""
        for one, resident in zip(self._maps, self._resident, strict=True):
            address, size = ctypes.c_void_p(one.ctypes.data), ctypes.c_size_t(len(one))
            self._call("mincore", address, size, ctypes.c_void_p(resident.ctypes.data))
        return sum(int((resident & 1).sum()) for resident in self._resident)

    def _mappings(self) -> list[tuple[int, int]]:
        """Address and size of everything that maps the files in this process: what has opened them, we do not care."""
        found = []
        for line in Path("/proc/self/maps").read_text().splitlines():
            addresses, *_, name = line.split(maxsplit=5)
            if name in self._names:
                begin, end = (int(part, 16) for part in addresses.split("-"))
                found.append((begin, end - begin))
        return found

    def _call(self, name: str, *arguments: object) -> None:
        if self._libc[name](*arguments):
            raise OSError(ctypes.get_errno(), name)


def main() -> None:
    arguments = parser(__doc__).parse_args()
    print(describe("numpy", "numba"), flush=True)
    texts = load(arguments.data)
    with working(arguments.work) as work, tempfile.TemporaryDirectory(dir=work) as alone:
        folder = shutil.copytree(ours(work, texts.documents), Path(alone) / "index")
        suffixes, plain = suffix_array.SuffixArray(folder), Plain(folder)
        cold = Cold(folder)
        queries = queries_of(texts)
        for query in queries:
            assert plain.range(query) == suffixes.range(query), f"the searches differ for {query.decode()!r}"
        pages = report("with fence keys", cold, suffixes.range, queries)
        report("plain binary search", cold, plain.range, queries)
    if pages > DEMANDED:
        sys.exit(f"demanded: at most {DEMANDED:g} pages a query; {pages:.1f} are read")


def report(name: str, cold: Cold, search: Callable[[bytes], object], queries: list[bytes]) -> float:
    """Print what some queries read, each alone; returns their mean number of pages."""
    pages, seconds = [], []
    for query in queries:
        cold.drop()
        if left := cold.pages():
            sys.exit(f"{left} pages of the index stay in memory; give a folder on a disk with --work")
        began = time.perf_counter()
        search(query)
        seconds.append(time.perf_counter() - began)
        pages.append(cold.pages())
    p50, p95 = np.percentile(seconds, (50, 95)) * 1e3
    print(f"{name:20} {np.mean(pages):5.1f} pages a query, p95 {np.percentile(pages, 95):.0f}, most {max(pages)}; ", end="")
    print(f"wall p50 {p50:.2f} ms, p95 {p95:.2f} ms", flush=True)
    return float(np.mean(pages))


def queries_of(texts: Texts) -> list[bytes]:
    """Strings from the text of every size, and as many of held-out answers, most of which do not occur."""
    rng = random.Random(_SEED)
    queries = []
    for number in range(QUERIES):
        text, size = rng.choice(texts.answers if number % 6 == 5 else texts.documents), SIZES[number % len(SIZES)]
        begin = rng.randrange(max(len(text) - size, 1))
        queries.append(text[begin : begin + size].encode())
    return queries


class Plain:
    """Binary search over all suffixes."""

    def __init__(self, folder: Path) -> None:
        self._text = np.memmap(folder / suffix_array.TEXT, np.uint8, "r").view(np.ndarray)
        self._begins = np.memmap(folder / suffix_array.SUFFIXES, "<u4", "r").view(np.ndarray)

    def range(self, query: bytes) -> tuple[int, int]:
        """Ranks of the suffixes that begin with the query."""

        def head(rank: int) -> bytes:
            begin = int(self._begins[rank])
            return self._text[begin : begin + len(query)].tobytes()

        ranks = range(len(self._begins))
        return bisect_left(ranks, query, key=head), bisect_right(ranks, query, key=head)


if __name__ == "__main__":
    main()
