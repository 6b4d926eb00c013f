"""`make bench-corpus`: every figure that docs/corpus.md and the README quote about the corpus stage.

Each part is a module of its own and runs in a process of its own, one after the other, so that no part's memory or
threads are another's: `make bench-corpus DATA=… ONLY="speed minhash"` runs some of them.
"""

import argparse
from pathlib import Path

from benchmarks import parts
from benchmarks.machine import describe

PARTS = (
    "readers",  # each reader's speed and memory against its peers, and that what comes out is what went in
    "llmjp",  # verdicts and speed against LLM-jp's own filters
    "speed",  # statistics, rules and signatures against reading and writing the same Parquet
    "minhash",  # signatures against datatrove and rensa, with the error of their estimates
    "recall",  # near copies against brute force
    "labels",  # charset, language and copies of a crawl whose truth is known
    "extractors",  # main text against resiliparse and trafilatura
    "personal",  # masking against hojichar
    "contamination",  # benchmark items found in the texts
    "retune",  # judging again from the table against judging the texts again
    "scale",  # the rate of each step on a crawl, and what they make of 100 TB
    "hostile",  # memory and accounting on inputs made to break it
)
PACKAGES = ("numpy", "numba", "pyarrow", "ray", "hojichar", "datatrove", "rensa", "datasketch", "resiliparse", "trafilatura")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, required=True, help="the folder of development data")
    arguments.add_argument("--only", nargs="*", choices=PARTS, default=PARTS)
    chosen = arguments.parse_args()
    print(describe(*PACKAGES), flush=True)
    parts.end([part for part in chosen.only if parts.run(f"corpus.{part}", "--data", str(chosen.data))])


if __name__ == "__main__":
    main()
