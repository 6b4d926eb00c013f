"""The data of one training run: Megatron's shuffled blend for training, each source's held-out documents for validation.

The order of the training data depends on the seed, sequence length, weights and the number of samples, and on nothing
else: not on data-parallel or micro-batch sizes, nor on where a run was resumed. `pretrain.order` reads it back.
Imports torch and megatron.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from megatron.core.datasets.blended_dataset import BlendedDataset
from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig
from megatron.core.datasets.indexed_dataset import IndexedDataset
from megatron.core.datasets.utils import Split, normalize
from torch.utils.data import DataLoader, Sampler

from pipeline.errors import BadInput, ConfigError, MissingInput
from pipeline.files import atomic_path, digest_json
from pretrain.batches import BatchSchedule
from pretrain.order.save import Blend, SourceIndices, save_order
from pretrain.pack.indexed import COUNTS, open_indexed
from pretrain.settings import PretrainSettings

BATCH_KEYS = ("tokens", "labels", "loss_mask", "position_ids")


@dataclass(frozen=True)
class DataSettings:
    """What decides the order of the data."""

    seq_length: int  # inputs a sample, in tokens
    iterations: int
    batch_schedule: BatchSchedule  # samples an iteration
    seed: int
    weights: Mapping[str, float] = dataclasses.field(default_factory=dict)  # by source; empty: by their tokens
    valid_tokens: int = 0  # a source: whole held-out documents up to this many tokens, at least one; 0: all
    reset_position_ids: bool = False  # positions start anew with each document (learned positions need it, RoPE does not)

    @property
    def samples(self) -> int:
        """Training samples of the whole run."""
        return int(self.batch_schedule.consumed(self.iterations)[-1])


def data_settings(settings: PretrainSettings) -> DataSettings:
    """What of the settings decides the order of the data."""
    return DataSettings(
        seq_length=settings.seq_length,
        iterations=settings.iterations,
        batch_schedule=settings.batch_schedule,
        seed=settings.seed,
        weights=settings.weights,
        valid_tokens=settings.valid_tokens,
        reset_position_ids=settings.model.architecture == "gpt2" and not settings.across_documents,
    )


class ValidRows:
    """A source's held-out documents as rows, once, in order: every token is a label exactly once.

    Row r has as inputs the S tokens before its labels, stream[r*S - 1 : r*S - 1 + S], the first row beginning with
    `</s>`: each document, the first too, follows an end of document as in training. The last row is filled up with
    `</s>` under loss mask 0.
    """

    def __init__(self, folder: Path, settings: DataSettings, eos_id: int) -> None:
        chosen, sizes = _select_held_out(folder / "valid.parquet", settings.valid_tokens)
        indexed = open_indexed(folder / "valid")
        self.source, self.documents, self.bytes = folder.name, len(chosen), int(sizes.sum())
        self.labels = np.concatenate([indexed.document(number) for number in chosen]).astype(np.int64)
        self.tokens = len(self.labels)
        self._length = settings.seq_length
        self._eos_id, self._reset = eos_id, settings.reset_position_ids

    def __len__(self) -> int:
        """Rows that have any label."""
        return math.ceil(self.tokens / self._length)

    def row(self, number: int) -> dict[str, torch.Tensor]:
        """Row `number`: tensors of (seq_length,); at and beyond `len` all of it is masked."""
        part = slice(number * self._length, (number + 1) * self._length)
        tokens, labels = (np.full(self._length, self._eos_id) for _ in range(2))
        real = len(self.labels[part])
        labels[:real] = self.labels[part]
        tokens[1:real] = labels[: max(real - 1, 0)]
        if number and real:
            tokens[0] = self.labels[part.start - 1]
        mask = (np.arange(self._length) < real).astype(np.float32)
        positions = _positions(tokens, self._eos_id) if self._reset else np.arange(self._length)
        return dict(zip(BATCH_KEYS, map(torch.from_numpy, (tokens, labels, mask, positions)), strict=True))


@dataclass(frozen=True)
class Datasets:
    """What `build_datasets` makes."""

    settings: DataSettings
    pack_data: Path
    sources: tuple[str, ...]  # trained on, as numbered in the blend
    train: BlendedDataset | GPTDataset  # GPTDataset where there is one source; it may be longer than `samples`
    valid: dict[str, ValidRows]
    order_digest: str  # digest of what decides the order, beside the packed data

    @property
    def samples(self) -> int:
        """Training samples of the whole run."""
        return self.settings.samples

    def save_order(self, folder: Path) -> None:
        """Write what `pipeline.reading_order.Order.open` reads, where it does not be there already; call it on one rank."""
        parts: list[Any]
        if isinstance(self.train, BlendedDataset):
            parts, source_of, sample_of = list(self.train.datasets), self.train.dataset_index, self.train.dataset_sample_index
        else:
            parts, source_of, sample_of = [self.train], np.zeros(self.samples, np.int16), np.arange(self.samples)
        sources = [
            SourceIndices(name, d.document_index, d.sample_index, d.shuffle_index, d.dataset.sequence_lengths)
            for name, d in zip(self.sources, parts, strict=True)
        ]
        plan = self.settings
        blend = Blend(sources, source_of, sample_of, plan.batch_schedule.consumed(plan.iterations), plan.seq_length)
        made_from = [self.order_digest, plan.iterations, dataclasses.asdict(plan.batch_schedule)]
        save_order(folder, blend, self.pack_data, made_from=made_from)


def build_datasets(pack_data: Path, settings: DataSettings, *, eos_id: int, cache: Path) -> Datasets:
    """Build the training blend and the validation rows; every rank calls it, torch.distributed initialised.

    Args:
        pack_data: the data folder of a pack artifact.
        eos_id: the token that ends each document.
        cache: where Megatron's indices are kept for this run; rank 0 builds them, whole or not at all.
    Raises: ConfigError if the weights do not name the packed sources.
    """
    tokens = {p.parent.name: len(open_indexed(p.with_suffix("")).tokens) for p in sorted(pack_data.glob("*/train.idx"))}
    weights = _resolve_weights(settings.weights, tokens)
    order_digest = digest_json(
        [weights, tokens, settings.samples, settings.seq_length, settings.seed, settings.reset_position_ids, eos_id]
    )
    folder = cache / order_digest[7:23]
    if torch.distributed.get_rank() == 0 and not folder.exists():
        with atomic_path(folder) as fresh:
            _build_blend(pack_data, settings, weights, eos_id, fresh)
    torch.distributed.barrier()
    return Datasets(
        settings=settings,
        pack_data=pack_data,
        sources=tuple(weights),
        train=_build_blend(pack_data, settings, weights, eos_id, folder),
        valid={name: ValidRows(pack_data / name, settings, eos_id) for name in tokens},
        order_digest=order_digest,
    )


def train_batches(
    datasets: Datasets, consumed: int, *, micro_batch_size: int, rank: int, world: int, workers: int = 0
) -> Iterator[dict[str, torch.Tensor]]:
    """This data-parallel rank's micro-batches, from sample `consumed` to the end of the run.

    Args:
        rank, world: of the data-parallel group.
        workers: processes that read ahead; 0: this one reads.
    Yields: BATCH_KEYS -> (micro_batch_size, seq_length).
    Raises: ValueError if the samples left do not fill every rank's micro-batches.
    """
    sampler = RankSampler(consumed, datasets.samples, micro_batch_size, rank, world)
    pin = torch.cuda.is_available()
    return iter(DataLoader(datasets.train, batch_sampler=sampler, num_workers=workers, collate_fn=_collate, pin_memory=pin))


class RankSampler(Sampler[list[int]]):
    """Micro-step m of rank r takes samples consumed + (m * world + r) * micro_batch_size + [0, micro_batch_size).

    So a batch's samples on, all ranks together have taken the next samples of that number, whatever
    `world` and `micro_batch_size` are: the order that Megatron-LM's `--dataloader-type single` has.
    """

    def __init__(self, consumed: int, samples: int, micro_batch_size: int, rank: int, world: int) -> None:
        together = micro_batch_size * world
        if not 0 <= consumed <= samples or (samples - consumed) % together:
            raise ValueError(f"{samples} samples, {consumed} of them consumed, do not divide into steps of {together}")
        self._firsts = range(consumed + rank * micro_batch_size, samples, together)
        self._size = micro_batch_size

    def __iter__(self) -> Iterator[list[int]]:
        return (list(range(first, first + self._size)) for first in self._firsts)

    def __len__(self) -> int:
        return len(self._firsts)


def valid_steps(rows: ValidRows, *, micro_batch_size: int, world: int, group: int = 1) -> int:
    """Micro-batches that every rank gets of `valid_batches`, a multiple of `group`."""
    return math.ceil(len(rows) / (micro_batch_size * world * group)) * group


def valid_batches(
    rows: ValidRows, *, micro_batch_size: int, rank: int, world: int, group: int = 1
) -> Iterator[dict[str, torch.Tensor]]:
    """This rank's share of the rows, filled up with masked ones so that every rank gets as many micro-batches."""
    for step in range(valid_steps(rows, micro_batch_size=micro_batch_size, world=world, group=group)):
        first = (step * world + rank) * micro_batch_size
        yield _collate([rows.row(number) for number in range(first, first + micro_batch_size)])


def load_token_counts(pack_data: Path, vocab_size: int) -> np.ndarray:
    """(vocab_size,) int64: how often each token is in the training data, for the unigram baseline; packing counted them.

    Raises: BadInput if a token is none of the vocabulary; MissingInput if the tokens were not counted.
    """
    counts = np.zeros(vocab_size, np.int64)
    for index in sorted(pack_data.glob("*/train.idx")):
        path = index.with_name(COUNTS)
        if not path.exists():
            raise MissingInput(f"{path}: the tokens were packed by an older version; `make clean-pack` and pack again")
        found = np.trim_zeros(np.load(path, allow_pickle=False), "b")
        if len(found) > vocab_size:
            raise BadInput(f"{index}: token {len(found) - 1}, but the tokenizer has only {vocab_size}; pack again with it")
        counts[: len(found)] += found
    return counts


class _EndOfDocument:
    """All that GPTDataset asks of a tokenizer."""

    vocab_size = None

    def __init__(self, eos_id: int) -> None:
        self.eod, self.unique_identifiers = eos_id, {"eod": eos_id}


def _build_blend(
    pack_data: Path, settings: DataSettings, weights: Mapping[str, float], eos_id: int, cache: Path
) -> BlendedDataset | GPTDataset:
    """Megatron's datasets, their indices in `cache`."""
    tokenizer: Any = _EndOfDocument(eos_id)
    config = GPTDatasetConfig(
        random_seed=settings.seed,
        sequence_length=settings.seq_length,
        blend_per_split=[(list(weights), None), None, None],  # unused here, but None would mean made-up data
        tokenizer=tokenizer,
        reset_position_ids=settings.reset_position_ids,
        reset_attention_mask=False,
        eod_mask_loss=False,
        create_attention_mask=False,
        path_to_cache=str(cache),
    )
    shares = normalize(list(weights.values()))
    parts = []
    for name, share in zip(weights, shares, strict=True):
        indexed = IndexedDataset(str(pack_data / name / "train"))
        documents = np.arange(len(indexed), dtype=np.int32)
        # The blend takes from the source furthest behind, so none gets more than share * (samples - 1) + 1.
        most = settings.samples if len(weights) == 1 else math.ceil(share * settings.samples) + 1
        parts.append(GPTDataset(indexed, f"{name}/train", documents, most, Split.train, config))
    return parts[0] if len(parts) == 1 else BlendedDataset(parts, shares, settings.samples, config)


def _resolve_weights(given: Mapping[str, float], tokens: Mapping[str, int]) -> dict[str, float]:
    """Weights by source, in name order, without those left out of training (weight 0)."""
    if odd := sorted(given.keys() - tokens.keys()):
        raise ConfigError(f"[pretrain.weights] names {odd}, which are not packed; the packed sources are {sorted(tokens)}")
    if given and (odd := sorted(tokens.keys() - given.keys())):
        raise ConfigError(f"[pretrain.weights] has no weight for {odd}; give each source one, 0 leaves it out of training")
    if any(not (math.isfinite(w) and w >= 0) for w in given.values()) or (given and not any(given.values())):
        raise ConfigError(f"[pretrain.weights] {dict(given)}: weights must be >= 0 and one of them above")
    return {name: float((given or tokens)[name]) for name in sorted(tokens) if (given or tokens)[name]}


def _select_held_out(table: Path, limit: int) -> tuple[list[int], np.ndarray]:
    """Sequence numbers of the documents to score, ascending, and their bytes.

    With a limit: those of the lowest doc_ids, which are hashes, so that the sample is fair.
    """
    import pyarrow.parquet as pq

    rows = pq.read_table(table)
    lengths, sizes = rows["tokens"].to_numpy(), rows["bytes"].to_numpy()
    by_id = sorted(range(len(lengths)), key=rows["doc_id"].to_pylist().__getitem__)
    fitting = int(np.searchsorted(np.cumsum(lengths[by_id], dtype=np.int64), limit, side="right")) if limit else len(by_id)
    chosen = sorted(by_id[: max(fitting, 1)])
    return chosen, sizes[chosen]


def _positions(tokens: np.ndarray, eos_id: int) -> np.ndarray:
    """Positions that start anew after each end of document, as GPTDataset counts them."""
    places = np.arange(len(tokens))
    starts = np.where(np.concatenate([[False], tokens[:-1] == eos_id]), places, 0)
    return places - np.maximum.accumulate(starts)


def _collate(rows: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {key: torch.stack([row[key] for row in rows]) for key in BATCH_KEYS}
