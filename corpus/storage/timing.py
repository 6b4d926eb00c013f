"""Where a task's time went; seconds go to receipts and events.jsonl, never into an artifact's data or digest."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class Phases:
    """Seconds by name, added up over all passes through a phase."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Count the time inside towards a phase."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] += time.perf_counter() - began

    def seconds(self) -> dict[str, float]:
        """Phase -> seconds, to the millisecond."""
        return {name: round(seconds, 3) for name, seconds in self._seconds.items()}
