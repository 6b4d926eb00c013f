"""`make bench-tokenizer`: every figure that docs/tokenizer.md and the README quote about the tokenizer stage.

Each part is a module of its own and runs in a process of its own, one after the other:
`make bench-tokenizer DATA=… ONLY="parity speed"` runs some of them. One vocabulary is trained for all but the first.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import parts
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
            parts.run("tokenizer.model", "--data", str(chosen.data), "--model", str(model))
        for part in chosen.only:
            extra = [] if part == "lab" else ["--model", str(model)]
            failed += [part] if parts.run(f"tokenizer.{part}", "--data", str(chosen.data), *extra) else []
    parts.end(failed)


if __name__ == "__main__":
    main()
