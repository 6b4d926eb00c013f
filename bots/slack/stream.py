"""One answer as one or more streamed Slack messages."""

import logging
import time
from collections.abc import Callable

from slack_sdk.errors import SlackApiError

from bots.slack.api import Thread
from bots.slack.text import Defuser, cut

log = logging.getLogger(__name__)
# Slack refuses a stream beyond about 10.6 kB of UTF-8, and ends it about 5 minutes after its start.
MAX_BYTES, MAX_SECONDS = 9_000, 240.0
# A message that is nearly full is closed rather than filled with a few characters more.
SMALLEST_BYTES = 200
# The stream is gone, or full, in Slack's eyes: what follows needs a new message.
CLOSED = ("message_not_in_streaming_state", "msg_too_long", "message_not_found")
# Streaming itself is not possible here: ordinary messages do as well.
FALL_BACK = (
    "method_not_supported_for_channel_type", "unknown_method", "not_allowed", "channel_type_not_supported",
    "missing_recipient_team_id", "missing_recipient_user_id", "feature_not_enabled", "missing_scope",
)  # fmt: skip


class AnswerStream:
    """Collects pieces and sends them on at most every so often; a new message begins before Slack's limits are met."""

    def __init__(
        self,
        thread: Thread,
        *,
        team: str,
        user: str,
        every: float,
        most_seconds: float = MAX_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Args: every: seconds between two sendings."""
        self._thread, self._team, self._user = thread, team, user
        self._every, self._most_seconds, self._clock = every, most_seconds, clock
        self._defuser = Defuser()
        self._waiting = ""
        self._ts: str | None = None  # of the open stream
        self._bytes, self._born, self._sent = 0, 0.0, float("-inf")
        self._streams = True

    def feed(self, piece: str) -> None:
        """Take some text of the model.

        Raises: SlackApiError, OSError if Slack takes it in no way.
        """
        self._waiting += self._defuser.feed(piece)
        if self._waiting.strip() and self._clock() - self._sent >= self._every:
            self._flush()

    def close(self) -> None:
        """Send the rest and close the message."""
        self._waiting += self._defuser.end()
        if self._waiting.strip():
            self._flush(last=True)
        self._close()

    def abandon(self) -> None:
        """Close the message as it is: somebody pressed stop."""
        self._waiting = ""
        self._close()

    def _flush(self, *, last: bool = False) -> None:
        while self._waiting:
            if not self._streams and not last and len(self._waiting.encode()) < MAX_BYTES:
                return  # ordinary messages are few and full
            if self._ts and self._clock() - self._born > self._most_seconds:
                self._close()
            room = MAX_BYTES - self._bytes if self._ts else MAX_BYTES
            if self._ts and room < SMALLEST_BYTES:
                self._close()
                continue
            head, rest = cut(self._waiting, room)
            self._send(head)
            self._waiting = rest
            self._sent = self._clock()
            if rest:
                self._close()

    def _send(self, text: str) -> None:
        if self._ts:
            try:
                self._thread.append_stream(self._ts, text)
            except SlackApiError as error:
                if error.response.get("error") not in CLOSED:
                    raise
                log.info("chat.appendStream: %s; going on in a new message", error.response.get("error"))
                self._ts = None
            else:
                self._bytes += len(text.encode())
                return
        if self._streams:
            try:
                self._ts = self._thread.start_stream(text, team=self._team, user=self._user)
            except SlackApiError as error:
                if error.response.get("error") not in FALL_BACK:
                    raise
                log.info("chat.startStream: %s; posting ordinary messages", error.response.get("error"))
                self._streams = False
            else:
                self._bytes, self._born = len(text.encode()), self._clock()
                return
        self._thread.post_answer(text)

    def _close(self) -> None:
        if self._ts:
            self._thread.stop_stream(self._ts)
            self._ts = None
