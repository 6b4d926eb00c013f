"""Texts that tokenizers are trained and measured on: Japanese literature and Wikipedia, an English handbook, Python's library.

Training and held-out texts have no document in common; no Wikipedia article is trained on whose sentences are in a
JSQuAD paragraph, nor a work of which another edition is held out. The same data folder and Python give the same texts.
"""

import gzip
import hashlib
import json
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# Sources by language, as [tokenizer] would name them.
JAPANESE, ENGLISH, CODE = ("aozora", "wikipedia"), ("handbook",), ("python",)
# Share of works, pages and files held out, by a hash of their name.
HELD_OUT = {"aozora": 0.08, "handbook": 0.2, "python": 0.1}
# Characters of a run that two texts must share to be called the same text.
_SHARED = 24
# Characters of a source that are held out at most: more changes the third digit of no figure.
_ENOUGH = 1_000_000
# Folders of Python's library that are no library, or tables in the shape of one.
_NO_LIBRARY = (
    "encodings",
    "pydoc_data",
    "test",
    "tests",
    "idle_test",
    "site-packages",
    "dist-packages",
    "lib2to3",
    "turtledemo",
)


@dataclass(frozen=True)
class Texts:
    """Documents by source; `held_out` has `jsquad` besides."""

    train: Mapping[str, Sequence[str]]
    held_out: Mapping[str, Sequence[str]]


def load(data: Path) -> Texts:
    """Read the data folder and Python's library."""
    train: dict[str, list[str]] = {}
    held_out: dict[str, list[str]] = {"jsquad": sorted(set(jsquad(data)))}
    for source, named in (("aozora", _aozora(data)), ("handbook", _handbook(data)), ("python", _library())):
        train[source], held_out[source] = [], []
        for name, text in named:
            is_held_out = _share(name) < HELD_OUT[source] and sum(map(len, held_out[source])) < _ENOUGH
            (held_out if is_held_out else train)[source].append(text)
    train["aozora"] = without(train["aozora"], held_out["aozora"])
    train["wikipedia"] = without(list(_wikipedia(data)), held_out["jsquad"])
    return Texts(train, held_out)


def jsquad(data: Path) -> Iterator[str]:
    """Paragraphs of JSQuAD, without the title that is before them."""
    body = json.loads((data / "jglue-jsquad-valid.json").read_text("utf-8"))
    for article in body["data"]:
        for paragraph in article["paragraphs"]:
            yield paragraph["context"].partition(" [SEP] ")[2]


def without(texts: Sequence[str], held_out: Sequence[str]) -> list[str]:
    """Texts that share no run of _SHARED characters, at a stride, with any that is held out, but for one in a hundred."""
    runs = {text[begin : begin + _SHARED] for text in held_out for begin in range(len(text) - _SHARED + 1)}
    return [text for text in texts if not _stands_in(text, runs)]


def _stands_in(text: str, runs: set[str]) -> bool:
    pieces = range(0, max(len(text) - _SHARED + 1, 0), _SHARED)
    return sum(text[begin : begin + _SHARED] in runs for begin in pieces) * 100 > len(pieces)


def _share(name: str) -> float:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) / 2**32


def _aozora(data: Path) -> Iterator[tuple[str, str]]:
    import pyarrow.parquet as pq

    from corpus.extract.aozora import clean_aozora

    table = pq.read_table(data / "aozora.parquet", columns=["id", "text"])
    for name, text in zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True):
        yield str(name), clean_aozora(text)


def _wikipedia(data: Path) -> Iterator[str]:
    with gzip.open(data / "wikipedia-ja.jsonl.gz", "rt", encoding="utf-8") as file:
        yield from (json.loads(line)["text"] for line in file)


def _handbook(data: Path) -> Iterator[tuple[str, str]]:
    """English pages of the crawl, by their labels."""
    from corpus.extract.document import Extracted, extract
    from corpus.readers import RawDocument, SourceSettings, plan_shards, read_shard

    rows = map(json.loads, (data / "web-ja.labels.jsonl").read_text("utf-8").splitlines())
    english = {row["url"] for row in rows if row["lang"].startswith("en")}
    for shard in plan_shards(SourceSettings("web", "warc", "", "", str(data / "web-ja.warc.gz"))):
        for record in read_shard(shard):
            if isinstance(record, RawDocument) and record.url in english:
                got = extract(record, "en")
                if isinstance(got, Extracted):
                    yield record.url, got.text


def _library() -> Iterator[tuple[str, str]]:
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py")):
        if not set(_NO_LIBRARY) & set(path.relative_to(root).parts):
            yield path.relative_to(root).as_posix(), path.read_text("utf-8", errors="replace")
