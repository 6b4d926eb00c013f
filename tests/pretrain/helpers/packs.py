"""Packed data made straight from token lists, without corpus, tokenizer or Ray."""

import hashlib
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pretrain.pack.indexed import COUNTS, token_dtype, write_index

EOS = 2


def doc_id(source: str, number: int) -> str:
    return hashlib.sha256(f"{source} {number}".encode()).hexdigest()[:32]


def write_pack(
    folder: Path, sources: Mapping[str, Sequence[Sequence[int]]], *, vocab_size: int = 64, valid: int = 1, eos: int | None = EOS
) -> Path:
    """A pack artifact's data folder: EOS appended to each document, the last `valid` of each source held out."""
    dtype = token_dtype(vocab_size)
    for source, documents in sources.items():
        ended = [[*tokens, *([] if eos is None else [eos])] for tokens in documents]
        cut = len(ended) - valid
        for split, rows, first in (("train", ended[:cut], 0), ("valid", ended[cut:], cut)):
            prefix = folder / source / split
            prefix.parent.mkdir(parents=True, exist_ok=True)
            prefix.with_suffix(".bin").write_bytes(b"".join(np.array(tokens, dtype).tobytes() for tokens in rows))
            lengths = np.array([len(tokens) for tokens in rows], np.int32)
            write_index(prefix.with_suffix(".idx"), lengths, dtype)
            if split == "train":
                np.save(prefix.with_name(COUNTS), np.bincount([token for tokens in rows for token in tokens]))
            ids = [doc_id(source, first + number) for number in range(len(rows))]
            table = {"doc_id": ids, "tokens": lengths, "bytes": np.array([3 * n for n in lengths], np.int64)}
            pq.write_table(pa.table(table), prefix.with_suffix(".parquet"))
    return folder


def random_documents(seed: int, documents: int, longest: int, vocab_size: int = 64) -> list[list[int]]:
    """Documents of 1 to `longest` tokens, none of them a control token."""
    rng = random.Random(seed)
    return [[rng.randrange(8, vocab_size) for _ in range(rng.randint(1, longest))] for _ in range(documents)]


def marked_pack(folder: Path, lengths: Mapping[str, Sequence[int]]) -> tuple[Path, dict[int, tuple[str, str, int]]]:
    """Packed data in which no token stands twice, and token -> (source, doc_id, offset): a reader leaves no doubt what it read.

    One more document of each source, of one token, is held out.
    """
    owners: dict[int, tuple[str, str, int]] = {}
    sources = {}
    for source, sizes in lengths.items():
        documents = []
        for number, size in enumerate([*sizes, 1]):
            first = len(owners)
            owners |= {first + offset: (source, doc_id(source, number), offset) for offset in range(size)}
            documents.append(range(first, first + size))
        sources[source] = documents
    return write_pack(folder, sources, vocab_size=1 << 20, eos=None), owners
