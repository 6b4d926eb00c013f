"""infini-gram, the peer: its byte index ("u8" tokens are bytes of UTF-8) of the same documents, and its answers.

Traps of the package: `attribute` and the fetching by pointers assert what u16 tokens need, so documents are fetched by rank;
`version=6` ends the process; its builder changes the working folder, so that it runs in a process of its own.
"""

import contextlib
import importlib.util
import io
import json
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

THEIRS = "infini-gram"
_FOLDER, _COST, _SOURCE = "theirs", "cost.json", "source/documents.jsonl"
# GiB that its builder may use: the documents are then sorted in one part, which is its fastest way.
_MEMORY = 4
END = 0xFF  # what it sets between documents, as we do
# Occurrences of a span beyond which `attribute` drops it: OLMoTrace's limit (arXiv:2504.07096).
MAX_OCCURRENCES = 1_000_000


@dataclass(frozen=True)
class Cost:
    """What a build took."""

    cpu: float  # seconds of processor time, of all processes
    wall: float
    peak: int  # bytes of memory of its largest process


def available() -> bool:
    """Whether the package is installed: it has wheels for Linux on x86-64 only."""
    return importlib.util.find_spec("infini_gram") is not None


def theirs(work: Path, documents: list[str]) -> tuple[Path, Cost]:
    """Its index of all documents below `work`, which is built where it is missing, and what building took."""
    from pipeline.files import atomic_path

    if not (work / _FOLDER).exists():
        with atomic_path(work / _FOLDER) as folder:
            (folder / _SOURCE).parent.mkdir(parents=True)
            with (folder / _SOURCE).open("w", encoding="utf-8") as file:
                file.writelines(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in documents)
            cost = in_process(_build, folder)
            (folder / _COST).write_text(json.dumps(vars(cost)))
    return work / _FOLDER / "index", Cost(**json.loads((work / _FOLDER / _COST).read_text()))


def source_of(work: Path) -> Path:
    """The JSON lines that its index below `work` was built of."""
    return work / _FOLDER / _SOURCE


def in_process(build: Callable[..., None], *arguments: object) -> Cost:
    """Run it in a new process, which has called `build` without arguments before: imports and compiling are not counted."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measured, build, arguments).result()


def _measured(build: Callable[..., None], arguments: tuple[object, ...]) -> Cost:
    build()
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    before, began = [resource.getrusage(kind) for kind in kinds], time.monotonic()
    build(*arguments)
    wall, after = time.monotonic() - began, [resource.getrusage(kind) for kind in kinds]
    cpu = sum(x.ru_utime + x.ru_stime for x in after) - sum(x.ru_utime + x.ru_stime for x in before)
    return Cost(cpu, wall, 1024 * max(x.ru_maxrss for x in after))


def _build(folder: Path | None = None) -> None:
    from infini_gram import indexing

    importlib.import_module("transformers")
    if folder is None:
        return
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    options = {
        "data_dir": (folder / _SOURCE).parent,
        "save_dir": folder / "index",
        "token_dtype": "u8",
        "cpus": 1,
        "mem": _MEMORY,
    }
    sys.argv = ["indexing", *(f"--{name}={value}" for name, value in options.items()), f"--ulimit={limit}"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        indexing.main()


class Peer:
    """Its engine over one index, warm: files are mapped, as they are by default."""

    def __init__(self, index: Path, **options: object) -> None:
        from infini_gram.engine import InfiniGramEngine

        self._engine: Any = cast(Any, InfiniGramEngine)(
            index_dir=str(index), eos_token_id=0, vocab_size=255, version=4, token_dtype="u8", **options
        )

    def count(self, query: list[int]) -> int:
        """How often these bytes occur."""
        return int(self._engine.count(input_ids=query)["count"])

    def fetch(self, query: list[int], most: int, around: int) -> list[tuple[int, bytes]]:
        """Document number and text around each of the first occurrences."""
        low, high = self._engine.find(input_ids=query)["segment_by_shard"][0]
        wanted = [(0, rank, len(query), around) for rank in range(low, min(high, low + most))]
        return [(found["doc_ix"], bytes(found["token_ids"])) for found in self._engine.get_docs_by_ranks_2(wanted)]

    def trace(self, answer: list[int], least: int) -> list[dict[str, Any]]:
        """Its spans of at least so many bytes: l, r, count, and where they are."""
        found = self._engine.attribute(
            input_ids=answer, delim_ids=[], min_len=least, max_cnt=MAX_OCCURRENCES, enforce_bow=False
        )
        return found["spans"]
