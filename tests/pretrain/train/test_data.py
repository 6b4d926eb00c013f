"""The run's data: weights, cache, sampler, validation rows; what each is supposed to be, computed another way."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ConfigError, MissingInput
from pretrain.batches import BatchSchedule
from pretrain.pack.indexed import open_indexed
from pretrain.train import data
from pretrain.train.data import (
    DataSettings,
    RankSampler,
    ValidRows,
    build_datasets,
    load_token_counts,
    train_batches,
    valid_batches,
)
from tests.pretrain.helpers.packs import EOS, marked_pack, random_documents, write_pack
from tests.pretrain.helpers.ranks import alone


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 3), st.integers(1, 6), st.integers(0, 6))
def test_an_iteration_takes_the_next_samples_whatever_the_ranks(
    world: int, micro: int, steps: int, iterations: int, done: int
) -> None:
    batch, done = world * micro * steps, min(done, iterations)
    samplers = [RankSampler(done * batch, iterations * batch, micro, rank, world) for rank in range(world)]
    taken = [list(sampler) for sampler in samplers]
    assert [len(s) for s in samplers] == [len(t) for t in taken] == [(iterations - done) * steps] * world
    for iteration in range(done, iterations):
        first = (iteration - done) * steps
        rows = [sample for rank in taken for part in rank[first : first + steps] for sample in part]
        assert sorted(rows) == list(range(iteration * batch, (iteration + 1) * batch))


@pytest.mark.parametrize(("consumed", "samples", "together"), [(0, 10, 4), (3, 11, 3), (12, 10, 1), (-2, 10, 1)])
def test_samples_that_do_not_divide_are_refused(consumed: int, samples: int, together: int) -> None:
    with pytest.raises(ValueError, match="do not divide"):
        RankSampler(consumed, samples, together, 0, 1)


def test_weights_decide_the_shares_and_tokens_are_the_default(tmp_path: Path) -> None:
    pack, owners = marked_pack(tmp_path / "pack", {"a": [30] * 20, "b": [10] * 20})
    for weights, share in (({}, 0.75), ({"a": 1, "b": 4}, 0.2), ({"a": 0.5, "b": 0.5}, 0.5)):
        with alone():
            datasets = build_datasets(
                pack, DataSettings(8, 20, BatchSchedule(5), 0, weights), eos_id=EOS, cache=tmp_path / "cache"
            )
            batches = list(train_batches(datasets, 0, micro_batch_size=5, rank=0, world=1))
        sources = Counter(owners[int(row[0])][0] for batch in batches for row in batch["tokens"])
        assert len(batches) == 20 and sources.total() == 100
        assert abs(sources["a"] - 100 * share) <= 1


def test_a_natural_epoch_reads_nearly_every_token_once(tmp_path: Path) -> None:
    pack, _ = marked_pack(tmp_path / "pack", {"a": [37] * 40, "b": [11] * 50})
    samples = (37 * 40 + 11 * 50) // 8
    with alone():
        datasets = build_datasets(pack, DataSettings(8, samples, BatchSchedule(1), 3), eos_id=EOS, cache=tmp_path / "cache")
        batches = list(train_batches(datasets, 0, micro_batch_size=1, rank=0, world=1))
    times = Counter(token for batch in batches for token in batch["tokens"].flatten().tolist())
    assert sum(times.values()) == samples * 8
    assert sum(count > 1 for count in times.values()) <= 2 * 8  # at most the samples that the blend rounds


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"a": 1.0, "b": 1.0, "x": 1.0}, r"names \['x'\], which are not packed"),
        ({"a": 1.0}, r"no weight for \['b'\]"),
        ({"a": -1.0, "b": 1.0}, "must be >= 0"),
        ({"a": float("nan"), "b": 1.0}, "must be >= 0"),
        ({"a": 0.0, "b": 0.0}, "one of them above"),
    ],
)
def test_bad_weights_are_refused(tmp_path: Path, weights: dict[str, float], message: str) -> None:
    pack, _ = marked_pack(tmp_path / "pack", {"a": [5], "b": [5]})
    with pytest.raises(ConfigError, match=message):
        build_datasets(pack, DataSettings(4, 1, BatchSchedule(1), 0, weights), eos_id=EOS, cache=tmp_path / "cache")


def test_a_build_that_was_killed_leaves_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack, _ = marked_pack(tmp_path / "pack", {"a": [30] * 20, "b": [10] * 20})
    plan, cache = DataSettings(8, 10, BatchSchedule(4), 0), tmp_path / "cache"
    with alone():
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(data, "BlendedDataset", interrupted)
            build_datasets(pack, plan, eos_id=EOS, cache=cache)
        assert list(cache.iterdir()) == []
        first = tokens_of(build_datasets(pack, plan, eos_id=EOS, cache=cache))
        made = {p: p.stat().st_mtime_ns for p in cache.rglob("*") if p.is_file()}
        assert tokens_of(build_datasets(pack, plan, eos_id=EOS, cache=cache)) == first
        assert {p: p.stat().st_mtime_ns for p in cache.rglob("*") if p.is_file()} == made
        other = DataSettings(8, 10, BatchSchedule(4), seed=1)  # another seed never meets the cache of this one
        assert tokens_of(build_datasets(pack, other, eos_id=EOS, cache=cache)) != first
    assert not list((tmp_path / "pack").rglob("cache")), "Megatron wrote into the packed data"


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def tokens_of(datasets: data.Datasets) -> list[list[int]]:
    batches = train_batches(datasets, 0, micro_batch_size=1, rank=0, world=1)
    return [row for batch in batches for row in batch["tokens"].tolist()]


def test_labels_are_the_next_tokens_and_readers_ahead_change_nothing(tmp_path: Path) -> None:
    pack = write_pack(tmp_path / "pack", {"a": random_documents(0, 50, 20), "b": random_documents(1, 50, 20)})
    with alone():
        datasets = build_datasets(pack, DataSettings(16, 8, BatchSchedule(4), 0), eos_id=EOS, cache=tmp_path / "cache")
    here, ahead = ([*train_batches(datasets, 8, micro_batch_size=2, rank=1, world=2, workers=n)] for n in (0, 1))
    assert len(here) == len(ahead) == 6
    for one, other in zip(here, ahead, strict=True):
        assert all(torch.equal(one[key], other[key]) for key in data.BATCH_KEYS)
        assert torch.equal(one["tokens"][:, 1:], one["labels"][:, :-1])
        assert one["tokens"].shape == (2, 16) and one["loss_mask"].dtype == torch.float32 and bool(one["loss_mask"].all())
        assert torch.equal(one["position_ids"], torch.arange(16).expand(2, -1))


@settings(max_examples=30)
@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=10),
    seq_length=st.integers(2, 16),
    micro=st.integers(1, 3),
    world=st.integers(1, 3),
)
def test_validation_scores_each_held_out_token_once(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], seq_length: int, micro: int, world: int
) -> None:
    documents = [[8 + (n + at) % 50 for at in range(size)] for n, size in enumerate(lengths)]
    folder = write_pack(tmp_path_factory.mktemp("v"), {"a": [[9], *documents]}, valid=len(documents))
    rows = ValidRows(folder / "a", DataSettings(seq_length, 1, BatchSchedule(1), 0), EOS)
    stream = [token for tokens in documents for token in [*tokens, EOS]]
    assert rows.documents == len(documents) and rows.tokens == len(stream) and rows.bytes == 3 * len(stream)
    assert rows.labels.tolist() == stream
    ranks = [list(valid_batches(rows, micro_batch_size=micro, rank=rank, world=world)) for rank in range(world)]
    assert len({len(batches) for batches in ranks}) == 1
    inputs, labels = [], []
    for step in zip(*ranks, strict=True):
        for batch in step:
            keep = batch["loss_mask"].bool()
            inputs += batch["tokens"][keep].tolist()
            labels += batch["labels"][keep].tolist()
    assert labels == stream
    assert inputs == [EOS, *stream[:-1]]


def test_a_limit_takes_whole_documents_and_at_least_one(tmp_path: Path) -> None:
    pack = write_pack(tmp_path / "pack", {"a": [[9]] + [[8 + n] * (3 * n) for n in range(1, 9)]}, valid=8)
    everything = ValidRows(pack / "a", DataSettings(8, 1, BatchSchedule(1), 0), EOS)
    documents = {tuple(open_indexed(pack / "a" / "valid").document(n).tolist()) for n in range(8)}
    for limit in range(1, everything.tokens + 2):
        rows = ValidRows(pack / "a", DataSettings(8, 1, BatchSchedule(1), 0, valid_tokens=limit), EOS)
        assert rows.documents >= 1 and (rows.tokens <= limit or rows.documents == 1)
        ends = np.flatnonzero(rows.labels == EOS) + 1
        taken = [tuple(part.tolist()) for part in np.split(rows.labels, ends)[:-1]]
        assert len(taken) == rows.documents and set(taken) <= documents and rows.bytes == 3 * rows.tokens
    assert (
        ValidRows(pack / "a", DataSettings(8, 1, BatchSchedule(1), 0, valid_tokens=everything.tokens), EOS).tokens
        == everything.tokens
    )


def test_positions_start_anew_with_each_document_as_megatron_counts_them(tmp_path: Path) -> None:
    pack = write_pack(tmp_path / "pack", {"a": random_documents(0, 60, 9)}, valid=30)
    plan = DataSettings(16, 8, BatchSchedule(4), 0, reset_position_ids=True)
    with alone():
        datasets = build_datasets(pack, plan, eos_id=EOS, cache=tmp_path / "cache")
    for batch in train_batches(datasets, 0, micro_batch_size=4, rank=0, world=1):
        for tokens, positions in zip(batch["tokens"].numpy(), batch["position_ids"].tolist(), strict=True):
            assert data._positions(tokens, EOS).tolist() == positions


def test_counts_of_the_training_data(tmp_path: Path) -> None:
    documents = {"a": random_documents(0, 20, 30), "b": random_documents(1, 20, 30)}
    pack = write_pack(tmp_path / "pack", documents, valid=2)
    counts = Counter(token for rows in documents.values() for tokens in rows[:-2] for token in [*tokens, EOS])
    assert load_token_counts(pack, 64).tolist() == [counts[token] for token in range(64)]
    (pack / "b" / "counts.npy").unlink()
    with pytest.raises(MissingInput, match="packed by an older version"):
        load_token_counts(pack, 64)
