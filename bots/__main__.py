"""The Slack app of a run, in Socket Mode: answers mentions and direct messages, and shows what the model was taught."""

import logging
import os
import signal
import threading
from collections.abc import Mapping, Sequence

from bots.settings import BotsSettings
from pipeline import cli
from pipeline.errors import ConfigError, ExternalServiceError
from pipeline.progress import echo

# Slack's own names; tokens are secrets and never be in a run file.
TOKENS = {"SLACK_BOT_TOKEN": "xoxb-", "SLACK_APP_TOKEN": "xapp-"}


def tokens(environment: Mapping[str, str]) -> tuple[str, str]:
    """(bot token, app-level token) from the environment.

    Raises: ConfigError naming every one that is missing or of another kind.
    """
    wrong = [f"{name}={kind}…" for name, kind in TOKENS.items() if not environment.get(name, "").startswith(kind)]
    if wrong:
        raise ConfigError(f"Slack tokens are missing or of the wrong kind: set {' and '.join(wrong)} (docs/slack.md says how)")
    return environment["SLACK_BOT_TOKEN"], environment["SLACK_APP_TOKEN"]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the app until stopped."""
    arguments = cli.stage_parser("bots", __doc__ or "").parse_args(argv)
    run = cli.open_run(arguments)
    settings = run.settings("bots", BotsSettings)
    if arguments.dry_run:
        echo(f"Slack: {settings.model} のモデルがメンションと DM に答えます（同時に {settings.slack.workers} 件まで）")
        return
    bot_token, app_token = tokens(os.environ)
    from slack_bolt.adapter.socket_mode import SocketModeHandler
    from slack_sdk.errors import SlackApiError

    from bots.core import Core
    from bots.slack.app import SlackBot

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for chatty in ("faiss.loader", "httpx2"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    signal.signal(signal.SIGINT, lambda *_: stopped.set())
    with Core.open(run, settings) as core:
        bot = SlackBot(core, settings.slack, bot_token)
        handler = SocketModeHandler(bot.app, app_token)
        try:
            handler.connect()
        except SlackApiError as error:
            raise ExternalServiceError(
                f"Slack refuses SLACK_APP_TOKEN ({error.response.get('error')}); see docs/slack.md"
            ) from error
        echo(f"Slack に接続しました（{bot.team}）。Ctrl-C で終了します。")
        stopped.wait()
        echo("終了しています…")
        handler.close()
        bot.close()


if __name__ == "__main__":
    cli.stage_main(main)
