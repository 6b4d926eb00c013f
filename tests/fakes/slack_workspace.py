"""The state of a fake Slack workspace: people, channels, messages, open streams, and what was called."""

import itertools
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tests.fakes.slack_blocks import SlackError

BOT_USER, BOT_ID, APP, TEAM = "U0BOT", "B0BOT", "A0APP", "T0TEAM"
BOT_TOKEN, APP_TOKEN = "xoxb-test", "xapp-test"
Message = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Channel:
    """A channel, or a direct message with the bot."""

    name: str
    members: frozenset[str]
    direct: bool = False

    @property
    def kind(self) -> str:
        """As events name it."""
        return "im" if self.direct else "channel"


@dataclass
class Call:
    """One request to the Web API, and what it got."""

    method: str
    arguments: dict[str, Any]
    status: int = 200
    response: dict[str, Any] = field(default_factory=dict)
    at: float = field(default_factory=time.monotonic)


@dataclass
class Stream:
    """A message that is being streamed."""

    born: float
    open: bool = True


class Workspace:
    """Everything that tests look at; shared by the Web API and Socket Mode, guarded by one condition."""

    def __init__(self) -> None:
        members = frozenset({"U1", "U2", BOT_USER})
        self.channels = {
            "C1": Channel("general", members),
            "C9": Channel("elsewhere", frozenset({"U1"})),
            "D1": Channel("", frozenset({"U1", BOT_USER}), direct=True),
        }
        self.messages: dict[str, dict[str, Message]] = defaultdict(dict)
        self.streams: dict[str, Stream] = {}
        self.statuses: dict[tuple[str, str], list[str]] = defaultdict(list)
        self.ephemeral: list[dict[str, Any]] = []
        self.calls: list[Call] = []
        self.changed = threading.Condition()
        self._numbers = itertools.count(1)

    def ts(self) -> str:
        """The next timestamp; unique and ascending."""
        return f"{int(time.time())}.{next(self._numbers):06d}"

    def note(self) -> None:
        """Something changed: wake whoever waits."""
        with self.changed:
            self.changed.notify_all()

    def wait(self, what: Callable[[], T], seconds: float = 30) -> T:
        """The first true value of `what`.

        Raises: AssertionError with the latest calls after `seconds`.
        """
        end = time.monotonic() + seconds
        with self.changed:
            while not (value := what()):
                left = end - time.monotonic()
                latest = [(c.method, c.status, c.response.get("error")) for c in self.calls[-15:]]
                assert left > 0, f"waited {seconds} s in vain; latest calls: {latest}"
                self.changed.wait(min(left, 0.05))
        return value

    def store(self, channel: str, **values: Any) -> Message:
        """Keep a message."""
        known = {key: value for key, value in values.items() if value is not None}
        message = {"type": "message", "ts": self.ts(), "team": TEAM, "channel": channel, **known}
        with self.changed:
            self.messages[channel][message["ts"]] = message
        self.note()
        return message

    def thread(self, channel: str, ts: str) -> list[Message]:
        """A message and its replies, oldest first."""
        with self.changed:
            rows = [m for m in self.messages[channel].values() if ts in (m["ts"], m.get("thread_ts"))]
        return sorted(rows, key=lambda m: m["ts"])

    def replies(self, channel: str, ts: str) -> list[Message]:
        """What the bot wrote in a thread, oldest first."""
        return [m for m in self.thread(channel, ts) if m.get("user") == BOT_USER]

    def reachable(self, channel: str | None) -> str:
        """The channel, if the bot may write there.

        Raises: SlackError channel_not_found, not_in_channel.
        """
        if channel not in self.channels:
            raise SlackError("channel_not_found")
        if BOT_USER not in self.channels[channel].members:
            raise SlackError("not_in_channel")
        return channel
