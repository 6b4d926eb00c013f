"""`make plan`: check every table of a run file and say what each stage would do, without doing any of it."""

import subprocess
import sys
from collections.abc import Sequence

from pipeline import cli
from pipeline.errors import ConfigError
from pipeline.progress import echo

# Table -> the module of its stage, in the order in which `make all` runs them.
STAGES = {
    "fetch": "corpus.fetch",
    "corpus": "corpus",
    "tokenizer": "tokenizer",
    "pack": "pretrain.pack",
    "pretrain": "pretrain",
    "finetune": "finetune",
    "lora": "finetune.lora",
    "index": "search.index",
    "search": "search.server.serve",
    "bots": "bots",
    "publish": "publish",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run every stage that the run file has with --dry-run; stop at the end if one refused its settings."""
    arguments = cli.stage_parser("pipeline.plan", __doc__ or "").parse_args(argv)
    run = cli.open_run(arguments)
    words = ["--run", arguments.run, "--artifacts", arguments.artifacts, "--dry-run"]
    words += ["--data", arguments.data] if arguments.data else []
    words += [word for override in arguments.set for word in ("--set", override)]
    refused = []
    for table, module in STAGES.items():
        if not run.has(table):
            continue
        sealed = (run.root(table) / "manifest.json").exists()
        echo(f"[{table}]{' 作成済み' if sealed else ''}")
        if subprocess.run([sys.executable, "-m", module, *words], check=False).returncode:
            refused.append(table)
    if refused:
        raise ConfigError(f"{run.path}: {len(refused)} table(s) refused, see above: {refused}")


if __name__ == "__main__":
    cli.stage_main(main)
