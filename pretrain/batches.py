"""How many samples each iteration takes; pure arithmetic, the same for training, its schedule and its order."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class BatchSchedule:
    """Batches of `size`, or growing to it: `start`, then `step` more each time that an equal part of `samples` is read.

    The rule of Megatron-LM's --rampup-batch-size: with n = (size - start) / step increments, the batch is
    start + step * floor(read * n / samples) while fewer than `samples` are read, and `size` from then on.
    """

    size: int
    start: int = 0
    step: int = 0
    samples: int = 0

    def __post_init__(self) -> None:
        given = (self.start, self.step, self.samples)
        if any(given) and min(given) < 1:
            raise ValueError(f"start = {self.start}, step = {self.step}, samples = {self.samples}: give all three, or none")
        if self.start > self.size or (self.step and (self.size - self.start) % self.step):
            raise ValueError(f"start = {self.start} plus a multiple of step = {self.step} must reach the batch of {self.size}")

    def size_at(self, read: int) -> int:
        """The batch of the iteration that begins when `read` samples have been read."""
        if read >= self.samples:
            return self.size
        return self.start + self.step * (read * ((self.size - self.start) // self.step) // self.samples)

    def consumed(self, iterations: int) -> np.ndarray:
        """Samples read after 0, 1, 2, … iterations, (iterations + 1,) int64."""
        growing = [0]
        while growing[-1] < self.samples and len(growing) <= iterations:
            growing.append(growing[-1] + self.size_at(growing[-1]))
        rest = growing[-1] + self.size * np.arange(1, iterations + 2 - len(growing), dtype=np.int64)
        return np.concatenate([np.array(growing, np.int64), rest])
