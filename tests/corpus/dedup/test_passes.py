"""Copies found by keys, bands and files against brute force over all pairs; content alone decides who stays."""

import hashlib
import itertools
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from corpus.dedup import pairs, passes, signatures
from corpus.dedup.settings import DedupSettings
from corpus.storage import arrays
from corpus.storage.judged import Judged, KeptWriter
from corpus.storage.references import split
from pipeline.artifact import begin_artifact
from pipeline.text import clusters, minhash
from tests.helpers import run_file

ALPHABET = "あいうえおかきくけこさしすせそ日本語漢字文章、。"
SETTINGS = DedupSettings()
Page = tuple[str, str]  # url, text


def doc_id(page: Page) -> str:
    return hashlib.sha256("\0".join(page).encode()).hexdigest()[:32]


def drop(tmp_path: Path, shards: Sequence[Sequence[Page]], settings: DedupSettings = SETTINGS) -> dict[str, tuple[str, str]]:
    """Run all passes over documents in these shards: url of who fell -> (reason, url of the kept representative)."""
    run = run_file(tmp_path, "", name=f"r{len(list(tmp_path.iterdir()))}")
    with begin_artifact(run, "corpus", settings, {}, recipe=1) as artifact:
        names = tuple(f"s-{index:05}" for index in range(len(shards)))
        judged = Judged(artifact.work / "judged", names)
        for name, pages in zip(names, shards, strict=True):
            (judged.root / name).mkdir(parents=True)
            texts = [text for _, text in pages]
            keys = signatures.compute_keys([("s", url) for url, _ in pages], texts, settings)
            writer = KeptWriter(judged.root / name, len(keys))
            writer.add(range(len(pages)), texts, [doc_id(page) for page in pages], keys)
            writer.close()
        passes.remove_copies(artifact, judged, sum(map(len, shards)), settings)
        found = {}
        for index, pages in enumerate(shards):
            reasons, survivors = passes.duplicates_of_shard(artifact.work, index, len(pages))
            for (url, _), reason, survivor in zip(pages, reasons.tolist(), survivors.tolist(), strict=True):
                if reason:
                    shard, place = split(survivor)
                    found[url] = (passes.REASONS[reason], shards[shard][place][0])
        return found


def corpus(count: int, seed: int) -> list[Page]:
    """Families of a text and its edits, from touched to rewritten."""
    rng, pages = random.Random(seed), []
    while len(pages) < count:
        text = "".join(rng.choice(ALPHABET) for _ in range(rng.randint(150, 500)))
        for share in (0.0, *rng.sample((0.0, 0.005, 0.01, 0.02, 0.04, 0.08, 0.3), rng.randint(0, 4))):
            copy = "".join(rng.choice(ALPHABET) if rng.random() < share else c for c in text)
            pages.append((f"https://a.example/{len(pages)}", copy + "。" * (share > 0)))
    rng.shuffle(pages)
    return pages[:count]


def components(count: int, edges: set[tuple[int, int]]) -> list[set[int]]:
    left, groups = set(range(count)), []
    while left:
        reached, edge = set(), {left.pop()}
        while edge:
            reached |= edge
            edge = {b for pair in edges if edge & set(pair) for b in pair} - reached
        left -= reached
        groups.append(reached)
    return groups


def test_against_brute_force(tmp_path: Path, ray_session: None) -> None:
    pages = corpus(240, seed=3)
    fell = drop(tmp_path, [pages[:100], pages[100:110], pages[110:]])
    sets = [np.unique(minhash.shingles(text, SETTINGS.shingle)) for _, text in pages]
    similar = {
        pair
        for pair in itertools.combinations(range(len(pages)), 2)
        if minhash.jaccard(sets[pair[0]], sets[pair[1]]) >= SETTINGS.min_similarity
    }
    groups = components(len(pages), similar)
    home = {pages[member][0]: number for number, group in enumerate(groups) for member in group}
    should_fall = len(pages) - len(groups)
    assert should_fall > 60, "the corpus made for this test holds too few copies"
    assert all(home[url] == home[survivor] for url, (_, survivor) in fell.items())  # precision 1: every pair is verified
    assert len(fell) >= 0.98 * should_fall  # 20 × 7 finds .991 of pairs at .8 and nearly all above
    assert {reason for reason, _ in fell.values()} == {"exact", "near"}


def test_order_of_input_and_shards_does_not_matter(tmp_path: Path, ray_session: None) -> None:
    pages = corpus(120, seed=4)
    first = drop(tmp_path, [pages[:60], pages[60:]])
    shuffled = random.Random(5).sample(pages, len(pages))
    assert drop(tmp_path, [shuffled[:7], shuffled[7:8], [], shuffled[8:]]) == first


def test_cutting_keys_finely_changes_nothing(tmp_path: Path, ray_session: None, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = corpus(60, seed=6)
    whole = drop(tmp_path, [pages])
    monkeypatch.setattr(passes, "KEYS_PER_TASK", 25)
    assert drop(tmp_path, [pages]) == whole


def test_small_pieces_change_nothing(tmp_path: Path, ray_session: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Joined and verified in this process with room for ten keys and seven pairs at a time."""
    pages = corpus(60, seed=6)
    whole = drop(tmp_path, [pages[:40], pages[40:]])
    for name, value in (("KEYS_IN_MEMORY", 10), ("PAIRS_IN_MEMORY", 7), ("_SETS_AT_HAND_BYTES", 10_000)):
        monkeypatch.setattr(pairs, name, value)
    monkeypatch.setattr(passes, "PAIRS_IN_MEMORY", 7)
    monkeypatch.setattr(arrays, "SORTED_AT_ONCE", 9)
    monkeypatch.setattr(passes, "map_shards", lambda task, shards, *_, **__: {name: task(s) for name, s in shards.items()})
    assert drop(tmp_path, [pages[:40], pages[40:]]) == whole


def test_crowded_bucket_falls_to_one(tmp_path: Path, ray_session: None) -> None:
    """300 pages of one template: linear work through the window, still one cluster."""
    rng = random.Random(7)
    template = "".join(rng.choice(ALPHABET) for _ in range(600))
    pages = [(f"https://a.example/{i}", f"{template}{i}") for i in range(300)]
    fell = drop(tmp_path, [pages[:150], pages[150:]], DedupSettings(window=2))
    assert len(fell) == 299
    assert len({survivor for _, survivor in fell.values()}) == 1


def test_passes_in_order_and_who_survives(tmp_path: Path, ray_session: None) -> None:
    rng = random.Random(8)
    one, two, three = ("".join(rng.choice(ALPHABET) for _ in range(300)) for _ in range(3))
    pages = [
        ("https://a.example/page", one),
        ("https://a.example/page", two + one),  # a longer capture of the same page stays
        ("https://a.example/copy", two + one),
        ("https://a.example/near", two + one[:-3]),
        ("https://a.example/of-the-fallen", one + "。"),  # near the capture that fell: nothing is left that it copies
        ("https://a.example/alone", three),
        ("short.html", "あいう"),
        ("twin.html", "あいう"),
        ("other.html", "かきく"),
    ]
    fell = drop(tmp_path, [pages])
    exact = sorted([pages[1], pages[2]], key=doc_id)
    twins = sorted([pages[6], pages[7]], key=doc_id)
    assert fell.pop("https://a.example/near") == ("near", exact[0][0])
    assert fell.pop(twins[1][0]) == ("exact", twins[0][0])
    if exact[1][0] == "https://a.example/copy":
        assert fell.pop("https://a.example/copy") == ("exact", "https://a.example/page")
        assert fell == {"https://a.example/page": ("url", "https://a.example/page")}
    else:  # both captures of the page fell, and `drop` names them by the same url
        assert fell == {"https://a.example/page": ("exact", "https://a.example/copy")}


def test_clusters_are_transitive_and_keep_the_least_rank() -> None:
    similar = np.array([[1, 2, 7], [2, 5, 9]], np.uint64)
    falls = clusters.find_clusters(similar, lambda groups, nodes: np.lexsort((~nodes, groups)))
    assert falls.tolist() == [[1, 2, 7], [5, 5, 9]]
    assert clusters.find_clusters(np.empty((2, 0), np.uint64), lambda groups, _: groups).shape == (2, 0)


def test_an_empty_corpus_has_no_copies(tmp_path: Path, ray_session: None) -> None:
    assert drop(tmp_path, [[]]) == {}
