"""The normalized view: text folded so that width, case, kana and kanji variants are equal, with a map back to the original.

`search.normalized.tables` says what is folded. Besides, ゝ and ゞ become the kana that they repeat if that is unvoiced
(こゝろ is こころ, たゞ is ただ; づゝ stays, since づつ would be a guess), and both characters are then found as one group.
々 and 〳〵 stay: what they repeat may be several characters. A query folds like the text; one that begins inside a group,
such as ゝろ or a lone voicing mark, finds only what the folded text has in that form.

It differs from `pipeline.text.fold` (duplicates, benchmark items), which also drops punctuation, spaces and ー, and keeps kanji
variants apart: that one compares documents, here each hit must map back to the text that is shown.

`fold_bytes` folds a shard. Its `OffsetMap` gives the bytes of the text that any folded bytes come from, as whole groups:
between two groups the offset is constant, so only groups whose size changed are kept. Files, about 2 bytes a
group:

    origins.events.npy    (P, 2) uint8: bytes up to the next group, then the number of its sizes; 0 where the gap goes on
    origins.marks.npy     (ceil(P / 64) + 1, 2) int64: bytes, folded and of the text, before every 64th event; then of all
    origins.sizes.npy     (at most 255, 2) int32: frequent sizes of a group: bytes folded and in the text; number 0 is (0, 0)
    origins.rare.npy      (R, 3) int64: number of each event with other sizes (code 255), ascending, and those sizes
"""

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import CorruptArtifact
from search.arrays import load

RULES = 1  # bump when a change of the kernels changes what a text folds to; `compute_rules_digest` covers the tables
EVENTS, MARKS, SIZES, RARE = FILES = tuple(f"origins.{name}.npy" for name in ("events", "marks", "sizes", "rare"))
# After a binary search over the marks a look-up reads at most this many events, 128 bytes.
MARK_EVERY = 64
MAX_GAP = 255
_RARE = 255
_BITS = 31  # a group is no longer than its document


@dataclass(frozen=True)
class OffsetMap:
    """Which bytes of a text its folded bytes come from."""

    events: np.ndarray  # (P, 2) uint8
    marks: np.ndarray  # (blocks + 1, 2) int64
    sizes: np.ndarray  # (at most _RARE, 2) int32
    rare: np.ndarray  # (R, 3) int64

    @property
    def folded_bytes(self) -> int:
        """Bytes of the folded text."""
        return int(self.marks[-1, 0])

    @property
    def text_bytes(self) -> int:
        """Bytes of the text."""
        return int(self.marks[-1, 1])

    def origins(self, begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """The bytes of the text that made folded bytes [begin, end), and no fewer than whole characters.

        Args:
            begins, ends: (n,) integers, 0 <= begin < end <= folded_bytes, where folded characters begin and end.
        Returns: (n, 2) int64, first byte and the one after the last.
        """
        from search.normalized.kernels import locate_origins

        origins = np.empty((len(begins), 2), np.int64)
        begins, ends = np.asarray(begins, np.int64), np.asarray(ends, np.int64)
        locate_origins(begins, ends, self.arrays, MARK_EVERY, origins)
        return origins

    def offsets(self, begins: np.ndarray) -> np.ndarray:
        """Where the groups that begin at bytes of the text are in the folded text; the inverse of `origins`.

        Args:
            begins: (n,) integers, 0 <= begin <= text_bytes. Inside a group they give where the group begins.
        Returns: (n,) int64.
        """
        from search.normalized.kernels import locate_folded

        offsets = np.empty(len(begins), np.int64)
        locate_folded(np.asarray(begins, np.int64), self.arrays, MARK_EVERY, offsets)
        return offsets

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The four arrays, in the order of FILES."""
        return self.events, self.marks, self.sizes, self.rare

    def save(self, folder: Path) -> None:
        """Write the four files."""
        for name, array in zip(FILES, self.arrays, strict=True):
            np.save(folder / name, array)

    @classmethod
    def open(cls, folder: Path, folded_bytes: int, text_bytes: int) -> "OffsetMap":
        """Open what `save` wrote, by mmap.

        Raises: CorruptArtifact if a file is missing or the files do not fit the sizes of the folded and of the original text.
        """
        events, marks, sizes, rare = (load(folder / name) for name in FILES)
        shapes = [array.shape[1:] for array in (events, marks, sizes, rare)]
        types = [array.dtype for array in (events, marks, sizes, rare)]
        if shapes != [(2,), (2,), (2,), (3,)] or types != [np.uint8, np.int64, np.int32, np.int64]:
            raise CorruptArtifact(f"{folder}: arrays {shapes} of {types} are not an offset map; make the index again")
        result = cls(events, marks, sizes, rare)
        if (
            len(marks) != _count_blocks(len(events)) + 1
            or not 0 < len(sizes) <= _RARE
            or (result.folded_bytes, result.text_bytes) != (folded_bytes, text_bytes)
        ):
            raise CorruptArtifact(
                f"{folder}: {len(events)} events, {len(marks)} marks and {len(sizes)} sizes of {result.folded_bytes} folded "
                f"bytes do not fit {folded_bytes} folded bytes of {text_bytes}; make the index again"
            )
        return result


@functools.cache
def compute_rules_digest() -> str:
    """Digest of the rules of folding; a query folded by other rules than the text would not find it."""
    from search.normalized.tables import build_tables

    digest = hashlib.sha256(f"{RULES}".encode())
    for array in build_tables():
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def fold_bytes(text: np.ndarray) -> tuple[np.ndarray, OffsetMap]:
    """Fold a text, or several, each followed by the byte 0xFF, over which nothing joins.

    Args:
        text: (bytes,) uint8, valid UTF-8 but for 0xFF.
    Returns: (folded bytes,) uint8, UTF-8 with the same 0xFF, and the map back.
    """
    result, events = _fold_events(text)
    return result, _pack_events(events, len(result), len(text))


def fold(text: str) -> tuple[str, np.ndarray]:
    """Fold a text and say where each folded character comes from.

    Returns: the folded text, and (characters, 2) int64: for each of them the range [begin, end) of
        characters of the text that made it; ascending, and without gaps from the first one on.
    """
    data = _encode_utf8(text)
    result, map_back = fold_bytes(data)
    begins = np.flatnonzero((result & 0xC0) != 0x80)
    origins = map_back.origins(begins, np.append(begins[1:], len(result)) if len(begins) else begins)
    before = np.zeros(len(data) + 1, np.int64)
    np.cumsum((data & 0xC0) != 0x80, out=before[1:])
    return result.tobytes().decode("utf-8", "surrogatepass"), before[origins]


def fold_query(text: str) -> str:
    """Fold a query."""
    return _fold_events(_encode_utf8(text))[0].tobytes().decode("utf-8", "surrogatepass")


def _encode_utf8(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)


def _fold_events(text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The folded bytes and the events of `search.normalized.kernels.fold`."""
    from search.normalized.kernels import bound_sizes
    from search.normalized.kernels import fold as fold_into
    from search.normalized.tables import build_tables

    text, known = _freeze(text), build_tables()
    size, count = bound_sizes(text, known)
    results, events = np.empty(size, np.uint8), np.empty((count, 3), np.int64)
    size, count = fold_into(text, known, results, events)
    return results[:size], events[:count]


def _pack_events(events: np.ndarray, folded_bytes: int, text_bytes: int) -> OffsetMap:
    """The compact form of `search.normalized.kernels.fold`'s events."""
    from search.normalized.kernels import pack_events

    # One number for each pair: np.unique over rows takes ten times as long.
    kinds, number, counts = np.unique(events[:, 1] << _BITS | events[:, 2], return_inverse=True, return_counts=True)
    frequent = np.argsort(-counts, kind="stable")[: _RARE - 1]
    codes = np.full(len(kinds), _RARE, np.uint8)
    codes[frequent] = np.arange(1, len(frequent) + 1)
    code = codes[number]
    steps = len(events) + int((np.maximum(events[:, 0] - 1, 0) // MAX_GAP).sum())
    pairs = np.empty((steps, 2), np.uint8)
    marks = np.zeros((_count_blocks(steps) + 1, 2), np.int64)
    result = pack_events(events, code, pairs, marks[:-1], every=MARK_EVERY, most=MAX_GAP)
    assert result == steps, f"{result} events written, {steps} counted"
    marks[-1] = folded_bytes, text_bytes
    rare = np.column_stack([np.flatnonzero(pairs[:, 1] == _RARE), events[code == _RARE, 1:]])
    of_groups = np.column_stack([kinds[frequent] >> _BITS, kinds[frequent] & (1 << _BITS) - 1])
    sizes = np.concatenate([np.zeros((1, 2), np.int64), of_groups]).astype(np.int32)
    return OffsetMap(_freeze(pairs), _freeze(marks), _freeze(sizes), _freeze(rare))


def _count_blocks(events: int) -> int:
    return max(-(-events // MARK_EVERY), 1)


def _freeze(array: np.ndarray) -> np.ndarray:
    """The same array, read-only like a mapped file, so that kernels are compiled only once."""
    view = array.view()
    view.flags.writeable = False
    return view
