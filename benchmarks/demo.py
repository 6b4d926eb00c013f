"""`make bench-demo`: a fresh clone, `make demo` twice; seconds of every stage, peak memory of any process, digests.

The clone is made from the committed state, so that uncommitted work cannot help it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path

from benchmarks.machine import describe

MARK = "MINAMOTO_BENCH"  # set in the environment of everything that we start, so that we find all of it again
SAMPLE_SECONDS = 0.5


class PeakMemory(threading.Thread):
    """Largest resident set (VmHWM) of any process that carries our mark, sampled until stopped."""

    def __init__(self, mark: str) -> None:
        super().__init__(daemon=True)
        self.mark, self.peaks, self.over = f"{MARK}={mark}".encode(), {}, threading.Event()

    def run(self) -> None:
        while not self.over.wait(SAMPLE_SECONDS):
            for process in Path("/proc").iterdir():
                if process.name.isdigit():
                    self.look(process)

    def look(self, process: Path) -> None:
        try:
            if self.mark not in (process / "environ").read_bytes():
                return
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            status = (process / "status").read_text()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return  # it ended while we looked
        high = [int(row.split()[1]) for row in status.splitlines() if row.startswith("VmHWM")]
        if high:
            self.peaks[process.name] = (high[0] * 1024, words[:70])


def demo(clone: Path, log: Path) -> tuple[float, PeakMemory, int]:
    """Run `make demo` there; wall seconds, memory, exit status."""
    mark = f"{os.getpid()}-{time.monotonic_ns()}"
    memory = PeakMemory(mark)
    memory.start()
    began = time.monotonic()
    with log.open("ab") as out:
        done = subprocess.run(["make", "demo"], cwd=clone, env={**os.environ, MARK: mark}, stdout=out, stderr=out, check=False)
    seconds = time.monotonic() - began
    memory.over.set()
    memory.join()
    return seconds, memory, done.returncode


def stages(clone: Path) -> list[tuple[str, float, str]]:
    """(stage, seconds, digest) of every sealed artifact, in the order they were made."""
    rows = []
    for path in clone.glob("artifacts/*/demo/manifest.json"):
        body = json.loads(path.read_text("utf-8"))
        began, ended = (datetime.fromisoformat(body["made"][k]) for k in ("started", "finished"))
        rows.append((ended, path.parent.parent.name, (ended - began).total_seconds(), body["digest"][7:19]))
    return [row[1:] for row in sorted(rows)]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--keep", help="clone into this folder and leave it there")
    folder = arguments.parse_args().keep
    with tempfile.TemporaryDirectory() as temporary:
        clone = Path(folder or temporary) / "minamoto"
        subprocess.run(["git", "clone", "--quiet", str(Path(__file__).parents[1]), str(clone)], check=True)
        log = clone.parent / "demo.log"
        print(describe())
        for label in ("fresh", "again"):
            seconds, memory, status = demo(clone, log)
            peak, words = max(memory.peaks.values(), default=(0, ""))
            print(f"{label}: exit {status}, {seconds:.0f} s, largest process {peak / 2**30:.2f} GiB ({words})")
            if status:
                print(log.read_text("utf-8", errors="replace")[-3000:])
                sys.exit(status)
            if label == "fresh":
                for stage, took, digest in stages(clone):
                    print(f"  {stage:10} {took:6.0f} s  {digest}")


if __name__ == "__main__":
    main()
