"""References: a document among all shards as one 64-bit number, shard index << 32 | index in the shard."""

import numpy as np

# Set in the reference of a document of the base: base shard << 32 | row of its documents file.
BASE = 1 << 63


def split(reference: int) -> tuple[int, int]:
    """Shard index and ordinal of a reference."""
    return int(reference) >> 32, int(reference) & 0xFFFFFFFF


def split_base(reference: int) -> tuple[int, int]:
    """Base shard and row of a base document's reference."""
    return (int(reference) & ~BASE) >> 32, int(reference) & 0xFFFFFFFF


def is_base(references: np.ndarray) -> np.ndarray:
    """Which references name documents of the base: (N,) bool."""
    return references >= np.uint64(BASE)
