"""`pretrain.order` against what the batches really contained, in both directions.

In the packed data of these tests no token occurs twice, so that a recorded batch shows by itself from which document and
which offset each of its tokens came, without `order`.
"""

import dataclasses
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import BadInput, CorruptArtifact, MissingInput
from pipeline.reading_order import Order
from pretrain.batches import BatchSchedule
from pretrain.order.save import Blend, SourceIndices, document_begins, save_order, sort_by_doc_id
from pretrain.train.data import DataSettings, build_datasets, train_batches
from tests.pretrain.helpers.packs import doc_id, marked_pack
from tests.pretrain.helpers.ranks import alone, run_ranks
from tests.pretrain.helpers.truth import Owners, check_documents, check_iterations, in_blend_order

# Two sources, more than three epochs of each, documents from a third of a sample to several samples.
LENGTHS = {"a": [random.Random(n).randint(1, 60) for n in range(30)], "b": [random.Random(n).randint(1, 9) for n in range(40)]}
SETTINGS = DataSettings(seq_length=16, iterations=24, batch_schedule=BatchSchedule(12), seed=7, weights={"a": 0.8, "b": 0.2})
RAMP = BatchSchedule(24, start=12, step=12, samples=100)  # nine iterations of 12 samples, then 24


def consume(pack: Path, plan: DataSettings, cache: Path, order: Path, micro: int, resume_at: int) -> list[list[list[int]]]:
    """The rows (token lists) that this rank reads in each iteration; stopped after `resume_at` iterations and resumed."""
    datasets = build_datasets(pack, plan, eos_id=2, cache=cache)
    if dist.get_rank() == 0:
        datasets.save_order(order)
    place = {"micro_batch_size": micro, "rank": dist.get_rank(), "world": dist.get_world_size()}
    consumed, rows = 0, []
    for first, last in ((0, resume_at), (resume_at, plan.iterations)):
        batches = train_batches(datasets, consumed, **place)
        for _ in range(first, last):
            size = plan.batch_schedule.size_at(consumed)
            rows.append(
                [row for _ in range(size // (micro * dist.get_world_size())) for row in next(batches)["tokens"].tolist()]
            )
            consumed += size
    assert next(batches, None) is None  # the data ends with the last iteration
    return rows


def record(tmp_path: Path, plan: DataSettings, world: int, micro: int) -> tuple[Path, Path, Owners, list[list[list[int]]]]:
    """Run `world` ranks; what each iteration read, its rows in the order of the blend."""
    pack, owners = marked_pack(tmp_path / "pack", LENGTHS)
    results = run_ranks(world, consume, pack, plan, tmp_path / "cache", tmp_path / "order", micro, plan.iterations // 2)
    iterations = [in_blend_order(ranks, micro) for ranks in zip(*results, strict=True)]
    return pack, tmp_path / "order", owners, iterations


@pytest.mark.parametrize(
    ("world", "micro", "batches"),
    [(1, 4, SETTINGS.batch_schedule), (2, 3, RAMP), (3, 2, SETTINGS.batch_schedule), (3, 4, RAMP), (4, 1, RAMP)],
)
def test_order_matches_the_recorded_batches(tmp_path: Path, world: int, micro: int, batches: BatchSchedule) -> None:
    pack, folder, owners, recorded = record(tmp_path, dataclasses.replace(SETTINGS, batch_schedule=batches), world, micro)
    order = Order.open(folder, pack)
    assert order.total == SETTINGS.iterations and order.sources == ("a", "b")
    assert [len(rows) for rows in recorded] == np.diff(batches.consumed(order.total)).tolist()
    check_documents(order, owners, recorded)
    check_iterations(order, owners, recorded)
    for source, lengths in LENGTHS.items():  # the test is about more than three epochs
        read = sum(owners[token][0] == source for rows in recorded for row in rows for token in row)
        assert read > 3 * sum(lengths)


def test_order_of_one_source(tmp_path: Path) -> None:
    pack, owners = marked_pack(tmp_path / "pack", {"a": LENGTHS["a"]})
    plan = DataSettings(seq_length=16, iterations=20, batch_schedule=BatchSchedule(4), seed=7)
    with alone():
        recorded = consume(pack, plan, tmp_path / "cache", tmp_path / "order", 2, 3)
    order = Order.open(tmp_path / "order", pack)
    check_documents(order, owners, recorded)
    check_iterations(order, owners, recorded)


@settings(max_examples=25)
@given(
    lengths=st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=12), min_size=1, max_size=3),
    shares=st.lists(st.floats(0.01, 1), min_size=3, max_size=3),
    seq_length=st.integers(2, 24),
    iterations=st.integers(1, 12),
    batch=st.integers(1, 6),
    seed=st.integers(0, 2**31),
)
def test_order_of_any_shape(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[list[int]], shares: list[float], seq_length: int, iterations: int,
    batch: int, seed: int,
) -> None:  # fmt: skip
    folder = tmp_path_factory.mktemp("shape")
    by_source = {f"s{number}": sizes for number, sizes in enumerate(lengths)}
    pack, owners = marked_pack(folder / "pack", by_source)
    weights = dict(zip(by_source, shares, strict=False))
    plan = DataSettings(seq_length, iterations, BatchSchedule(batch), seed, weights)
    with alone():
        recorded = consume(pack, plan, folder / "cache", folder / "order", 1, iterations // 2)
    order = Order.open(folder / "order", pack)
    check_documents(order, owners, recorded)
    check_iterations(order, owners, recorded)
    shutil.rmtree(folder)


@given(
    documents=st.integers(1, 9), epochs=st.integers(1, 7), seed=st.integers(0, 99), longest=st.sampled_from([1, 9, 2**31 - 1])
)  # fmt: skip
def test_document_begins_are_all_occurrences_ascending(documents: int, epochs: int, seed: int, longest: int) -> None:
    rng = np.random.default_rng(seed)
    index = rng.permutation(np.repeat(np.arange(documents, dtype=np.int32), epochs))
    lengths = rng.integers(1, longest, documents, dtype=np.int32, endpoint=True)
    expected: list[list[int]] = [[] for _ in range(documents)]
    position = 0
    for document in index.tolist():
        expected[document].append(position)
        position += int(lengths[document])
    assert document_begins(index, lengths).tolist() == expected


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(order folder, pack folder) of a short run."""
    folder = tmp_path_factory.mktemp("saved")
    pack, _ = marked_pack(folder / "pack", LENGTHS)
    with alone():
        build_datasets(pack, SETTINGS, eos_id=2, cache=folder / "cache").save_order(folder / "order")
    return folder / "order", pack


def test_held_out_and_unknown_documents_were_never_read(saved: tuple[Path, Path]) -> None:
    order = Order.open(*saved)
    held_out = doc_id("a", len(LENGTHS["a"]))
    for source, document in (("a", held_out), ("a", "0" * 32), ("a", "f" * 32), ("a", "no hex"), ("no source", held_out)):
        assert order.iterations(source, document) == () and not order.was_read(source, document)
    with pytest.raises(IndexError, match=r"not in 1\.\.24"):
        order.documents(0)
    with pytest.raises(IndexError, match=r"not in 1\.\.24"):
        order.documents(25)
    with pytest.raises(ValueError, match="negative"):
        order.iterations("a", doc_id("a", 0), -1)


def test_a_source_without_weight_is_never_read(tmp_path: Path) -> None:
    pack, _ = marked_pack(tmp_path / "pack", LENGTHS)
    plan = DataSettings(16, 4, BatchSchedule(4), 7, {"a": 1.0, "b": 0.0})
    with alone():
        build_datasets(pack, plan, eos_id=2, cache=tmp_path / "cache").save_order(tmp_path / "order")
    order = Order.open(tmp_path / "order", pack)
    assert order.sources == ("a",)
    assert not any(order.was_read("b", doc_id("b", number)) for number in range(len(LENGTHS["b"])))


def test_saving_again_gives_the_same_bytes(saved: tuple[Path, Path], tmp_path: Path) -> None:
    folder, pack = saved
    moved = shutil.copytree(pack, tmp_path / "elsewhere")  # the path of the data makes no difference
    with alone():
        datasets = build_datasets(moved, SETTINGS, eos_id=2, cache=tmp_path / "cache")
        datasets.save_order(tmp_path / "order")
        datasets.save_order(tmp_path / "order")
    files = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(tmp_path / "order") for p in (tmp_path / "order").rglob("*") if p.is_file())
    assert all((folder / name).read_bytes() == (tmp_path / "order" / name).read_bytes() for name in files)


def test_an_existing_order_is_written_again_only_if_it_differs_or_is_damaged(saved: tuple[Path, Path], tmp_path: Path) -> None:
    folder, pack = shutil.copytree(saved[0], tmp_path / "order"), saved[1]
    whole = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    def save(plan: DataSettings) -> bool:
        before = (folder / "order.json").stat().st_ino
        with alone():
            build_datasets(pack, plan, eos_id=2, cache=tmp_path / "cache").save_order(folder)
        return (folder / "order.json").stat().st_ino != before

    assert not save(SETTINGS)
    for damage in (change_a_byte, cut_an_array, lose_an_array, break_the_json, change_the_format):
        damage(folder)
        assert save(SETTINGS)
        assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == whole
    for change in ({"seed": 8}, {"iterations": 23}, {"weights": {"a": 0.5, "b": 0.5}}, {"batch_schedule": RAMP}):
        assert save(dataclasses.replace(SETTINGS, **change))  # each change differs from the one before
    assert save(SETTINGS) and not save(SETTINGS)


def test_samples_of_another_kind_are_refused(tmp_path: Path) -> None:
    pack, _ = marked_pack(tmp_path / "pack", {"a": [5, 7]})
    starts = np.array([[0, 0], [0, 4], [1, 4]])  # the second begins at 4, the third at 9
    source = SourceIndices("a", np.arange(2, dtype=np.int32), starts, np.arange(2), np.array([5, 7], np.int32))
    blend = Blend([source], np.zeros(2, np.int16), np.arange(2), np.array([0, 2]), 4)
    with pytest.raises(BadInput, match="not 4 consecutive tokens each"):
        save_order(tmp_path / "order", blend, pack)
    assert not (tmp_path / "order").exists()


def test_discarded_iterations_are_known(saved: tuple[Path, Path]) -> None:
    plain, order = Order.open(*saved), Order.open(*saved, discarded=((3, 5), (9, 9)))
    assert [i for i in range(1, order.total + 1) if order.is_discarded(i)] == [3, 4, 5, 9]
    assert not any(plain.is_discarded(i) for i in range(1, order.total + 1))
    span = order.documents(4)[0]  # what it read is still known
    assert 4 in order.iterations(span.source, span.doc_id) and order.was_read(span.source, span.doc_id)


def test_the_sources_of_a_document(saved: tuple[Path, Path]) -> None:
    order = Order.open(*saved)
    assert order.sources_of(doc_id("a", 0)) == ("a",) and order.sources_of(doc_id("b", 1)) == ("b",)
    assert order.sources_of(doc_id("a", len(LENGTHS["a"]))) == ()


@given(heads=st.lists(st.integers(0, 2), min_size=1, max_size=40), seed=st.integers(0, 99))
def test_documents_are_sorted_where_halves_of_hashes_are_equal(heads: list[int], seed: int) -> None:
    ids = np.random.default_rng(seed).integers(0, 256, (len(heads), 16)).astype(np.uint8)
    ids[:, :8] = np.array(heads, np.uint8)[:, None]  # in real data the first halves of doc_ids almost never collide
    ordered = [ids[number].tobytes() for number in sort_by_doc_id(ids, "a")]
    assert ordered == sorted(row.tobytes() for row in ids)


def change_a_byte(folder: Path) -> None:
    path = folder / "a" / "place.npy"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def cut_an_array(folder: Path) -> None:
    path = folder / "b" / "sample_index.npy"
    path.write_bytes(path.read_bytes()[:-8])


def lose_an_array(folder: Path) -> None:
    (folder / "consumed.npy").unlink()


def break_the_json(folder: Path) -> None:
    (folder / "order.json").write_text("{")


def change_the_format(folder: Path) -> None:
    about = json.loads((folder / "order.json").read_text())
    (folder / "order.json").write_text(json.dumps(about | {"format": 99}))


@pytest.mark.parametrize("damage", [change_a_byte, cut_an_array, lose_an_array, break_the_json, change_the_format])
def test_a_damaged_order_is_refused(saved: tuple[Path, Path], tmp_path: Path, damage: Any) -> None:
    folder = shutil.copytree(saved[0], tmp_path / "order")
    damage(folder)
    with pytest.raises(CorruptArtifact, match="saved data order is damaged"):
        Order.open(folder, saved[1])


def test_large_arrays_are_checked_by_shape(saved: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.reading_order.HASH_ON_OPEN_BYTES", 0)
    folder = shutil.copytree(saved[0], tmp_path / "order")
    np.save(folder / "a" / "place.npy", np.load(folder / "a" / "place.npy")[:-1])
    with pytest.raises(CorruptArtifact, match="do not fit together"):
        Order.open(folder, saved[1])


def test_another_pack_is_refused(saved: tuple[Path, Path], tmp_path: Path) -> None:
    other, _ = marked_pack(tmp_path / "pack", {"a": [n + 1 for n in LENGTHS["a"]], "b": LENGTHS["b"]})
    with pytest.raises(CorruptArtifact, match="not the packed data that training read"):
        Order.open(saved[0], other)
    with pytest.raises(MissingInput, match="no saved data order"):
        Order.open(tmp_path / "nowhere", saved[1])


def test_a_duplicate_doc_id_is_refused(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    pack, _ = marked_pack(tmp_path / "pack", {"a": [5, 5]})
    path = pack / "a" / "train.parquet"
    table = pq.read_table(path)
    pq.write_table(table.take([0, 0]), path)
    with alone():
        datasets = build_datasets(pack, DataSettings(4, 1, BatchSchedule(1), 0), eos_id=2, cache=tmp_path / "cache")
        with pytest.raises(BadInput, match=doc_id("a", 0)):
            datasets.save_order(tmp_path / "order")


def test_order_needs_no_torch(saved: tuple[Path, Path]) -> None:
    code = (
        "import sys; from pathlib import Path; from pipeline.reading_order import Order;"
        f"Order.open(Path({str(saved[0])!r}), Path({str(saved[1])!r})).documents(1);"
        "print([m for m in ('torch', 'megatron', 'sentencepiece', 'ray') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
