"""What is found of the strings that are in the text: by the suffix array over characters, and by a search for tokens.

LLM-jp's search and infini-gram's usual index look for the tokens of the query in the tokens of the documents: an occurrence
whose tokens begin or end elsewhere, or are cut in another way there, is not found. Two vocabularies of PIECES pieces are
trained on the documents themselves: a raw unigram model, as LLM-jp's are, and our default recipe. Queries are tokenized
alone; occurrences are counted by a scan.
"""

import random
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.machine import describe
from benchmarks.search.scan import Scan, points_of
from benchmarks.search.texts import load, ours, parser, working
from search.exact.suffix_array import SuffixArray
from tokenizer.encode import Tokenizer
from tokenizer.settings import TokenizerSettings
from tokenizer.train.recipes import train_recipe
from tokenizer.train.sample import Sample, sentences

QUERIES = 500  # of each kind
SIZES = (4, 8, 16)  # characters of a random string
PIECES = 50_000
# Of the text, that a vocabulary is trained on: minutes; every so many-th sentence, so that all works have a part.
TRAINED_CHARACTERS = 5_000_000
RECIPES = ("unigram", "words")
WORDS = {
    "kanji words": re.compile(r"[\u4e00-\u9fff]{2,8}"),
    "katakana words": re.compile(r"[\u30a1-\u30fa][\u30a1-\u30fc]{2,12}"),
}
_SENTENCE = re.compile(r"[^。！？\n「」]{8,80}[。！？]")
_SEED = 9


@dataclass(frozen=True)
class Found:
    """Of the occurrences of some queries."""

    mean: float  # share of a query's occurrences, every query alike
    pooled: float  # share of all queries' occurrences together
    none: float  # share of the queries of which nothing is found

    @staticmethod
    def of(found: Sequence[int], truth: Sequence[int]) -> "Found":
        """Shares; every query occurs."""
        got, all_ = np.array(found), np.array(truth)
        return Found(float((got / all_).mean()), float(got.sum() / all_.sum()), float((got == 0).mean()))

    def __str__(self) -> str:
        return f"{self.mean:.3f} ({self.pooled:.3f} of all occurrences; nothing for {self.none:.1%} of queries)"


def main() -> None:
    arguments = parser(__doc__).parse_args()
    print(describe("numpy", "numba", "sentencepiece", "pydivsufsort"), flush=True)
    documents = load(arguments.data).documents
    kinds = queries_of(documents)
    asked = [query for queries in kinds.values() for query in queries]
    truth = Scan(map(points_of, documents)).count([points_of(query) for query in asked])
    found: dict[str, list[int]] = {}
    with working(arguments.work) as work:
        suffixes = SuffixArray(ours(work, documents))
        found["ours, characters"] = [suffixes.count(query.encode()) for query in asked]
        for recipe in RECIPES:
            found[f"tokens, {recipe}"] = by_tokens(vocabulary(work, documents, recipe), documents, asked)
    begin = 0
    for kind, queries in kinds.items():
        part = slice(begin, begin := begin + len(queries))
        print(f"{kind}: {len(queries)} queries, {sum(truth[part]):,} occurrences; share found of a query's")
        for name, counts in found.items():
            print(f"  {name:18} {Found.of(counts[part], truth[part])}")
    wrong = [query for query, count, brute in zip(asked, found["ours, characters"], truth, strict=True) if count != brute]
    if wrong:
        sys.exit(f"demanded: every occurrence; {len(wrong)} queries are counted wrong, first {wrong[0]!r}")


def queries_of(documents: Sequence[str]) -> dict[str, list[str]]:
    """Strings that are in the text, by kind."""
    rng = random.Random(_SEED)
    kinds = {}
    for size in SIZES:
        texts = rng.choices([text for text in documents if len(text) > size], k=QUERIES)
        begins = [rng.randrange(len(text) - size) for text in texts]
        kinds[f"random strings of {size}"] = [text[at : at + size] for text, at in zip(texts, begins, strict=True)]
    some = rng.sample(documents, 300)
    for kind, pattern in (*WORDS.items(), ("sentences", _SENTENCE)):
        kinds[kind] = rng.sample(sorted({found for text in some for found in pattern.findall(text)}), QUERIES)
    return kinds


def vocabulary(work: Path, documents: Sequence[str], recipe: str) -> Tokenizer:
    """A tokenizer of PIECES pieces, trained on the documents where `work` has none."""
    path = work / f"{recipe}.model"
    if not path.exists():
        settings = TokenizerSettings(vocab_size=PIECES, max_characters=TRAINED_CHARACTERS, recipe=recipe)
        every = sum(map(len, documents)) // TRAINED_CHARACTERS
        lines = [sentence for text in documents for line in text.splitlines() for sentence in sentences(line) if sentence]
        some = lines[::every]
        path.write_bytes(train_recipe(Sample({"text": some}, Counter(text=sum(map(len, some)))), settings))
    return Tokenizer(path.read_bytes())


def by_tokens(tokenizer: Tokenizer, documents: Sequence[str], asked: Sequence[str]) -> list[int]:
    """How often the tokens of each query are in the tokens of the documents."""
    return Scan(tokenizer.encode_arrays(documents)).count([np.array(tokenizer.encode(query)) for query in asked])


if __name__ == "__main__":
    main()
