"""How far a run has come; every checkpoint stores it. Imports nothing heavy."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.reading_order import IterationRanges

_JSON_NAMES = {"discarded": "undone"}  # attribute -> key in checkpoint.json


@dataclass(frozen=True)
class Position:
    """How far a run has come."""

    iteration: int = 0
    samples: int = 0
    skipped: int = 0  # iterations that the guard skipped: they changed no weight
    skipped_in_row: int = 0
    rewinds: int = 0  # how often the run returned to the weights of a checkpoint
    discarded: IterationRanges = ()  # iterations that left no trace in the weights: skipped, or undone by a rewind
    recent: tuple[float, ...] = ()  # losses of the last iterations that were not skipped, for the guard against spikes

    def __post_init__(self) -> None:
        """Turn the lists that JSON has into tuples."""
        object.__setattr__(self, "discarded", tuple((first, last) for first, last in self.discarded))
        object.__setattr__(self, "recent", tuple(self.recent))

    def as_json(self) -> dict[str, Any]:
        """The form that checkpoint.json stores."""
        return {_JSON_NAMES.get(name, name): value for name, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "Position":
        """The inverse of `as_json`.

        Raises: TypeError if a field is unknown.
        """
        attributes = {key: name for name, key in _JSON_NAMES.items()}
        return cls(**{attributes.get(key, key): value for key, value in row.items()})


def add_range(ranges: IterationRanges, first: int, last: int) -> IterationRanges:
    """Return `ranges` with the iterations `first` to `last` added; ranges that touch are joined."""
    joined: list[tuple[int, int]] = []
    for begin, end in sorted((*ranges, (first, last))):
        if joined and begin <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((begin, end))
    return tuple(joined)
