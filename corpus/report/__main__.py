"""Write the HTML report of a run's corpus again, beside its manifest: `make report RUN=demo`."""

from collections.abc import Sequence

from corpus.report.page import write_report
from pipeline import cli
from pipeline.progress import echo


def main(argv: Sequence[str] | None = None) -> None:
    """Write the report of a run's corpus."""
    run = cli.open_run(cli.run_parser("corpus.report", __doc__ or "").parse_args(argv))
    echo(f"報告書: {write_report(run.root('corpus'), check=True)}")


if __name__ == "__main__":
    cli.stage_main(main)
