"""`pretrain.order` against what the batches really held, and against a naive simulation; both directions.

In the packed data of these tests no token stands twice, so that a recorded batch tells by itself which document and
which place each of its tokens came from; nothing of `order` is needed to know it.
"""

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
from pretrain.batches import Batches
from pretrain.data import DataSettings, build_datasets, train_batches
from pretrain.order import Order, _occurrences
from tests.pretrain.packs import doc_id, marked_pack
from tests.pretrain.ranks import alone, run_ranks
from tests.pretrain.truth import Owners, check_documents, check_iterations, in_blend_order

# Two sources, more than two epochs of each, documents from a third of a sample to several samples.
LENGTHS = {"a": [random.Random(n).randint(1, 60) for n in range(30)], "b": [random.Random(n).randint(1, 9) for n in range(40)]}
SETTINGS = DataSettings(seq_length=16, iterations=16, batches=Batches(12), seed=7, weights={"a": 0.8, "b": 0.2})


def consume(pack: Path, plan: DataSettings, cache: Path, order: Path, micro: int, resume_at: int) -> list[list[list[int]]]:
    """Iterations' micro-batch rows (token lists) of this rank; stopped after `resume_at` iterations and begun anew."""
    datasets = build_datasets(pack, plan, eos_id=2, cache=cache)
    if dist.get_rank() == 0:
        datasets.save_order(order)
    steps = plan.batches.size // (micro * dist.get_world_size())
    place = {"micro_batch_size": micro, "rank": dist.get_rank(), "world": dist.get_world_size()}
    rows = []
    for first, last in ((0, resume_at), (resume_at, plan.iterations)):
        batches = train_batches(datasets, first * plan.batches.size, **place)
        for _ in range(first, last):
            rows.append([row for _ in range(steps) for row in next(batches)["tokens"].tolist()])
    assert next(batches, None) is None  # the data ends with the last iteration
    return rows


def record(tmp_path: Path, plan: DataSettings, world: int, micro: int) -> tuple[Path, Path, Owners, list[list[list[int]]]]:
    """Run `world` ranks; what each iteration read, its rows in the order of the blend."""
    pack, owners = marked_pack(tmp_path / "pack", LENGTHS)
    results = run_ranks(world, consume, pack, plan, tmp_path / "cache", tmp_path / "order", micro, plan.iterations // 2)
    iterations = [in_blend_order(ranks, micro) for ranks in zip(*results, strict=True)]
    return pack, tmp_path / "order", owners, iterations


@pytest.mark.parametrize(("world", "micro"), [(1, 4), (2, 3), (3, 2)])
def test_order_tells_what_the_batches_held(tmp_path: Path, world: int, micro: int) -> None:
    pack, folder, owners, recorded = record(tmp_path, SETTINGS, world, micro)
    order = Order.open(folder, pack)
    assert order.total == SETTINGS.iterations and order.sources == ("a", "b")
    check_documents(order, owners, recorded)
    check_iterations(order, owners, recorded)
    for source, lengths in LENGTHS.items():  # the test is about more than two epochs
        read = sum(owners[token][0] == source for rows in recorded for row in rows for token in row)
        assert read > 2 * sum(lengths)


def test_order_of_one_source(tmp_path: Path) -> None:
    pack, owners = marked_pack(tmp_path / "pack", {"a": LENGTHS["a"]})
    plan = DataSettings(seq_length=16, iterations=20, batches=Batches(4), seed=7)
    with alone():
        recorded = consume(pack, plan, tmp_path / "cache", tmp_path / "order", 2, 3)
    order = Order.open(tmp_path / "order", pack)
    check_documents(order, owners, recorded)
    check_iterations(order, owners, recorded)


@settings(max_examples=25, deadline=None)
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
    plan = DataSettings(seq_length, iterations, Batches(batch), seed, weights)
    with alone():
        recorded = consume(pack, plan, folder / "cache", folder / "order", 1, iterations // 2)
    order = Order.open(folder / "order", pack)
    check_documents(order, owners, recorded)
    check_iterations(order, owners, recorded)
    shutil.rmtree(folder)


@settings(deadline=None)
@given(documents=st.integers(1, 9), epochs=st.integers(1, 7), seed=st.integers(0, 99))
def test_occurrences_are_every_place_of_each_document_ascending(documents: int, epochs: int, seed: int) -> None:
    index = np.random.default_rng(seed).permutation(np.repeat(np.arange(documents, dtype=np.int32), epochs))
    table = _occurrences(index, documents)
    assert table.tolist() == [np.flatnonzero(index == document).tolist() for document in range(documents)]


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
        assert order.iterations(source, document) == () and not order.read(source, document)
    with pytest.raises(IndexError, match=r"not in 1\.\.16"):
        order.documents(0)
    with pytest.raises(IndexError, match=r"not in 1\.\.16"):
        order.documents(17)
    with pytest.raises(ValueError, match="negative"):
        order.iterations("a", doc_id("a", 0), -1)


def test_a_source_without_weight_is_never_read(tmp_path: Path) -> None:
    pack, _ = marked_pack(tmp_path / "pack", LENGTHS)
    plan = DataSettings(16, 4, Batches(4), 7, {"a": 1.0, "b": 0.0})
    with alone():
        build_datasets(pack, plan, eos_id=2, cache=tmp_path / "cache").save_order(tmp_path / "order")
    order = Order.open(tmp_path / "order", pack)
    assert order.sources == ("a",)
    assert not any(order.read("b", doc_id("b", number)) for number in range(len(LENGTHS["b"])))


def test_saving_again_gives_the_same_bytes(saved: tuple[Path, Path], tmp_path: Path) -> None:
    folder, pack = saved
    moved = shutil.copytree(pack, tmp_path / "elsewhere")  # where the data lies decides nothing
    with alone():
        datasets = build_datasets(moved, SETTINGS, eos_id=2, cache=tmp_path / "cache")
        datasets.save_order(tmp_path / "order")
        datasets.save_order(tmp_path / "order")
    files = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(tmp_path / "order") for p in (tmp_path / "order").rglob("*") if p.is_file())
    assert all((folder / name).read_bytes() == (tmp_path / "order" / name).read_bytes() for name in files)


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
    monkeypatch.setattr("pretrain.order.HASH_ON_OPEN_BYTES", 0)
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


def test_a_doc_id_that_stands_twice_is_refused(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    pack, _ = marked_pack(tmp_path / "pack", {"a": [5, 5]})
    path = pack / "a" / "train.parquet"
    table = pq.read_table(path)
    pq.write_table(table.take([0, 0]), path)
    with alone():
        datasets = build_datasets(pack, DataSettings(4, 1, Batches(1), 0), eos_id=2, cache=tmp_path / "cache")
        with pytest.raises(BadInput, match=doc_id("a", 0)):
            datasets.save_order(tmp_path / "order")


def test_order_needs_no_torch(saved: tuple[Path, Path]) -> None:
    code = (
        "import sys; from pathlib import Path; from pretrain.order import Order;"
        f"Order.open(Path({str(saved[0])!r}), Path({str(saved[1])!r})).documents(1);"
        "print([m for m in ('torch', 'megatron', 'sentencepiece', 'ray') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
