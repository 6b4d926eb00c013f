"""Arrays of an index on disk: written small, opened by mmap."""

from pathlib import Path

import numpy as np

from pipeline.errors import CorruptArtifact


def compact(numbers: np.ndarray) -> np.ndarray:
    """The same integers in four bytes each, where they fit."""
    return numbers.astype(np.uint32 if not len(numbers) or int(numbers.max()) < 1 << 32 else np.int64)


def load(path: Path) -> np.ndarray:
    """An array that `np.save` wrote, by mmap.

    Raises: CorruptArtifact if it is missing or not an array.
    """
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False).view(np.ndarray)
    except (OSError, ValueError, EOFError) as error:
        raise CorruptArtifact(f"{path}: not a readable array ({error}); make the index again") from error
