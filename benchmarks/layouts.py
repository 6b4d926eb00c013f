"""`make bench-layouts`: what an iteration of the demo's model costs in each precision and layout on this machine.

Needs the demo's packed data (`make pack`). Each layout trains the same few iterations into a temporary folder; the table
gives the median and the fastest iteration after the first ones.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.machine import describe

ITERATIONS, WARM = 30, 5
ROOT = Path(__file__).parents[1]
LAYOUTS = {
    "one process, one thread": ("data=1", "threads=1"),
    "one process, two threads": ("data=1", "threads=2"),
    "two processes, one thread each": ("data=2", "threads=1"),
}


def iterations(precision: str, layout: tuple[str, ...], folder: Path) -> list[float]:
    """Milliseconds of each warm iteration."""
    for stage in ("tokenizer", "pack"):
        (folder / stage).symlink_to(ROOT / "artifacts" / stage)
    words = [f"pretrain.iterations={ITERATIONS}", f"pretrain.precision={precision}", "pretrain.valid_every=0"]
    words += ["pretrain.save_every=0", "pretrain.valid_tokens=512", "pretrain.optimizer.warmup=5"]
    words += [f"pretrain.parallel.{word}" for word in layout]
    command = [sys.executable, "-m", "pretrain", "--run", "demo", "--artifacts", str(folder)]
    command += [word for setting in words for word in ("--set", setting)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    rows = [json.loads(row) for row in (folder / "pretrain" / "demo" / "events.jsonl").read_text("utf-8").splitlines()]
    rates = [row["tokens/s"] for row in rows if "tokens/s" in row]
    tokens = _tokens_of_an_iteration(folder)
    return [tokens / rate * 1000 for rate in rates[WARM:]]


def _tokens_of_an_iteration(folder: Path) -> int:
    settings = json.loads((folder / "pretrain" / "demo" / "recipe.json").read_text("utf-8"))["settings"]
    return settings["global_batch"] * settings["seq_length"]


def main() -> None:
    print(describe("torch", "megatron-core"))
    fp32 = 0.0
    for precision in ("fp32", "bf16"):
        for name, layout in LAYOUTS.items():
            with tempfile.TemporaryDirectory() as folder:
                times = iterations(precision, layout, Path(folder))
            median = statistics.median(times)
            fp32 = fp32 or median
            print(f"{precision}  {name:32} median {median:6.0f} ms  fastest {min(times):6.0f} ms  ratio {fp32 / median:.2f}")


if __name__ == "__main__":
    main()
