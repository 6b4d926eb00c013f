"""The command line that every stage shares: which run, which overrides, and how an error ends."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from pipeline.artifact import Artifact
from pipeline.errors import DiskFull, PipelineError
from pipeline.files import is_disk_full
from pipeline.progress import echo
from pipeline.runfile import RunFile, load_run
from pipeline.text.terminal import strip_control_chars

USER_ERROR = 2  # exit status of everything a user can fix


def run_parser(
    module: str, description: str, *, set_metavar: str = "TABLE.KEY=VALUE", set_help: str = "override one setting"
) -> argparse.ArgumentParser:
    """An argument parser with the options of everything that looks at a run.

    Args:
        set_metavar, set_help: what --set takes, and its help.
    """
    result = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    result.add_argument("--run", required=True, help="a name below runs/, or a path that ends in .toml")
    result.add_argument("--set", action="append", default=[], metavar=set_metavar, help=set_help)
    result.add_argument("--data", help="the folder that ${DATA} in the run file stands for")
    result.add_argument("--artifacts", default="artifacts", help="root folder of all artifacts")
    return result


def stage_parser(stage: str, description: str) -> argparse.ArgumentParser:
    """An argument parser with the options that every stage has; a stage adds its own."""
    result = run_parser(stage, description, set_help="override one setting (recorded)")
    result.add_argument("--dry-run", action="store_true", help="check the settings, print the plan, do nothing")
    return result


def open_run(arguments: argparse.Namespace) -> RunFile:
    """The run file that parsed arguments name."""
    return load_run(arguments.run, overrides=tuple(arguments.set), data=arguments.data, artifacts=arguments.artifacts)


def skip_if_sealed(artifact: Artifact, name: str) -> bool:
    """Whether the artifact is made already; if so, say that the stage is skipped."""
    if artifact.sealed:
        echo(f"{name}: 作成済みのため省略します ({artifact.sealed.short}、{artifact.root})")
    return artifact.sealed is not None


def stage_main(main: Callable[[Sequence[str] | None], None]) -> None:
    """Run a stage's `main` and end the process: 0, or 2 with one line for what a user can fix, or a traceback."""
    try:
        main(None)
    except PipelineError as error:
        _print_error(type(error).__name__, str(error))
        sys.exit(USER_ERROR)
    except BrokenPipeError:  # the reader of our output (head, less) went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if not is_disk_full(error):
            raise
        _print_error(DiskFull.__name__, f"{error.filename or 'output'}: no space left; free some and run again")
        sys.exit(USER_ERROR)
    except KeyboardInterrupt:
        print("中断しました。同じコマンドで続きから再開します。", file=sys.stderr)
        sys.exit(130)


def _print_error(kind: str, message: str) -> None:
    """One line, whatever characters the names of files or the content of documents brought into it."""
    print(strip_control_chars(f"error: {kind}: {message}", one_line=True), file=sys.stderr)
