"""`make bench-pretrain`: every figure that docs/pretrain.md and the README quote about training on a CPU.

Each part runs in a process of its own, one after the other: `make bench-pretrain ONLY="speed order"` runs some of them.
"""

import argparse
import subprocess
import sys
import time

from benchmarks.machine import describe

PARTS = (
    "speed",  # tokens a second against transformers, and what bounds them
    "reference",  # the demo's losses against the same training without megatron
    "order",  # the order of ten million documents: built, kept and asked
)
PACKAGES = ("torch", "megatron-core", "transformers", "numpy")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--only", nargs="*", choices=PARTS, default=PARTS)
    chosen = arguments.parse_args()
    print(describe(*PACKAGES), flush=True)
    failed = []
    for part in chosen.only:
        print(f"\n── {part}", flush=True)
        began = time.monotonic()
        done = subprocess.run([sys.executable, "-W", "ignore", "-m", f"benchmarks.pretrain_{part}"], check=False)
        print(f"   ({time.monotonic() - began:.0f} s, exit {done.returncode})", flush=True)
        failed += [part] if done.returncode else []
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
