"""Progress: lines for logs, a bar for terminals, every number in events.jsonl."""

import io
import json
from pathlib import Path

import pytest

from pipeline import progress
from pipeline.progress import Progress, format_duration


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (75.2, "1:15"), (3700, "1:01:40"), (59.7, "1:00")])
def test_clock(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_log_gets_plain_lines_and_events_get_every_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    out = io.StringIO()
    with Progress("抽出", 3, "個", events=tmp_path / "events.jsonl", out=out) as bar:
        bar.resume_at(1)
        bar.update(loss=2.5)
        bar.update()
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("抽出  2/3 個") and "loss 2.5" in lines[0]
    assert lines[-1].startswith("抽出  3/3 個")
    rows = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text("utf-8").splitlines()]
    assert [(row["done"], row.get("loss")) for row in rows] == [(2, 2.5), (3, None)]


def test_terminal_gets_a_bar_that_ends_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "BAR_SECONDS", 0.0)
    out = Terminal()
    with Progress("索引", 2, "個", out=out) as bar:
        bar.update()
        bar.update()
    first, *_, last = out.getvalue().split("\r")[1:]
    assert first.count("█") == 12 and last.count("█") == 24 and last.endswith("\n")


def test_a_line_that_a_killed_process_left_open_swallows_no_row(tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    events.write_text('{"done": 1}\n{"do', "utf-8")
    for done in (2, 3):
        with Progress("t", 3, "x", events=events, out=io.StringIO()) as bar:
            bar.event(done=done)
    whole, torn, *more = events.read_text("utf-8").splitlines()
    assert (whole, torn) == ('{"done": 1}', '{"do') and [json.loads(line)["done"] for line in more] == [2, 3]
