"""The iterations of byte ranges against a scan of every part of every epoch."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import CorruptArtifact
from search.shard import reads
from search.shard.reads import Reads, ReadsWriter


@st.composite
def documents(draw: st.DrawFn) -> list[tuple[list[int], list[tuple[list[int], list[int]]]]]:
    """Documents as (bytes where tokens begin, (first tokens, iterations) of each epoch)."""
    made = []
    for _ in range(draw(st.integers(1, 4))):
        sizes = draw(st.lists(st.integers(1, 9), max_size=20))
        begins = np.cumsum([0, *sizes]).tolist()  # the last token, </s>, has no bytes
        epochs = []
        for _ in range(draw(st.integers(0, 3))):
            cuts = sorted({0, *draw(st.sets(st.integers(0, len(begins) - 1), max_size=4))})
            epochs.append((cuts, draw(st.lists(st.integers(0, 5), min_size=len(cuts), max_size=len(cuts)))))
        made.append((begins, epochs))
    return made


@given(documents(), st.data())
@settings(max_examples=150, deadline=None)
def test_iterations_equal_a_scan(rows: list, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        writer = ReadsWriter()
        for begins, epochs in rows:
            writer.add(np.array(begins), [(np.array(cuts), np.array(iterations)) for cuts, iterations in epochs])
        writer.save(Path(folder))
        opened = Reads(Path(folder), len(rows))
    for number, (begins, epochs) in enumerate(rows):
        size = begins[-1]
        spans = data.draw(st.lists(st.tuples(st.integers(0, size), st.integers(0, size)).map(sorted), max_size=3))
        read = set()
        for cuts, iterations in epochs:
            for first, last, iteration in zip(cuts, [*cuts[1:], len(begins)], iterations, strict=True):
                held = set(range(begins[first], begins[last] if last < len(begins) else size))
                if iteration and any(held & set(range(begin, end)) for begin, end in spans):
                    read.add(iteration)
        assert opened.iterations(number, [(begin, end) for begin, end in spans]) == tuple(sorted(read))
        parts = [(begins[c], i) for cuts, iterations in epochs for c, i in zip(cuts, iterations, strict=True)]
        assert list(opened.parts(number)) == parts


@pytest.mark.parametrize("name", [reads.DOCUMENTS, reads.EPOCHS, reads.BEGINS, reads.ITERATIONS])
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, name: str) -> None:
    writer = ReadsWriter()
    writer.add(np.array([0, 4, 9]), [(np.array([0, 1]), np.array([3, 4]))])
    writer.save(tmp_path)
    assert Reads(tmp_path, 1).iterations(0, [(0, 9)]) == (3, 4)
    with pytest.raises(CorruptArtifact, match="do not fit 2 documents"):
        Reads(tmp_path, 2)
    np.save(tmp_path / name, np.array([0, 7, 7, 7], np.uint32))
    with pytest.raises(CorruptArtifact, match=str(tmp_path)):
        Reads(tmp_path, 1)
    (tmp_path / name).unlink()
    with pytest.raises(CorruptArtifact, match=name):
        Reads(tmp_path, 1)
