"""The Web API methods of the fake Slack: arguments in, the answer's body out, Slack's own errors on misuse."""

import time
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

from tests.fakes.slack_blocks import SlackError, validate
from tests.fakes.slack_workspace import APP, APP_TOKEN, BOT_ID, BOT_TOKEN, BOT_USER, TEAM, Message, Stream, Workspace

Arguments = dict[str, Any]
# Requests allowed in a time, beyond a burst [docs: rate limits]; postMessage counts for each channel by itself.
LIMITS = {
    "chat.postMessage": (1, 1.0, 3),
    "chat.startStream": (20, 60.0, 0),
    "chat.appendStream": (100, 60.0, 0),
    "chat.stopStream": (20, 60.0, 0),
    "chat.update": (50, 60.0, 0),
    "conversations.replies": (50, 60.0, 0),
}
PIECE_CHARACTERS, TEXT_CHARACTERS = 12_000, 40_000


class WebApi:
    """The methods that the app calls; `echo` hears of every message that the bot finishes."""

    def __init__(self, workspace: Workspace, echo: Callable[[Message], None], socket_url: Callable[[], str]) -> None:
        self.workspace, self._echo, self._socket_url = workspace, echo, socket_url
        self.stream_seconds, self.stream_bytes = 300.0, 10_600
        self._recent: dict[tuple[str, str], deque[float]] = defaultdict(deque)
        self._methods: dict[str, Callable[[Arguments], dict[str, Any]]] = {
            "auth.test": self._auth_test,
            "apps.connections.open": lambda _: {"url": self._socket_url()},
            "chat.postMessage": self._post,
            "chat.postEphemeral": self._post_ephemeral,
            "chat.update": self._update,
            "chat.startStream": self._start_stream,
            "chat.appendStream": self._append_stream,
            "chat.stopStream": self._stop_stream,
            "conversations.replies": self._replies,
            "agents.sessions.setStatus": self._set_status,
        }

    def forget_rates(self) -> None:
        """A new test begins with no requests left."""
        self._recent.clear()

    def call(self, method: str, arguments: Arguments, token: str | None) -> dict[str, Any]:
        """Do what a request asks.

        Raises: SlackError.
        """
        if not token:
            raise SlackError("not_authed")
        wanted = APP_TOKEN if method == "apps.connections.open" else BOT_TOKEN
        if token != wanted:
            raise SlackError("not_allowed_token_type" if token in (APP_TOKEN, BOT_TOKEN) else "invalid_auth")
        if method not in self._methods:
            raise SlackError("unknown_method", req_method=method)
        return {"ok": True, **self._methods[method](arguments)}

    def retry_after(self, method: str, arguments: Arguments) -> int | None:
        """Seconds to wait where a method was called too often, else None."""
        if method not in LIMITS:
            return None
        most, seconds, burst = LIMITS[method]
        recent = self._recent[method, arguments.get("channel", "") if method == "chat.postMessage" else ""]
        now = time.monotonic()
        while recent and recent[0] < now - seconds:
            recent.popleft()
        if len(recent) >= most + burst:
            return max(1, int(recent[0] + seconds - now + 0.999))
        recent.append(now)
        return None

    def _auth_test(self, arguments: Arguments) -> dict[str, Any]:
        return {
            "url": "https://fake.slack.com/",
            "team": "Fake",
            "user": "bot",
            "team_id": TEAM,
            "user_id": BOT_USER,
            "bot_id": BOT_ID,
            "is_enterprise_install": False,
        }

    def _post(self, arguments: Arguments) -> dict[str, Any]:
        channel, text = self.workspace.reachable(arguments.get("channel")), _content(arguments)
        thread_ts = arguments.get("thread_ts")
        if thread_ts and thread_ts not in self.workspace.messages[channel]:
            raise SlackError("thread_not_found")
        kept = {name: arguments.get(name) for name in ("blocks", "metadata")}
        message = self.workspace.store(channel, **_author(), **kept, text=text, thread_ts=thread_ts)
        self._echo(message)
        return {"channel": channel, "ts": message["ts"], "message": message}

    def _post_ephemeral(self, arguments: Arguments) -> dict[str, Any]:
        channel = self.workspace.reachable(arguments.get("channel"))
        if arguments.get("user") not in self.workspace.channels[channel].members:
            raise SlackError("user_not_in_channel")
        _content(arguments)
        self.workspace.ephemeral.append(arguments)
        return {"message_ts": self.workspace.ts()}

    def _own(self, arguments: Arguments) -> tuple[str, Message]:
        channel = self.workspace.reachable(arguments.get("channel"))
        message = self.workspace.messages[channel].get(arguments.get("ts", ""))
        if message is None:
            raise SlackError("message_not_found")
        if message.get("user") != BOT_USER:
            raise SlackError("cant_update_message")
        return channel, message

    def _update(self, arguments: Arguments) -> dict[str, Any]:
        channel, message = self._own(arguments)
        text = _content(arguments)
        stream = self.workspace.streams.get(message["ts"])
        if stream and stream.open:
            raise SlackError("streaming_state_conflict")
        message.update(text=text, blocks=arguments.get("blocks"), edited={"user": BOT_USER, "ts": self.workspace.ts()})
        return {"channel": channel, "ts": message["ts"], "text": text}

    def _start_stream(self, arguments: Arguments) -> dict[str, Any]:
        channel = self.workspace.reachable(arguments.get("channel"))
        if arguments.get("thread_ts") not in self.workspace.messages[channel]:
            raise SlackError("thread_not_found" if arguments.get("thread_ts") else "invalid_arguments")
        if not self.workspace.channels[channel].direct:
            for name in ("recipient_team_id", "recipient_user_id"):
                if not arguments.get(name):
                    raise SlackError(f"missing_{name}")
        text = self._piece(arguments, "")
        message = self.workspace.store(channel, **_author(), text=text, thread_ts=arguments["thread_ts"])
        self.workspace.streams[message["ts"]] = Stream(time.monotonic())
        return {"channel": channel, "ts": message["ts"]}

    def _append_stream(self, arguments: Arguments) -> dict[str, Any]:
        channel, message, _ = self._streaming(arguments)
        return {"channel": channel, "ts": message["ts"]}

    def _stop_stream(self, arguments: Arguments) -> dict[str, Any]:
        channel, message, stream = self._streaming(arguments)
        if arguments.get("blocks"):
            message["blocks"] = validate(arguments["blocks"])
        stream.open = False
        self._echo(message)
        return {"channel": channel, "ts": message["ts"], "message": message}

    def _streaming(self, arguments: Arguments) -> tuple[str, Message, Stream]:
        """The open stream that a request names, with its text appended."""
        channel, message = self._own(arguments)
        stream = self.workspace.streams.get(message["ts"])
        if not stream or not stream.open or time.monotonic() - stream.born > self.stream_seconds:
            if stream:
                stream.open = False
            raise SlackError("message_not_in_streaming_state")
        message["text"] += self._piece(arguments, message["text"])
        return channel, message, stream

    def _piece(self, arguments: Arguments, before: str) -> str:
        chunks = arguments.get("chunks") or []
        texts = [arguments.get("markdown_text") or "", *(c["text"] for c in chunks if c["type"] == "markdown_text")]
        text = "".join(texts)
        if any(len(t) > PIECE_CHARACTERS for t in texts) or len((before + text).encode()) > self.stream_bytes:
            raise SlackError("msg_too_long")
        return text

    def _replies(self, arguments: Arguments) -> dict[str, Any]:
        channel = self.workspace.reachable(arguments.get("channel"))
        rows = self.workspace.thread(channel, arguments["ts"])
        if not rows:
            raise SlackError("thread_not_found")
        limit = int(arguments.get("limit", 1_000))
        whole = str(arguments.get("include_all_metadata", "")).lower() in ("1", "true")
        rows = [m if whole else {k: v for k, v in m.items() if k != "metadata"} for m in rows]
        return {"messages": rows[:limit], "has_more": len(rows) > limit}

    def _set_status(self, arguments: Arguments) -> dict[str, Any]:
        if arguments.get("status") not in ("processing", "active", "suspended", "closed"):
            raise SlackError("invalid_arguments")
        self.workspace.statuses[arguments["channel_id"], arguments["thread_ts"]].append(arguments["status"])
        return {"status": arguments["status"]}


def _author() -> dict[str, str]:
    return {"user": BOT_USER, "bot_id": BOT_ID, "app_id": APP}


def _content(arguments: Arguments) -> str:
    """The text of a post, checked."""
    if arguments.get("blocks"):
        validate(arguments["blocks"])
    if arguments.get("markdown_text") and (arguments.get("text") or arguments.get("blocks")):
        raise SlackError("markdown_text_conflict")
    text = arguments.get("text") or arguments.get("markdown_text") or ""
    if not text and not arguments.get("blocks"):
        raise SlackError("no_text")
    if len(text) > TEXT_CHARACTERS:
        raise SlackError("msg_too_long")
    return text
