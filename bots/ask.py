"""One question: the streamed answer, and below it the training data that resembles it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bots.settings import BotsSettings
from pipeline import cli
from pipeline.progress import echo

if TYPE_CHECKING:
    from bots.core import Core
    from bots.terminal import Screen


def ask(core: "Core", question: str, screen: "Screen") -> None:
    """Ask, stream, search, show.

    Raises: ModelError if the model gives no whole answer.
    """
    screen.line(f"質問: {question}")
    pieces: list[str] = []
    screen.stream("回答: ", core.chat([{"role": "user", "content": question}]), pieces)
    screen.evidence(core.evidence("".join(pieces), question))


def what_next(run: str) -> str:
    """What to try after the first answer."""
    which = "" if run == "demo" else f" RUN={run}"
    return (
        "\n次に試すこと\n"
        f"  make chat{which}            この端末でモデルと話す\n"
        f"  make search{which} Q=言葉   学習データを検索する\n"
        f"  make bot{which}             Slack で話す（用意のしかたは docs/slack.md）"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Ask one question of the run's model."""
    parser = cli.stage_parser("bots.ask", __doc__ or "")
    parser.add_argument("--question", help="default: [bots] question of the run file")
    arguments = parser.parse_args(argv)
    run = cli.open_run(arguments)
    settings = run.settings("bots", BotsSettings)
    question = arguments.question or settings.question
    if arguments.dry_run:
        echo(f"質問: 「{question}」を {settings.model} のモデルに尋ね、似ている学習データを {settings.hits} 件ずつ示します")
        return
    from bots.core import Core
    from bots.terminal import stdout

    with Core.open(run, settings) as core:
        ask(core, question, stdout())
    echo(what_next(arguments.run))


if __name__ == "__main__":
    cli.stage_main(main)
