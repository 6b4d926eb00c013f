"""The Slack app: its listeners only acknowledge and hand over; work is done by `slack_jobs` and `slack_answer`."""

import logging
import re
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from slack_bolt import App
from slack_sdk.errors import SlackApiError

from bots.core import Core
from bots.settings import Slack
from bots.slack.answer import Answerer
from bots.slack.api import clients
from bots.slack.blocks import MORE, More
from bots.slack.jobs import Jobs, Question, SeenEvents
from bots.slack.text import message_text
from pipeline.errors import ExternalServiceError

if TYPE_CHECKING:
    from slack_bolt import Ack, BoltContext

log = logging.getLogger(__name__)
# Subtypes of `message` that are a person speaking; the others are edits, joins and the like.
SPOKEN = (None, "file_share", "thread_broadcast")
# Paging and refusals are short; two threads keep them from waiting for each other.
LIGHT_THREADS = 2


class SlackBot:
    """One workspace's app around a core; `app` goes to SocketModeHandler."""

    def __init__(self, core: Core, settings: Slack, token: str) -> None:
        """Raises: ExternalServiceError if Slack is out of reach or refuses the token."""
        reads, posts = clients(token, settings.api_url)
        try:
            who = reads.auth_test()
            self.app = App(client=reads)
        except SlackApiError as error:
            code = error.response.get("error")
            raise ExternalServiceError(f"Slack refuses SLACK_BOT_TOKEN ({code}); see docs/slack.md for a new one") from error
        except OSError as error:
            raise ExternalServiceError(f"Slack at {settings.api_url}: out of reach ({error})") from error
        self.team = str(who["team"])
        self._seen = SeenEvents()
        self._answerer = Answerer(core, settings, reads, posts, str(who["user_id"]))
        self._jobs = Jobs(self._answerer.answer, workers=settings.workers, per_user=settings.per_user, waiting=settings.waiting)
        self._light = ThreadPoolExecutor(LIGHT_THREADS, thread_name_prefix="light")
        self.app.event("app_mention")(self._on_mention)
        self.app.event("message")(self._on_message)
        self.app.event("agent_session_stopped")(self._on_stop)
        self.app.action(re.compile(rf"^{MORE}:"))(self._on_more)

    def close(self) -> None:
        """Stop answering."""
        self._jobs.close()
        self._light.shutdown(cancel_futures=True)

    def _on_mention(self, event: dict[str, Any], context: "BoltContext") -> None:
        self._take(event, context, direct=False)

    def _on_message(self, event: dict[str, Any], context: "BoltContext") -> None:
        if event.get("channel_type") == "im" and event.get("subtype") in SPOKEN and not event.get("bot_id"):
            self._take(event, context, direct=True)

    def _take(self, event: dict[str, Any], context: "BoltContext", *, direct: bool) -> None:
        team, user = context.team_id or "", event.get("user")
        if not user or not self._seen.first((team, event["channel"], event["ts"])):
            return
        question = Question(
            team=team,
            channel=event["channel"],
            ts=event["ts"],
            thread_ts=event.get("thread_ts") or event["ts"],
            user=user,
            text=message_text(event.get("text", ""), context.bot_user_id or ""),
            direct=direct,
        )
        if (why := self._jobs.submit(question)) is not None:
            self._later(self._answerer.refuse, question, why.value)

    def _on_stop(self, event: dict[str, Any]) -> None:
        self._jobs.stop(event["channel"], event.get("thread_ts", ""))

    def _on_more(self, ack: "Ack", action: dict[str, Any], body: dict[str, Any]) -> None:
        ack()
        where, message = body["container"], body["message"]
        try:
            asked = More.read(action["value"])
        except ValueError as error:
            log.warning("%s", error)
            return
        # The second click of a double click, or one of two people at once.
        if self._seen.first((where["channel_id"], message["ts"], asked)):
            thread_ts = message.get("thread_ts") or message["ts"]
            self._later(self._answerer.more, where["channel_id"], message, thread_ts, asked)

    def _later(self, work: Any, *arguments: Any) -> None:
        def report(done: "Future[None]") -> None:
            if not done.cancelled() and (error := done.exception()) is not None:
                log.error("%s failed", getattr(work, "__name__", work), exc_info=error)

        self._light.submit(work, *arguments).add_done_callback(report)
