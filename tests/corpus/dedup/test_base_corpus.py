"""A corpus grown from a base against brute force over all pairs; what is linked, what is refused."""

import hashlib
import itertools
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.dedup import passes, signatures
from corpus.dedup.base_corpus import BaseCorpus, matches, renumber
from corpus.dedup.base_join import WithBase
from corpus.dedup.settings import DedupSettings
from corpus.increment.settings import BaseSettings
from corpus.storage.judged import Judged, KeptWriter, doc_ids
from corpus.storage.references import BASE, split_base
from pipeline.artifact import Manifest, begin_artifact
from pipeline.errors import ConfigError
from pipeline.text import minhash
from tests.helpers import run_file

ALPHABET = "あいうえおかきくけこさしすせそ日本語漢字文章、。"
# 32 × 2 misses a pair of J = .8 once in 10^14: what is found equals what brute force finds.
SETTINGS = DedupSettings(bands=32, rows=2)
Page = tuple[str, str]  # url, text


def doc_id(page: Page) -> str:
    return hashlib.sha256("\0".join(page).encode()).hexdigest()[:32]


def best(pages: Sequence[Page]) -> Page:
    """The content rule: the longest text, then the least doc_id."""
    return min(pages, key=lambda page: (-len(page[1]), doc_id(page)))


def families(seed: int, count: int = 150) -> list[Page]:
    """Texts with edits from none to a third, some under one URL, some URLs over other texts."""
    rng, pages = random.Random(seed), []
    while len(pages) < count:
        text = "".join(rng.choice(ALPHABET) for _ in range(rng.randint(4, 300)))
        first = len(pages)
        for share in (0.0, *rng.choices((0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.3), k=rng.randint(0, 5))):
            copy = "".join(rng.choice(ALPHABET) if rng.random() < share else c for c in text)
            number = rng.choice((len(pages), len(pages), first, rng.randrange(count)))
            pages.append((f"https://a.example/{number}", copy + "。" * (rng.random() < share)))
        if rng.random() < 0.4:  # an earlier, shorter capture
            pages.append((f"https://a.example/{first}", text[: rng.randint(len(text) // 2, len(text))]))
    rng.shuffle(pages)
    return list(dict.fromkeys(pages))


def write_kept(folder: Path, pages: Sequence[Page], settings: DedupSettings) -> None:
    folder.mkdir(parents=True)
    texts = [text for _, text in pages]
    keys = signatures.compute_keys([("s", url) for url, _ in pages], texts, settings)
    writer = KeptWriter(folder, len(keys))
    writer.add(range(len(pages)), texts, [doc_id(page) for page in pages], keys)
    writer.close()


def write_base(root: Path, shards: Sequence[Sequence[Page]], settings: DedupSettings = SETTINGS) -> Manifest:
    """The parts of a sealed corpus that growing reads; row groups of three documents."""
    for index, pages in enumerate(shards):
        name = f"s-{index:05}"
        write_kept(root / "data" / "keys" / name, pages, settings)
        for scratch_only in ("texts.bin", "ends.npy", "kept.npy"):
            (root / "data" / "keys" / name / scratch_only).unlink()
        rows = [{"doc_id": doc_id(page), "source": "s", "url": page[0], "text": page[1]} for page in pages]
        schema = pa.schema([(column, pa.string()) for column in ("doc_id", "source", "url", "text")])
        (root / "data" / "documents").mkdir(exist_ok=True)
        path = root / "data" / "documents" / f"{name}.parquet"
        pq.write_table(pa.Table.from_pylist(rows, schema), path, row_group_size=3)
    dedup_settings = {"shingle": settings.shingle, "bands": settings.bands, "rows": settings.rows}
    return Manifest(root, {"made": {"settings": {"dedup": dedup_settings}}})


def remove(
    tmp_path: Path, shards: Sequence[Sequence[Page]], base: BaseCorpus | None
) -> tuple[list[Page], dict[Page, tuple[str, str]], dict[str, Any]]:
    """Run the passes. Returns: pages that stay, page that fell -> (reason, doc_id of the kept representative), counts."""
    run = run_file(tmp_path, "", name=f"r{len(list(tmp_path.iterdir()))}")
    with begin_artifact(run, "corpus", SETTINGS, {}, recipe=1) as artifact:
        judged = Judged(artifact.work / "judged", tuple(f"t-{index:05}" for index in range(len(shards))))
        for name, pages in zip(judged.names, shards, strict=True):
            write_kept(judged.root / name, pages, SETTINGS)
        grown = WithBase(judged, base) if base else None
        counts = passes.remove_copies(artifact, judged, sum(map(len, shards)), SETTINGS, grown)
        stay, fell = [], {}
        for index, pages in enumerate(shards):
            reasons, survivors = passes.duplicates_of_shard(artifact.work, index, len(pages))
            for page, code, survivor in zip(pages, reasons.tolist(), survivors.tolist(), strict=True):
                if not code:
                    stay.append(page)
                else:
                    some = np.array([survivor], np.uint64)
                    name = doc_ids(grown.ranks(some)[1])[0] if grown else ""
                    assert bool(survivor & BASE) <= bool(base)
                    fell[page] = (passes.REASONS[code], name)
        return stay, fell, counts


def is_capture(one: Page, other: Page) -> bool:
    """Whether two pages have one URL, and one text is in the other but for 5 % of its shingles."""
    sets = [{text[i : i + 5] for i in range(max(len(text) - 4, 1))} for _, text in (one, other)]
    return one[0] == other[0] and len(sets[0] & sets[1]) >= 0.95 * min(map(len, sets))


def brute_force(held: Sequence[Page], new: Sequence[Page]) -> tuple[set[Page], dict[Page, tuple[str, set[str]]]]:
    """Who stays of `new`; who falls, why, and which kept representatives are right."""
    fell: dict[Page, tuple[str, set[str]]] = {}
    for reason, is_copy in (("url", is_capture), ("exact", lambda one, other: one[1] == other[1])):
        fell |= {
            page: (reason, {doc_id(best(same))})
            for page in new
            if page not in fell and (same := [other for other in held if is_copy(page, other)])
        }
        pages: list[Page] = []  # the best of each, in the order of the content rule
        for page in sorted((page for page in new if page not in fell), key=lambda page: (-len(page[1]), doc_id(page))):
            if survivor := next((other for other in pages if is_copy(page, other)), None):
                fell[page] = reason, {doc_id(survivor)}
            else:
                pages.append(page)
    nodes = [*held, *(page for page in new if page not in fell)]
    sets = [np.unique(minhash.shingles(text, SETTINGS.shingle)) for _, text in nodes]
    home = list(range(len(nodes)))
    for one, other in itertools.combinations(range(len(nodes)), 2):
        if other >= len(held) and minhash.jaccard(sets[one], sets[other]) >= SETTINGS.min_similarity:
            home = [home[one] if label == home[other] else label for label in home]
    for label in set(home):
        members = [index for index, its in enumerate(home) if its == label]
        of_base = [nodes[index] for index in members if index < len(held)]
        survivor = best(of_base or [nodes[index] for index in members])
        right = {doc_id(survivor)}
        fell |= {nodes[i]: ("near", right) for i in members if i >= len(held) and nodes[i] != survivor}
    return {page for page in new if page not in fell}, fell


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_growing_keeps_the_base_and_what_is_no_copy(seed: int, tmp_path: Path, ray_session: None) -> None:
    pages = families(seed)
    half = len(pages) // 2
    held, _, _ = remove(tmp_path, [pages[:half]], None)
    cut = len(held) // 3
    base = BaseCorpus.open(write_base(tmp_path / "base", [held[:cut], [], held[cut:]]), SETTINGS)
    new = pages[half:]
    stay, fell, counts = remove(tmp_path, [new[:7], new[7:]], base)
    should_stay, should_fall = brute_force(held, new)
    assert set(stay) == should_stay
    assert fell.keys() == should_fall.keys()
    for page, (reason, survivor) in fell.items():
        assert reason == should_fall[page][0]
        assert survivor in should_fall[page][1]
    names = {doc_id(page) for page in held}
    assert counts["of_base"] == sum(survivor in names for _, survivor in fell.values()) > 10
    assert {reason for reason, _ in fell.values()} == {"url", "exact", "near"}


def test_crowded_bucket_meets_documents_of_like_size() -> None:
    base_sizes = np.arange(100, 1100, 10)
    references = np.arange(100, dtype=np.uint64) | np.uint64(BASE)
    base = np.full(100, 7, np.uint64), references
    new = np.array([3, 7, 7], np.uint64), np.array([0, 1, 2], np.uint64)
    pairs = matches(new, base, 4, lambda some: base_sizes[(some & np.uint64(0xFF)).astype(int)], lambda some: 200 * some + 100)
    met = {one: [split_base(base)[1] for base, new in pairs.tolist() if new == one] for one in (0, 1, 2)}
    assert met == {0: [], 1: [18, 19, 20, 21], 2: [38, 39, 40, 41]}
    few = matches(new, (base[0][:2], references[:2]), 4, lambda _: base_sizes, lambda _: base_sizes)
    assert [(split_base(one)[1], two) for one, two in few.tolist()] == [(0, 1), (0, 2), (1, 1), (1, 2)]


def test_lookup_finds_what_is_there_whichever_side_is_longer(tmp_path: Path) -> None:
    pages = families(5, 60)
    base = BaseCorpus.open(write_base(tmp_path, [pages[:40], pages[40:]]), SETTINGS)
    all_keys = signatures.compute_keys([("s", url) for url, _ in pages], [text for _, text in pages], SETTINGS)
    rng = np.random.default_rng(0)
    for kind, row in enumerate(all_keys):
        for wanted in (row[:3], row, rng.integers(0, 1 << 64, 50, np.uint64), row[:0]):
            expected = sorted(
                (key, BASE | (0 if at < 40 else 1) << 32 | (at if at < 40 else at - 40))
                for at, key in enumerate(row.tolist())
                if key in set(wanted.tolist())
            )
            keys, references = base.lookup(kind, np.unique(wanted))
            assert list(zip(keys.tolist(), references.tolist(), strict=True)) == expected


def test_texts_come_from_their_row_group(tmp_path: Path) -> None:
    pages = families(6, 20)
    base = BaseCorpus.open(write_base(tmp_path, [[], pages]), SETTINGS)
    for row in (0, 2, 3, len(pages) - 1):
        assert base.text(BASE | 1 << 32 | row) == pages[row][1]


def test_keys_that_do_not_compare_are_refused(tmp_path: Path) -> None:
    pages = families(7, 20)
    other = write_base(tmp_path / "other", [pages], DedupSettings(bands=32, rows=3))
    with pytest.raises(ConfigError, match=r"rows = 2, but the base .* was made with rows = 3"):
        BaseCorpus.open(other, SETTINGS)
    claimed = Manifest(other.root, {"made": {"settings": {"dedup": {"shingle": 5, "bands": 32, "rows": 2}}}})
    with pytest.raises(ConfigError, match="computed by another version"):
        BaseCorpus.open(claimed, SETTINGS)
    with pytest.raises(ConfigError, match="no keys to extend it by"):
        BaseCorpus.open(Manifest(tmp_path, claimed.body), SETTINGS)


def test_new_shards_are_counted_on() -> None:
    named = renumber(["a_b-00000", "a_b-00001", "new-00000"], ["a_b-00000", "a_b-00007", "old-00002"])
    assert named == {"a_b-00000": "a_b-00008", "a_b-00001": "a_b-00009", "new-00000": "new-00000"}


@pytest.mark.parametrize(
    ("run", "remove", "words"),
    [("", ("doc:00",), "set run"), ("a", ("dok:00",), "is none of doc:"), ("a", ("url: ",), "none of")],
)
def test_what_settings_refuse(run: str, remove: tuple[str, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        BaseSettings(run, remove)
