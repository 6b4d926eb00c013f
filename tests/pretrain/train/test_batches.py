"""Batches that ramp up: against Megatron-LM's own calculator."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.batches import BatchSchedule


@settings(max_examples=60)
@given(start=st.integers(1, 6), step=st.integers(1, 5), steps=st.integers(1, 6), part=st.integers(1, 80))
def test_grow_as_megatron_s_do(start: int, step: int, steps: int, part: int) -> None:
    from megatron.core.num_microbatches_calculator import RampupBatchsizeNumMicroBatchesCalculator

    samples = steps * part  # whole increments: theirs divides in floating point
    size = start + steps * step
    ours = BatchSchedule(size, start, step, samples)
    theirs = RampupBatchsizeNumMicroBatchesCalculator(
        size, micro_batch_size=1, data_parallel_size=1, decrease_batch_size_if_needed=False, rank=1,
        start_global_batch_size=start, batch_size_increment=step, ramup_samples=samples,
    )  # fmt: skip
    read = [0]
    for _ in range(samples + 5):
        theirs.update(read[-1], consistency_check=False, verbose=False)
        size_now = theirs.current_global_batch_size
        assert size_now is not None and ours.size_at(read[-1]) == size_now
        read.append(read[-1] + size_now)
    assert ours.consumed(samples + 5).tolist() == read
    assert ours.consumed(2).tolist() == read[:3]


def test_without_ramp_up_all_are_alike() -> None:
    np.testing.assert_array_equal(BatchSchedule(7).consumed(4), [0, 7, 14, 21, 28])
    assert BatchSchedule(7).consumed(0).tolist() == [0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((8, 2, 0, 0), "give all three"), ((8, 3, 2, 10), "multiple of step"), ((8, 9, 1, 10), "must reach")],
)
def test_bad_ramps_are_refused(arguments: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BatchSchedule(*arguments)
