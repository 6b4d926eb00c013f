"""Parts of a benchmark, each a module of its own that runs in a process of its own, one after the other."""

import subprocess
import sys
import time
from collections.abc import Sequence


def run(module: str, *arguments: str) -> int:
    """Run `benchmarks.<module>` under a heading with its part's name; returns its exit status."""
    print(f"\n── {module.partition('.')[2]}", flush=True)
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-m", f"benchmarks.{module}", *arguments], check=False)
    print(f"   ({time.monotonic() - began:.0f} s, exit {done.returncode})", flush=True)
    return done.returncode


def end(failed: Sequence[str]) -> None:
    """Exit with an error that names the parts that failed, if any did."""
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")
