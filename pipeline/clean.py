"""Remove artifacts of a run: `make clean RUN=name`, `make clean-corpus RUN=name`; what is being made stays, and says so."""

import os
import shutil
from collections.abc import Sequence

from pipeline import cli
from pipeline.artifact import locked
from pipeline.errors import ConfigError
from pipeline.progress import echo
from pipeline.runfile import RunFile

STAGES = ("fetch", "corpus", "tokenizer", "pack", "pretrain", "finetune", "lora", "index")
# Below the root of all artifacts: folders go there by one rename, so that none is ever half removed under its own name.
REMOVED = ".removed"


def main(argv: Sequence[str] | None = None) -> None:
    """Remove the artifacts of one run, of all stages or of some."""
    parser = cli.run_parser("pipeline.clean", __doc__ or "")
    parser.add_argument("--stage", nargs="*", choices=STAGES, default=STAGES, help="all where left out")
    arguments = parser.parse_args(argv)
    if not arguments.run.strip():
        raise ConfigError("--run is empty; name the run whose artifacts are to be removed: `make clean RUN=name`")
    run = cli.open_run(arguments)
    removed = [stage for stage in arguments.stage if remove(run, stage)]
    places = "、".join(str(run.root(stage)) for stage in removed)
    echo(f"削除しました: {places}" if removed else f"削除するものはありません ({run.name})")


def remove(run: RunFile, stage: str) -> bool:
    """Remove one artifact, whole or not at all; whether there was one.

    Raises: PipelineError if a process is making it.
    """
    root, removed = run.root(stage), run.artifacts / REMOVED
    for left in removed.glob("*"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    if not root.is_dir():
        return False
    target = removed / f"{stage}-{run.name}-{os.getpid()}"
    with locked(root):
        removed.mkdir(exist_ok=True)
        root.replace(target)
    shutil.rmtree(target)
    return True


if __name__ == "__main__":
    cli.stage_main(main)
