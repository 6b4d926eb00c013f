"""How far a run has come; part of every checkpoint. Imports nothing heavy."""

from dataclasses import dataclass

Ranges = tuple[tuple[int, int], ...]  # iterations (first, last), both of them in, ascending and apart


@dataclass(frozen=True)
class Position:
    """How far a run has come."""

    iteration: int = 0
    samples: int = 0
    skipped: int = 0  # iterations that the guard let change no weight
    skipped_in_row: int = 0
    rewinds: int = 0  # times the run went back to a checkpoint's weights
    undone: Ranges = ()  # iterations that left nothing in the weights: skipped, or rewound past
    recent: tuple[float, ...] = ()  # losses of the last iterations that were not skipped, for the guard against spikes

    def __post_init__(self) -> None:
        """JSON has lists only."""
        object.__setattr__(self, "undone", tuple((first, last) for first, last in self.undone))
        object.__setattr__(self, "recent", tuple(self.recent))


def with_range(ranges: Ranges, first: int, last: int) -> Ranges:
    """`ranges` and the iterations `first` to `last`, joined where they touch."""
    joined: list[tuple[int, int]] = []
    for begin, end in sorted((*ranges, (first, last))):
        if joined and begin <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((begin, end))
    return tuple(joined)
