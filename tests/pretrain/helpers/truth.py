"""What was really read, compared with what `pretrain.order` says, in both directions.

The data comes from `marked_pack`: no token occurs twice, so that a recorded row shows by itself from which document and
which offset each of its tokens came, without `order`.
"""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.reading_order import Order

Owners = Mapping[int, tuple[str, str, int]]  # token -> source, doc_id, offset


def in_blend_order(ranks: Sequence[Sequence[list[int]]], micro: int) -> list[list[int]]:
    """Rows of one iteration: each rank's, micro-batch after micro-batch, as the blend numbers them."""
    steps = len(ranks[0]) // micro
    return [row for step in range(steps) for rows in ranks for row in rows[step * micro : (step + 1) * micro]]


def check_documents(order: Order, owners: Owners, recorded: Sequence[Sequence[Sequence[int]]]) -> None:
    """Forward: the inputs of each sample are the tokens of its spans; an iteration is its samples."""
    token_of = {place: token for token, place in owners.items()}
    sample = 0
    for iteration, rows in enumerate(recorded, 1):
        expected = []
        for row in rows:
            spans = order.sample(sample)
            assert [token_of[s.source, s.doc_id, at] for s in spans for at in range(s.begin, s.end)] == list(row)
            assert {s.iteration for s in spans} == {iteration}
            expected += spans
            sample += 1
        assert order.documents(iteration) == expected


def check_iterations(order: Order, owners: Owners, recorded: Sequence[Sequence[Sequence[int]]]) -> None:
    """Backward: every document, and every kind of range of it, was read in exactly the recorded iterations."""
    read: dict[tuple[str, str, int], set[int]] = defaultdict(set)
    for iteration, rows in enumerate(recorded, 1):
        for row in rows:
            for token in row:
                read[owners[token]].add(iteration)
    lengths: dict[tuple[str, str], int] = defaultdict(int)
    for source, document, _ in owners.values():
        lengths[source, document] += 1
    rng = random.Random(0)
    for (source, document), length in lengths.items():
        ends = sorted(rng.sample(range(length + 1), min(2, length + 1)))
        for begin, end in ((0, None), (0, 1), (length - 1, length), (ends[0], ends[-1]), (length, length + 5), (0, length + 5)):
            stop = length if end is None else min(end, length)
            expected = sorted(set().union(*(read[source, document, at] for at in range(begin, stop))))
            assert order.iterations(source, document, begin, end) == tuple(expected), (source, document, begin, end)
        assert order.was_read(source, document) == any(read[source, document, at] for at in range(length))
        tokens, epochs = order.samples(source, document)
        assert tokens == (length if epochs else 0)  # a held-out document has no epochs
        cut: dict[int, set[int]] = defaultdict(set)
        for begins, iterations in epochs:
            assert begins[0] == 0 and (np.diff(begins) > 0).all()
            for begin, end, iteration in zip(begins, [*begins[1:], length], iterations, strict=True):
                for at in range(begin, end):
                    cut[at] |= {int(iteration)} - {0}
        assert all(cut[at] == read[source, document, at] for at in range(length)) and len(cut) <= length
