"""`make bench-pretrain`: every figure that docs/pretrain.md and the README quote about training on a CPU.

Each part runs in a process of its own, one after the other: `make bench-pretrain ONLY="speed order"` runs some of them.
"""

import argparse

from benchmarks import parts
from benchmarks.machine import describe

PARTS = (
    "speed",  # tokens a second against transformers, and what bounds them
    "reference",  # the demo's losses against the same training without megatron
    "copies",  # duplicates of held-out documents by width of n-gram; needs `make corpus`
    "order",  # the order of ten million documents: built, kept and asked
)
PACKAGES = ("torch", "megatron-core", "transformers", "numpy")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--only", nargs="*", choices=PARTS, default=PARTS)
    chosen = arguments.parse_args()
    print(describe(*PACKAGES), flush=True)
    parts.end([part for part in chosen.only if parts.run(f"pretrain.{part}")])


if __name__ == "__main__":
    main()
