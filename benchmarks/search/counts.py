"""Counts of the suffix array against a scan without an index and infini-gram's byte index, for thousands of queries.

A scan of the documents' code points is the truth; a sample of it is checked against Python's str.find.
Positions are checked too: as many as are counted, ascending, all different, and the query is at each of them.
"""

import itertools
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.machine import describe
from benchmarks.search.infini import THEIRS, Peer, available, theirs
from benchmarks.search.scan import Scan, points_of
from benchmarks.search.texts import RARE, Texts, load, ours, parser, working
from search.exact.suffix_array import SuffixArray

MAXIMUM = 50  # characters of a query
MIN_QUERIES = 5_000
# Queries of each kind.
FROM_TEXT, ALTERED, CROSSING, OTHER = 4_000, 1_000, 500, 500
# Queries that are counted by str.find besides, some 50 ms each.
CHECKED = 100
# Occurrences of a query of which every place is looked at.
PLACES = 20_000
# Nothing that Aozora Bunko has; neither has it most of RARE's neighbours.
ABSENT = ("🙂🙃", "か\u309a", "\ufeff", "\u0000", "\U0010ffff", "(?<!x)", "[[", ".*.*", "\\\\\\\\", "葛\U000e0102")
_SEED = 7


def main() -> None:
    arguments = parser(__doc__).parse_args()
    texts = load(arguments.data)
    kinds = queries_of(texts)
    asked = [query for queries in kinds.values() for query in queries]
    assert len(asked) >= MIN_QUERIES
    assert all(1 <= len(query) <= MAXIMUM for query in asked)
    print(describe("numpy", "numba", "pydivsufsort", *(["infini-gram"] if available() else [])), flush=True)
    truth = Scan(map(points_of, texts.documents)).count([points_of(query) for query in asked])
    failed = check_truth(texts.documents, asked, truth)
    with working(arguments.work) as work:
        failed += against_ours(ours(work, texts.documents), kinds, iter(truth))
        failed += against_theirs(work, texts.documents, asked, truth)
    if failed:
        sys.exit("; ".join(failed))


def queries_of(texts: Texts) -> dict[str, list[str]]:
    """Queries of 1 to MAXIMUM characters, by kind."""
    rng = random.Random(_SEED)
    documents, alphabet = texts.documents, rng.sample("".join(texts.documents), 10_000)
    kinds = {"from the text": [some(rng, rng.choice(documents)) for _ in range(FROM_TEXT)]}
    kinds["one character altered"] = [altered(rng, some(rng, rng.choice(documents)), alphabet) for _ in range(ALTERED)]
    kinds["across the end of a line"] = [around(rng, rng.choice(documents), "\n") for _ in range(CROSSING)]
    pairs = [rng.sample(documents, 2) for _ in range(CROSSING)]
    kinds["end and beginning of documents"] = [one[-rng.randint(1, 25) :] + other[: rng.randint(1, 25)] for one, other in pairs]
    kinds["beginning or end of a document"] = [
        rng.choice((x[: rng.randint(1, MAXIMUM)], x[-rng.randint(1, MAXIMUM) :])) for x, _ in pairs
    ]
    kinds["from held-out answers"] = [some(rng, rng.choice(texts.answers)) for _ in range(OTHER)]
    rare = "\n".join(RARE)
    kinds["emoji, marks, regular expressions"] = [some(rng, rare) for _ in range(OTHER)] + list(RARE[0])
    absent = [rng.choice(ABSENT) + rng.choice(("", some(rng, rare)[: MAXIMUM - 10])) for _ in range(OTHER)]
    kinds["the same, not in the text"] = [*ABSENT, *absent]
    kinds["single characters"] = sorted(set(alphabet))
    return kinds


def some(rng: random.Random, text: str) -> str:
    """1 to MAXIMUM characters of it, every length as often."""
    size = min(rng.randint(1, MAXIMUM), len(text))
    begin = rng.randint(0, len(text) - size)
    return text[begin : begin + size]


def altered(rng: random.Random, query: str, alphabet: Sequence[str]) -> str:
    """The query with another character at one place."""
    place = rng.randrange(len(query))
    return query[:place] + rng.choice(alphabet) + query[place + 1 :]


def around(rng: random.Random, text: str, mark: str) -> str:
    """A query that holds one of the marks, or some other one where the text has none."""
    places = [place for place in range(len(text)) if text[place] == mark]
    if not places:
        return some(rng, text)
    place, size = rng.choice(places), rng.randint(2, MAXIMUM)
    begin = max(place - rng.randrange(size), 0)
    return text[begin : begin + size]


def check_truth(documents: Sequence[str], asked: Sequence[str], truth: Sequence[int]) -> list[str]:
    """Count a sample of the queries with str.find; what differs."""
    whole = "\udfff".join(documents)  # a surrogate, which no query holds
    sample = random.Random(_SEED).sample(list(zip(asked, truth, strict=True)), CHECKED)
    wrong = [query for query, count in sample if found_by_python(whole, query) != count]
    print(f"{len(asked):,} queries; str.find agrees with the scan on {CHECKED - len(wrong)} of {CHECKED}", flush=True)
    return [f"the scan is wrong about {wrong[0]!r}"] if wrong else []


def found_by_python(whole: str, query: str) -> int:
    """Occurrences, overlapping ones too."""
    count, place = 0, whole.find(query)
    while place >= 0:
        count, place = count + 1, whole.find(query, place + 1)
    return count


def against_ours(index: Path, kinds: dict[str, list[str]], truth: Iterator[int]) -> list[str]:
    """Compare counts and places, kind by kind; what differs."""
    suffixes, failed = SuffixArray(index), []
    for kind, queries in kinds.items():
        counts = list(itertools.islice(truth, len(queries)))
        wrong = [query for query, count in zip(queries, counts, strict=True) if suffixes.count(query.encode()) != count]
        lost = [
            query
            for query, count in zip(queries, counts, strict=True)
            if count <= PLACES and not placed(suffixes, query, count)
        ]
        equal = f"{len(queries) - len(wrong):5,} of {len(queries):5,} equal"
        print(f"  {kind:34} {equal}; {sum(map(bool, counts)):5,} occur, up to {max(counts):,} times")
        failed += [f"{kind}: count of {query!r} differs" for query in wrong[:1]]
        failed += [f"{kind}: places of {query!r} are wrong" for query in lost[:1]]
    return failed


def placed(suffixes: SuffixArray, query: str, count: int) -> bool:
    """Whether so many different places are given, ascending, and the query is at each."""
    text = query.encode()
    places = suffixes.positions(*suffixes.range(text))
    different = len(places) == count and bool((np.diff(places) > 0).all())
    return different and all(suffixes.text[place : place + len(text)] == text for place in places.tolist())


def against_theirs(work: Path, documents: list[str], asked: Sequence[str], truth: Sequence[int]) -> list[str]:
    """Compare the peer's counts; what differs."""
    if not available():
        print(f"{THEIRS} is not installed here: it has wheels for Linux on x86-64 only")
        return []
    peer = Peer(theirs(work, documents)[0])
    wrong = [query for query, count in zip(asked, truth, strict=True) if peer.count(list(query.encode())) != count]
    print(f"{THEIRS}'s byte index: {len(asked) - len(wrong):,} of {len(asked):,} counts equal the scan")
    return [f"{THEIRS} differs for {len(wrong)} queries, first {wrong[0]!r}"] if wrong else []


if __name__ == "__main__":
    main()
