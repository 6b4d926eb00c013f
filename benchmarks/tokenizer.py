"""`make bench-tokenizer`: every figure that docs/tokenizer.md and the README quote about the tokenizer stage.

Each part is a module of its own and runs in a process of its own, one after the other:
`make bench-tokenizer DATA=… ONLY="parity speed"` runs some of them. One vocabulary is trained for all but the first.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.machine import describe

PARTS = (
    "lab",  # every recipe on the same data: characters a token, straddling, on held-out text
    "parity",  # transformers' ids and the compiled encoder's against SentencePiece's
    "speed",  # megabytes per second of processor time against Hugging Face tokenizers; two processes against one
    "greedy",  # llama.cpp's greedy merge of the export
)
PACKAGES = ("sentencepiece", "tokenizers", "transformers", "numpy", "numba", "fugashi", "unidic-lite")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, required=True, help="the folder of development data")
    arguments.add_argument("--only", nargs="*", choices=PARTS, default=PARTS)
    arguments.add_argument("--model", type=Path, help="a tokenizer.model for parity, speed and greedy, instead of training one")
    chosen = arguments.parse_args()
    print(describe(*PACKAGES), flush=True)
    failed = []
    with TemporaryDirectory() as folder:
        model = chosen.model or Path(folder) / "tokenizer.model"
        if set(chosen.only) != {"lab"} and not chosen.model:
            module("model", "--data", str(chosen.data), "--model", str(model))
        for part in chosen.only:
            extra = [] if part == "lab" else ["--model", str(model)]
            failed += [part] if module(part, "--data", str(chosen.data), *extra) else []
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def module(part: str, *arguments: str) -> int:
    """Run a part; returns its exit status."""
    print(f"\n── {part}", flush=True)
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-m", f"benchmarks.tokenizer_{part}", *arguments], check=False)
    print(f"   ({time.monotonic() - began:.0f} s, exit {done.returncode})", flush=True)
    return done.returncode


if __name__ == "__main__":
    main()
