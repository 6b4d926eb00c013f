"""`make bench-search`: every figure that docs/search.md and the README quote about searching the training data.

Each part is a module of its own and runs in a process of its own, one after the other:
`make bench-search DATA=… ONLY="counts peer"` runs some of them. The indices are built once for all.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import parts
from benchmarks.machine import describe

# Parts that search the same works of Aozora Bunko, whose indices they share.
SHARING = (
    "counts",  # counts and places against a scan, and infini-gram's byte index
    "recall",  # occurrences found, beside a search for tokens
    "peer",  # building, counting, fetching, tracing against infini-gram's byte index
    "cold",  # pages that a query reads from a cold disk
)
PARTS = (
    *SHARING,
    "trace",  # answers traced, strings exposed, JGLUE looked for; what is in other text by chance
    "rank",  # questions to paragraphs, against TF-IDF and BM25; vectors beside
    "vectors",  # kinds of vector index at a million vectors: recall, latency, bytes
    "scale",  # building three sizes, and what terabytes take
    "serve",  # pages with provenance, shards against one, clients at once
)
PACKAGES = ("numpy", "numba", "pydivsufsort", "faiss-cpu", "scikit-learn", "sentencepiece")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, required=True, help="the folder of development data")
    arguments.add_argument("--only", nargs="*", choices=PARTS, default=PARTS)
    chosen = arguments.parse_args()
    print(describe(*PACKAGES), flush=True)
    failed = []
    with TemporaryDirectory() as work:
        for part in chosen.only:
            extra = ["--work", work] if part in SHARING else []
            failed += [part] if parts.run(f"search.{part}", "--data", str(chosen.data), *extra) else []
    parts.end(failed)


if __name__ == "__main__":
    main()
