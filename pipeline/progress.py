"""Progress as people read it (Japanese, a live bar on a terminal, a line every few seconds elsewhere) and as events.jsonl."""

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from pipeline.text.terminal import strip_control_chars

# A line often enough to see that it lives, seldom enough for a log; a bar as often as an eye follows.
LINE_SECONDS, BAR_SECONDS, BAR_CELLS = 5.0, 0.1, 24


class Progress:
    """Counts `done` of `total` units of one step; use as a context manager."""

    def __init__(self, label: str, total: int, unit: str, *, events: Path | None = None, out: TextIO | None = None) -> None:
        self.label, self.total, self.unit, self.done = label, total, unit, 0
        self._out = out or sys.stderr
        self._live = self._out.isatty()
        self._events = _at_a_line(events) if events else None
        self._began = self._shown = time.monotonic()
        self._first = 0  # units done before this process began (a resumed run): not part of the rate

    def resume_at(self, done: int) -> None:
        """Say that `done` units were finished by an earlier process."""
        self.done = self._first = done

    def update(self, count: int = 1, log_only: Mapping[str, Any] | None = None, **numbers: float) -> None:
        """`count` more units are done; `numbers` are shown after and written to events.jsonl, `log_only` only written."""
        self.done += count
        self.event(done=self.done, total=self.total, **numbers, **(log_only or {}))
        now = time.monotonic()
        if now - self._shown >= (BAR_SECONDS if self._live else LINE_SECONDS):
            self._shown = now
            self._show(numbers)

    def event(self, **values: Any) -> None:
        """Append one row to events.jsonl."""
        if self._events:
            row = {"time": round(time.time(), 3), "step": self.label, **values}
            print(json.dumps(row, ensure_ascii=False), file=self._events, flush=True)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self._show({}, last=True)
        elif self._live:
            print(file=self._out)
        if self._events:
            self._events.close()

    def _show(self, numbers: dict[str, float], *, last: bool = False) -> None:
        seconds = max(time.monotonic() - self._began, 1e-9)
        rate = (self.done - self._first) / seconds
        left = (self.total - self.done) / rate if rate > 0 else 0.0
        tail = f"{format_duration(seconds)}" if last else f"残り {format_duration(left)}"
        extra = "".join(f"  {name} {value:.4g}" for name, value in numbers.items())
        line = f"{self.label}  {self.done:,}/{self.total:,} {self.unit}  {rate:,.1f}/秒  {tail}{extra}"
        if self._live:
            cells = BAR_CELLS * self.done // max(self.total, 1)
            print(
                f"\r\x1b[K{'█' * cells}{'░' * (BAR_CELLS - cells)} {line}", end="\n" if last else "", file=self._out, flush=True
            )
        else:
            print(line, file=self._out, flush=True)


def _at_a_line(path: Path) -> TextIO:
    """The file, to append lines to; the last one of a killed process may have no end."""
    file = path.open("a+", encoding="utf-8")
    if file.tell():
        with path.open("rb") as before:
            before.seek(-1, os.SEEK_END)
            file.write("" if before.read(1) == b"\n" else "\n")
    return file


def format_duration(seconds: float) -> str:
    """75.2 -> '1:15'; 3,700 -> '1:01:40'."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def echo(text: str) -> None:
    """Print for the person at the terminal; names of files in the text cannot control it."""
    print(strip_control_chars(text), flush=True)
