"""A stand-in for Slack on loopback: Web API and Socket Mode over real sockets, and the people who use it.

`api_url` goes where https://slack.com/api/ was; nothing else of the app changes. Not here: scopes, modals, OAuth.
Rules, limits and error codes follow docs.slack.dev; faults can be ordered for any method.
"""

import asyncio
import json
import secrets
import threading
import time
from collections import defaultdict, deque
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from tests.fakes.slack_blocks import SlackError
from tests.fakes.slack_socket import Delivery, SocketMode
from tests.fakes.slack_web import WebApi
from tests.fakes.slack_workspace import APP, BOT_USER, TEAM, Call, Message, Workspace

JSON_ARGUMENTS = ("blocks", "chunks", "metadata")


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request."""

    status: int = 200
    retry_after: int = 1
    error: str = ""  # `ok: false` with this code
    drop: bool = False  # the connection is cut instead of an answer
    done: bool = False  # with `status` or `drop`: only the answer is lost, the work is done


class FakeSlack:
    """A workspace with its servers in a thread; use as a context manager."""

    def __init__(self) -> None:
        self.workspace = Workspace()
        self.socket = SocketMode(self.workspace)
        self.web = WebApi(self.workspace, self._echo, self._socket_url)
        self.deliveries: list[Delivery] = []
        self._faults: dict[str, deque[Fault]] = defaultdict(deque)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="slack", daemon=True)
        self._port = 0

    @property
    def api_url(self) -> str:
        """For WebClient(base_url=…)."""
        return f"http://127.0.0.1:{self._port}/api/"

    def __enter__(self) -> "FakeSlack":
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def calm(self) -> None:
        """Back to a workspace that behaves: no faults, no lost acks, no requests left."""
        self._faults.clear()
        self.web.forget_rates()
        self.web.stream_seconds, self.web.stream_bytes = 300.0, 10_600
        self.socket.ack_seconds, self.socket.retry_seconds = 3.0, (0.0, 60.0, 300.0)
        self.socket.lose_ack = lambda payload: False
        self.workspace.calls.clear()
        self.workspace.ephemeral.clear()

    def order(self, method: str, fault: Fault, times: int = 1) -> None:
        """The next requests of a method go wrong."""
        self._faults[method].extend([fault] * times)

    def say(self, user: str, channel: str, text: str, *, mention: bool = False, thread_ts: str | None = None) -> Message:
        """A person writes; Slack escapes the text, stores it and tells the app: a mention in a channel causes two events."""
        escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        written = f"<@{BOT_USER}> {escaped}" if mention else escaped
        message = self.workspace.store(channel, user=user, text=written, thread_ts=thread_ts)
        event = {**message, "event_ts": message["ts"], "channel_type": self.workspace.channels[channel].kind}
        self._deliver("events_api", _callback(event))
        if mention and not self.workspace.channels[channel].direct:
            self._deliver("events_api", _callback({**event, "type": "app_mention"}))
        return message

    def click(self, user: str, message: Message, action_id: str) -> Delivery:
        """A person presses a button of a message."""
        pressed = [e for b in message.get("blocks", []) for e in b.get("elements", []) if e.get("action_id") == action_id]
        assert pressed, f"no button {action_id}"
        channel, name = message["channel"], self.workspace.channels[message["channel"]].name
        container = {"type": "message", "message_ts": message["ts"], "channel_id": channel, "is_ephemeral": False}
        payload = {
            "type": "block_actions",
            "user": {"id": user, "team_id": TEAM},
            "api_app_id": APP,
            "container": container,
            "trigger_id": "1.2.3",
            "team": {"id": TEAM, "domain": "fake"},
            "channel": {"id": channel, "name": name or "directmessage"},
            "message": json.loads(json.dumps(message)),
            "actions": [{**pressed[0], "block_id": "b", "action_ts": self.workspace.ts()}],
        }
        return self._deliver("interactive", payload)

    def press_stop(self, user: str, channel: str, thread_ts: str) -> None:
        """A person presses Slack's own stop button: Slack ends the streams of the thread and tells the app."""
        rows = self.workspace.replies(channel, thread_ts)
        running = [m["ts"] for m in rows if m["ts"] in self.workspace.streams and self.workspace.streams[m["ts"]].open]
        for ts in running:
            self.workspace.streams[ts].open = False
        event = {"type": "agent_session_stopped", "channel": channel, "thread_ts": thread_ts, "user": user}
        self._deliver("events_api", _callback({**event, "streaming_message_ts": running, "event_ts": self.workspace.ts()}))

    def refresh(self) -> None:
        """Slack asks the app to connect anew."""
        asyncio.run_coroutine_threadsafe(self.socket.disconnect("refresh_requested"), self._loop).result(10)

    def _echo(self, message: Message) -> None:
        """Slack sends the bot its own messages too."""
        kind = self.workspace.channels[message["channel"]].kind
        self._deliver("events_api", _callback({**message, "event_ts": message["ts"], "channel_type": kind}))

    def _deliver(self, kind: str, payload: dict[str, Any]) -> Delivery:
        delivery = Delivery(kind, payload)
        self.deliveries.append(delivery)
        asyncio.run_coroutine_threadsafe(self.socket.deliver(delivery), self._loop)
        return delivery

    def _socket_url(self) -> str:
        return f"ws://127.0.0.1:{self._port}/link/?ticket={self.socket.ticket()}&app_id={APP}"

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        """Any request to /api/METHOD, with the fault that was ordered for it."""
        method, arguments, token = await _read(request)
        call = Call(method, arguments)
        self.workspace.calls.append(call)
        fault = self._faults[method].popleft() if self._faults[method] else Fault()
        wait = fault.retry_after if fault.status == 429 else self.web.retry_after(method, arguments)
        headers: dict[str, str] = {}
        if wait is not None:
            headers["Retry-After"] = str(wait)
            call.status, call.response = 429, {"ok": False, "error": "ratelimited"}
        elif fault.error:
            call.response = {"ok": False, "error": fault.error}
        else:
            call.status = fault.status
            call.response = (
                self._do(call, token) if fault.done or fault == Fault() else {"ok": False, "error": "internal_error"}
            )
        self.workspace.note()
        if fault.drop and request.transport:
            request.transport.close()
        return web.json_response(call.response, status=call.status, headers=headers)

    def _do(self, call: Call, token: str | None) -> dict[str, Any]:
        try:
            return self.web.call(call.method, call.arguments, token)
        except SlackError as error:
            return {"ok": False, "error": error.code, **error.extra}

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._begin())
        self._ready.set()
        self._loop.run_forever()

    async def _begin(self) -> None:
        app = web.Application()
        app.router.add_post("/api/{method}", self._answer)
        app.router.add_get("/link/", self.socket.connect)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def _end(self) -> None:
        await self.socket.close()
        await self._runner.cleanup()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


async def _read(request: web.Request) -> tuple[str, dict[str, Any], str | None]:
    """Method, arguments and token of a request, whichever way slack_sdk sends them."""
    body = await request.text()
    is_json = request.content_type == "application/json"
    arguments: dict[str, Any] = json.loads(body or "{}") if is_json else dict(parse_qsl(body))
    for name in JSON_ARGUMENTS:
        if isinstance(arguments.get(name), str):
            arguments[name] = json.loads(arguments[name])
    bearer = request.headers.get("Authorization", "")
    token = bearer[7:] if bearer.startswith("Bearer ") else arguments.pop("token", None)
    return request.match_info["method"], arguments, token


def _callback(event: dict[str, Any]) -> dict[str, Any]:
    """An event in the envelope of the Events API."""
    return {
        "team_id": TEAM,
        "api_app_id": APP,
        "event": event,
        "type": "event_callback",
        "event_id": f"Ev{secrets.token_hex(5).upper()}",
        "event_time": int(time.time()),
        "authorizations": [{"enterprise_id": None, "team_id": TEAM, "user_id": BOT_USER, "is_bot": True}],
        "is_ext_shared_channel": False,
    }
