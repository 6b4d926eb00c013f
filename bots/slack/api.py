"""Slack's Web API as the answers need it: waits where Slack says 429, and posts once even when Slack's reply is lost.

A request whose reply is lost (connection cut, status 5xx) may have been done. Reading and closing may be repeated; a
post may not, so the thread is read first to see whether it is there.
"""

import logging
import time
import urllib.error
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException
from typing import Any

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_handlers import (
    ConnectionErrorRetryHandler,
    RateLimitErrorRetryHandler,
    ServerErrorRetryHandler,
)

log = logging.getLogger(__name__)
TIMEOUT_SECONDS = 10
# Slack's Retry-After is at most a minute; four waits outlast any burst that the queue lets in.
MAX_WAITS = 4
MAX_TRIES, PAUSE_SECONDS = 3, 0.5
# Marks posts that are no part of the conversation (search results, apologies), so that the history leaves them out.
ASIDE = {"event_type": "minamoto_aside", "event_payload": {}}
# Slack gives at most 1,000 a page; a thread longer than this no context holds anyway.
HISTORY = 200

Block = dict[str, Any]


class ReplyLost(Exception):
    """A request was sent and its reply is lost: it may have been done or not."""


def clients(token: str, api_url: str) -> tuple[WebClient, WebClient]:
    """(for what may be repeated, for posts): both wait when Slack says 429, only the first repeats lost requests."""
    limited = RateLimitErrorRetryHandler(max_retry_count=MAX_WAITS)
    again = [ConnectionErrorRetryHandler(max_retry_count=MAX_TRIES), ServerErrorRetryHandler(max_retry_count=MAX_TRIES)]
    common: dict[str, Any] = {"token": token, "base_url": api_url, "timeout": TIMEOUT_SECONDS}
    return WebClient(**common, retry_handlers=[limited, *again]), WebClient(**common, retry_handlers=[limited])


class Thread:
    """One thread of one channel, as one answer writes into it."""

    def __init__(self, reads: WebClient, posts: WebClient, channel: str, thread_ts: str, bot_user: str) -> None:
        self._reads, self._posts = reads, posts
        self.channel, self.ts, self.bot_user = channel, thread_ts, bot_user
        self._mine: set[str] = set()  # messages this object has made

    def history(self) -> list[dict[str, Any]]:
        """The thread's messages, oldest first.

        Raises: SlackApiError, OSError.
        """
        options: dict[str, Any] = {"limit": HISTORY, "include_all_metadata": True}
        return list(self._reads.conversations_replies(channel=self.channel, ts=self.ts, **options).get("messages") or [])

    def post(self, text: str, blocks: Sequence[Block] | None = None) -> str:
        """Post an aside: what the bot says besides answering.

        Returns: its timestamp.
        """
        return self._once(
            lambda: self._posts.chat_postMessage(
                channel=self.channel,
                thread_ts=self.ts,
                text=text,
                blocks=list(blocks) if blocks else None,
                metadata=ASIDE,
                unfurl_links=False,
                unfurl_media=False,
            ),
            text,
        )

    def post_answer(self, markdown: str) -> str:
        """Post a part of the answer as an ordinary message."""
        return self._once(
            lambda: self._posts.chat_postMessage(
                channel=self.channel, thread_ts=self.ts, markdown_text=markdown, unfurl_links=False, unfurl_media=False
            ),
            markdown,
        )

    def start_stream(self, markdown: str, *, team: str, user: str) -> str:
        """Open a streamed message; channels demand the recipient's team and user."""
        return self._once(
            lambda: self._posts.chat_startStream(
                channel=self.channel,
                thread_ts=self.ts,
                markdown_text=markdown,
                recipient_team_id=team,
                recipient_user_id=user,
            ),
            markdown,
        )

    def append_stream(self, ts: str, markdown: str) -> None:
        """Add to a streamed message."""
        for _ in range(MAX_TRIES):
            try:
                _sent(lambda: self._posts.chat_appendStream(channel=self.channel, ts=ts, markdown_text=markdown))
            except ReplyLost as lost:
                log.warning("chat.appendStream: %s", lost)
                time.sleep(PAUSE_SECONDS)
                if any(m["ts"] == ts and m.get("text", "").endswith(markdown) for m in self.history()):
                    return
            else:
                return
        raise OSError("chat.appendStream: no reply from Slack")

    def stop_stream(self, ts: str) -> None:
        """Close a streamed message; one that Slack has closed already is fine."""
        try:
            self._reads.chat_stopStream(channel=self.channel, ts=ts)
        except SlackApiError as error:
            if error.response.get("error") != "message_not_in_streaming_state":
                raise

    def set_status(self, status: str) -> None:
        """Show "processing" (with Slack's stop button) or "active"; an app that is no agent cannot, and need not."""
        try:
            self._reads.agents_sessions_setStatus(channel_id=self.channel, thread_ts=self.ts, status=status)
        except (SlackApiError, OSError, HTTPException) as error:
            log.debug("agents.sessions.setStatus: %s", error)

    def _once(self, call: Callable[[], Any], text: str) -> str:
        """Make one message and return its timestamp, looking into the thread after a lost reply before trying again."""
        began = time.time()
        for _ in range(MAX_TRIES):
            try:
                ts = str(_sent(call)["ts"])
            except ReplyLost as lost:
                log.warning("post: %s", lost)
                time.sleep(PAUSE_SECONDS)
                result = self._landed(text, began)
                if result is None:
                    continue
                ts = result
            self._mine.add(ts)
            return ts
        raise OSError("post: no reply from Slack")

    def _landed(self, text: str, began: float) -> str | None:
        """The timestamp of our message with that text, if it is in the thread since `began`."""
        for message in reversed(self.history()):
            ours = message.get("user") == self.bot_user and message["ts"] not in self._mine
            # Slack's clock may be a little behind ours.
            if ours and message.get("text", "") == text and float(message["ts"]) >= began - TIMEOUT_SECONDS:
                return str(message["ts"])
        return None


def _sent(call: Callable[[], Any]) -> Mapping[str, Any]:
    """Make a call that must not be repeated blindly.

    Raises: ReplyLost if it may have been done; SlackApiError if Slack refuses it.
    """
    try:
        return call()
    except SlackApiError as error:
        if error.response.status_code >= 500:
            raise ReplyLost(f"status {error.response.status_code}") from error
        raise
    except urllib.error.URLError as error:
        if isinstance(error.reason, ConnectionRefusedError):  # nothing was sent, but later it may be
            raise ReplyLost("connection refused") from error
        raise ReplyLost(str(error.reason)) from error
    except (OSError, HTTPException) as error:  # reset, closed or silent after the request went out
        raise ReplyLost(repr(error)) from error
