"""Megatron's indexed dataset: a `.bin` of tokens end to end and an `.idx` that says where each document stands.

Byte for byte what `megatron.core.datasets.indexed_dataset.IndexedDatasetBuilder` writes (checked by a test), without torch.

    .idx = b"MMIDIDX\\0\\0" | version u64 = 1 | dtype code u8 | sequences u64 | documents + 1 u64
           | length of each sequence i32 | byte offset of each sequence i64 | first sequence of each document i64, and the end
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import CorruptArtifact
from pipeline.files import atomic_file

MAGIC = b"MMIDIDX\x00\x00"
HEADER = struct.Struct("<9sQBQQ")
# DType in megatron.core.datasets.indexed_dataset.
CODES = {4: np.dtype(np.int32), 8: np.dtype(np.uint16)}
# Beside a source's `train.bin`: how often each token is in it, (vocabulary,) int64.
COUNTS = "counts.npy"
# DType.optimal_dtype there: below this vocabulary size a token fits two bytes.
UINT16_BELOW = 65500


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """The type in which Megatron stores tokens of such a vocabulary: uint16 or int32."""
    return np.dtype(np.uint16 if vocab_size < UINT16_BELOW else np.int32)


def write_index(path: Path, lengths: np.ndarray, dtype: np.dtype[Any]) -> None:
    """Write the `.idx` beside a `.bin` in which every document is one sequence.

    Args:
        lengths: (documents,) tokens of each document.
        dtype: type of the tokens in the `.bin`.
    """
    code = next(code for code, known in CODES.items() if known == dtype)
    count = len(lengths)
    offsets = np.zeros(count, np.int64)
    np.cumsum(lengths[:-1] * np.int64(dtype.itemsize), out=offsets[1:])
    with atomic_file(path) as file:
        file.write(HEADER.pack(MAGIC, 1, code, count, count + 1))
        for array in (lengths.astype("<i4"), offsets.astype("<i8"), np.arange(count + 1, dtype="<i8")):
            file.write(array.tobytes())


@dataclass(frozen=True)
class Indexed:
    """An indexed dataset, opened by mmap."""

    tokens: np.ndarray  # (all tokens,) uint16 or int32
    lengths: np.ndarray  # (documents,) int32
    begins: np.ndarray  # (documents,) int64: where each document begins, in tokens

    def document(self, number: int) -> np.ndarray:
        """Tokens of one document, its `</s>` included."""
        begin = int(self.begins[number])
        return self.tokens[begin : begin + int(self.lengths[number])]


def open_indexed(prefix: Path) -> Indexed:
    """Open `<prefix>.bin` and `<prefix>.idx`, each document one sequence.

    Raises: CorruptArtifact if they are not what `write_index` writes, or do not belong together.
    """
    idx = prefix.with_suffix(".idx")
    try:
        return _read(idx, prefix.with_suffix(".bin"))
    except (OSError, ValueError, KeyError, struct.error) as error:
        raise CorruptArtifact(f"{idx}: not a Megatron index of the tokens beside it: {error}") from error


def _read(idx: Path, binary: Path) -> Indexed:
    raw = np.memmap(idx, np.uint8, "r")
    magic, version, code, count, ends = HEADER.unpack(raw[: HEADER.size].tobytes())
    dtype = CODES[code]
    if (magic, version, ends) != (MAGIC, 1, count + 1) or len(raw) != HEADER.size + count * 20 + 8:
        raise ValueError(f"magic {magic!r}, version {version}, {count} sequences in {len(raw)} bytes")
    lengths = np.frombuffer(raw, "<i4", count, HEADER.size)
    offsets = np.frombuffer(raw, "<i8", count, HEADER.size + 4 * count)
    tokens = np.memmap(binary, dtype, "r")
    if count and int(offsets[-1]) + int(lengths[-1]) * dtype.itemsize != tokens.nbytes:
        raise ValueError(f"its last sequence does not end where {binary.name} ends ({tokens.nbytes} bytes)")
    return Indexed(tokens, lengths, offsets // dtype.itemsize)
