"""`make curve`: what counts of the events after kills and rewinds, and the pictures."""

import json
import math
import re
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadInput, MissingInput
from pipeline.runfile import RunFile
from pretrain import curve
from tests.helpers import run_file


def iteration(done: int, loss: float | None, time: float) -> dict[str, Any]:
    row = {"time": time, "step": "事前学習", "done": done, "total": 60, "lr": 1e-3, "grad": 2.0, "tokens/s/gpu": 100.0 + done}
    return (
        row | {"mfu": 0.4, "tflops": 300.0, "memory_gib": 40.0, "tokens": 96 * done} | ({} if loss is None else {"loss": loss})
    )


def valid(done: int, loss: float) -> dict[str, Any]:
    score = {"loss": loss, "bits_per_byte": loss / 2, "tokens": 5, "bytes": 9, "unigram_bits_per_byte": 4.0}
    return {"time": 1.0, "iteration": done, "valid": {"ja_<web>": score, "ja_man": score, "total": score}}


def loss_at(done: int) -> float:
    return 2 + 8 * math.exp(-done / 20)


@pytest.fixture
def run(tmp_path: Path) -> RunFile:
    """Killed after 25 with a checkpoint at 20, in the middle of a line; skipped 33 and 34, rewound to 30; now at 50."""
    made = run_file(tmp_path, "")
    root = made.root("pretrain")
    root.mkdir(parents=True)
    rows = [{"resumed_at": 0}, *(iteration(i, 99.0 if i > 20 else loss_at(i), float(i)) for i in range(1, 26)), valid(20, 3.0)]
    rows += [valid(25, 99.0), {"skipped": 24, "why": "spike", "in_row": 1}]
    text = "".join(json.dumps(row) + "\n" for row in rows) + '{"time": 25.5, "do'
    again = [iteration(i, None if i in (33, 34) else loss_at(i), 1000.0 + i) for i in range(21, 51)]
    more = [{"resumed_at": 20}, *again[:14], {"skipped": 33, "why": "not finite"}, {"skipped": 34, "why": "not finite"}]
    more += [{"rewound": 34, "to": 30}, *again[14:], valid(40, 2.5), {"step": "モデルの書き出し", "done": 1, "total": 1}]
    (root / "events.jsonl").write_text(text + "".join(json.dumps(row) + "\n" for row in more), "utf-8")
    return made


def test_what_counts(run: RunFile) -> None:
    history = curve.read_history(run.root("pretrain") / "events.jsonl")
    assert sorted(history.rows) == list(range(1, 51)) and history.total == 60
    places, losses = history.series("loss")
    assert places.tolist() == [i for i in range(1, 51) if i not in (33, 34)]
    assert losses == pytest.approx([loss_at(i) for i in places])
    assert (history.skipped, history.rewinds) == ({33: "not finite", 34: "not finite"}, {34: 30})
    assert history.discarded == ((31, 34),) and history.torn_lines == 1
    assert history.sources() == ["ja_<web>", "ja_man", "total"] and sorted(history.valid) == [20, 40]


def test_the_row_that_was_glued_to_a_torn_line_is_made_up_for(run: RunFile) -> None:
    """A process that goes on appends to the torn line; what it said there, where it went on, is seen by its iterations."""
    history = curve.read_history(run.root("pretrain") / "events.jsonl")
    assert history.series("loss")[1].max() < 99 and history.resumed == [20]
    assert curve.summarize(history)["学習時間"] == "0:48"  # 19 s and 29 s: not the time that nothing ran


def test_pictures(run: RunFile, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--run", str(run.path), "--artifacts", str(run.artifacts)]
    curve.main(arguments)
    root, said = run.root("pretrain"), capsys.readouterr().out
    png, page = (root / "curve.png").read_bytes(), (root / "curve.html").read_text("utf-8")
    assert png.startswith(b"\x89PNG\r\n\x1a\n") and len(png) > 20_000
    assert "反復: 50 / 60" in said and "検証 bits/byte: 1.2500" in said and "MFU (中央値): 40.0%" in said
    assert "書きかけの 1 行は読み飛ばしました" in said and "2 回、巻き戻し 1 回" in said
    svg = page[page.index("<svg") : page.index("</svg>") + 6]
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert "ja_&lt;web&gt;" in page and "<web>" not in page
    assert "34 回目で 30 回目の重みに戻しました" in page
    assert not re.search(r'(src|href)="(?!#)', page) and "<script" not in page  # it needs nothing else
    curve.main(arguments)
    assert (root / "curve.html").read_text("utf-8") == page and (root / "curve.png").read_bytes() == png


def test_nothing_to_draw(run: RunFile) -> None:
    events = run.root("pretrain") / "events.jsonl"
    events.write_text(json.dumps({"resumed_at": 0}) + "\n", "utf-8")
    with pytest.raises(BadInput, match="no iteration of a training is in it yet"):
        curve.read_history(events)
    events.unlink()
    with pytest.raises(MissingInput, match="no such file; start the training"):
        curve.read_history(events)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.integers(1, 12))
def test_bins_hold_every_value_once(values: list[float], points: int) -> None:
    places, mean, low, high = curve.bin_means(np.arange(len(values)), np.array(values), points)
    assert len(places) == min(points, len(values)) and (np.diff(places) > 0).all()
    ends = np.linspace(0, len(values), len(places) + 1).astype(int).tolist()
    parts = [values[a:b] for a, b in pairwise(ends)]
    assert [value for part in parts for value in part] == values
    assert mean.tolist() == pytest.approx([sum(part) / len(part) for part in parts], abs=1e-6)
    assert (low.tolist(), high.tolist()) == ([min(part) for part in parts], [max(part) for part in parts])
