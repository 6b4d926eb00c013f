"""What search is measured on: 1,364 works of Aozora Bunko, a document of rare characters, and answers that are held out.

An answer is ANSWER characters: half of them cut out of the works (and so out of the index), half from Wikipedia. The same
data folder gives the same texts.
"""

import argparse
import gzip
import json
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ANSWER, ANSWERS = 500, 40
# Characters of an answer that may be elsewhere in one piece: more of them is another edition of the same work.
_SHARED = 60
OURS = "ours"
# What literature lacks: runs that overlap themselves, characters that mean something to a regular expression, emoji with
# joiners, modifiers and flags, combining and variation marks, characters of four bytes, all kinds of white space.
RARE = (
    "あああああああ、ＡＡＡＡ。ababababa\n\n\n",
    r"a.*[b] (?=x) \d+ ^$ {2,3} a|b \\ C:\temp (?P<名>.+) .* [^。]+ \u3042 %s {} $1 &amp; '\"`;--",
    "🙂🙂🙂👨‍👩‍👧👍🏽🇯🇵🇯🇵❤️‍🔥1️⃣☎︎",
    "か\u3099き\u3099く\u3099は\u309aハ\u309ae\u0301が葛\U000e0100辻\U000e0101",
    "𠮷野家で𩸽を𠮟る。\u3000\t\u00a0\u200b\u2028\x0b終",
    "行の終わり\r\n次の行\n\n段落\nの\nはじめ",
)
_SEED = 6


@dataclass(frozen=True)
class Texts:
    """Documents that are indexed, and answers that are traced."""

    documents: list[str]
    answers: list[str]

    @property
    def bytes(self) -> int:
        """UTF-8 bytes of the documents."""
        return sum(len(text.encode()) for text in self.documents)


def load(data: Path) -> Texts:
    """Read the data folder."""
    works, cut = without_answers(works_of(data), ANSWERS // 2)
    texts = Texts([*works, "\n".join(RARE)], cut + list(_wikipedia(data, ANSWERS - len(cut))))
    assert len(texts.answers) == ANSWERS and all(len(text) == ANSWER for text in texts.answers)
    return texts


def works_of(data: Path) -> list[str]:
    """All works, cleaned as the corpus stage cleans them."""
    import pyarrow.parquet as pq

    from corpus.extract.aozora import clean_aozora

    return [clean_aozora(text) for text in pq.read_table(data / "aozora.parquet", columns=["text"])["text"].to_pylist()]


def without_answers(works: list[str], count: int) -> tuple[list[str], list[str]]:
    """The works without the answers cut out of `count` of them, and those answers."""
    rng = random.Random(_SEED)
    left, cut = list(works), list[str]()
    for number in rng.sample(range(len(works)), len(works)):
        text = works[number]
        if len(text) < 8 * ANSWER:
            continue
        begin = rng.randrange(ANSWER, len(text) - 2 * ANSWER)
        answer = text[begin : begin + ANSWER]
        rest = text[:begin] + text[begin + ANSWER :]
        middle = answer[(ANSWER - _SHARED) // 2 :][:_SHARED]
        if middle in rest or any(middle in other for other in works if other is not text):
            continue
        left[number] = rest
        cut.append(answer)
        if len(cut) == count:
            break
    return left, cut


def _wikipedia(data: Path, count: int) -> Iterator[str]:
    with gzip.open(data / "wikipedia-ja.jsonl.gz", "rt", encoding="utf-8") as file:
        for text in (json.loads(line)["text"] for line in file):
            if len(text) >= ANSWER and count > 0:
                count -= 1
                yield text[:ANSWER]


def joined(documents: list[str]) -> np.ndarray:
    """(bytes,) uint8, writable: the documents' UTF-8, each followed by 0xFF, as an index shard holds them."""
    return np.frombuffer(bytearray(b"".join(text.encode() + b"\xff" for text in documents)), np.uint8)


def ours(work: Path, documents: list[str]) -> Path:
    """The folder of our index of all documents below `work`, which is built where it is missing."""
    from pipeline.files import atomic_path
    from search.exact import suffix_array

    if not (work / OURS).exists():
        with atomic_path(work / OURS) as folder:
            folder.mkdir()
            suffix_array.build(joined(documents), folder)
    return work / OURS


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Arguments of every part."""
    made = argparse.ArgumentParser(description=doc)
    made.add_argument("--data", type=Path, required=True, help="the folder of development data")
    made.add_argument("--work", type=Path, help="where indices are made and kept; a temporary one if left out")
    return made


@contextmanager
def working(folder: Path | None) -> Iterator[Path]:
    """That folder, made where it is missing, or a temporary one."""
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary)
