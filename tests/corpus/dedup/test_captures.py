"""A URL makes a copy only where the text agrees: against a plain comparison of every pair."""

import random
from pathlib import Path

import numpy as np

from corpus.dedup.captures import is_capture
from pipeline.text import minhash
from tests.corpus.dedup.test_passes import ALPHABET, drop

URL = "https://a.example/page"


def text(rng: random.Random, length: int) -> str:
    return "".join(rng.choice(ALPHABET) for _ in range(length))


def test_pages_of_different_text_share_a_url_and_stay(tmp_path: Path, ray_session: None) -> None:
    """Three pages, of one of them a shorter, an equal and a dated capture, over two shards."""
    rng = random.Random(1)
    one, two, three = text(rng, 600), text(rng, 500), text(rng, 90)
    pages = [one, two, three, one[:400], one, one + "二〇二四年"]
    for shards in ([pages], [pages[:2], pages[2:]], [pages[::-1]]):
        fell = drop_texts(tmp_path, shards)
        assert sorted(fell) == sorted([one[:400], one, one])  # for the longest of them


def drop_texts(tmp_path: Path, shards: list[list[str]]) -> list[str]:
    """Texts that fell; each gets an address of its own after #, which the key of the URL does not see in `drop`."""
    from corpus.dedup import signatures

    plain = signatures.compute_keys
    fell: list[str] = []
    named = [[(f"{URL}#{shard}-{place}", text) for place, text in enumerate(texts)] for shard, texts in enumerate(shards)]

    def shared(pages: list[tuple[str, str]], *more: object) -> np.ndarray:
        return plain([(source, url.partition("#")[0]) for source, url in pages], *more)  # pyright: ignore[reportArgumentType]

    signatures.compute_keys = shared  # pyright: ignore[reportAttributeAccessIssue]
    try:
        gone = drop(tmp_path, named)
    finally:
        signatures.compute_keys = plain
    for shard in named:
        for url, found in shard:
            if url in gone:
                assert gone[url][0] == "url"
                fell.append(found)
    return fell


def test_containment_is_of_the_shorter_text() -> None:
    rng = random.Random(2)
    whole = text(rng, 800)
    made = {part: np.unique(minhash.shingles(part, 5)) for part in (whole, whole[100:300], whole[:300] + text(rng, 100))}
    sets = list(made.values())
    assert is_capture(sets[0], sets[1]) and is_capture(sets[1], sets[0])
    assert not is_capture(sets[0], sets[2])
    empty = np.empty(0, np.uint64)
    assert is_capture(empty, empty) and not is_capture(empty, sets[0])
