"""Socket Mode of the fake Slack: single-use tickets, hello, pings, acks that are awaited, events that are sent again."""

import asyncio
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from tests.fakes.slack_workspace import APP, Workspace

MAX_CONNECTIONS, PING_SECONDS = 10, 10.0


@dataclass
class Attempt:
    """One sending of an envelope; `ack` is the seconds until its acknowledgement."""

    ack: float | None = None
    reason: str = ""


@dataclass
class Delivery:
    """An event or a click on its way to the app."""

    kind: str
    payload: dict[str, Any]
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def acked(self) -> bool:
        """Whether the last attempt was acknowledged."""
        return bool(self.attempts) and self.attempts[-1].ack is not None


class SocketMode:
    """The websocket side."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.connections: dict[str, web.WebSocketResponse] = {}
        self.ack_seconds = 3.0
        self.retry_seconds: tuple[float, ...] = (
            0.0,
            60.0,
            300.0,
        )  # after a lost ack Slack sends an event again: at once, in 1 and in 5 minutes
        self.lose_ack: Callable[[dict[str, Any]], bool] = lambda payload: False
        self._tickets: set[str] = set()
        self._pending: dict[str, tuple[asyncio.Future[float], dict[str, Any]]] = {}

    def ticket(self) -> str:
        """A ticket for one connection."""
        ticket = secrets.token_hex(8)
        self._tickets.add(ticket)
        return ticket

    async def connect(self, request: web.Request) -> web.StreamResponse:
        """GET /link/: one connection, until either side ends it."""
        ticket = request.query.get("ticket", "")
        if ticket not in self._tickets:
            return web.json_response({"ok": False, "error": "invalid_ticket"}, status=401)
        self._tickets.discard(ticket)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        if len(self.connections) >= MAX_CONNECTIONS:
            await socket.send_json({"type": "disconnect", "reason": "too_many_websockets"})
            await socket.close()
            return socket
        name = secrets.token_hex(4)
        self.connections[name] = socket
        hello = {"type": "hello", "num_connections": len(self.connections), "connection_info": {"app_id": APP}}
        await socket.send_json(hello)
        self.workspace.note()
        pings = asyncio.ensure_future(_ping(socket))
        try:
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    self._ack(message.json())
        finally:
            pings.cancel()
            self.connections.pop(name, None)
            self.workspace.note()
        return socket

    async def disconnect(self, reason: str) -> None:
        """Ask every connection to come back on a new one, as Slack does every few hours."""
        for socket in list(self.connections.values()):
            await socket.send_json({"type": "disconnect", "reason": reason})

    async def close(self) -> None:
        """End every connection."""
        for socket in list(self.connections.values()):
            await socket.close()

    async def deliver(self, delivery: Delivery) -> None:
        """Send until it is acknowledged; clicks are sent only once."""
        waits = (0.0, *self.retry_seconds) if delivery.kind == "events_api" else (0.0,)
        for number, seconds in enumerate(waits):
            await asyncio.sleep(seconds)
            before = delivery.attempts[-1].reason if delivery.attempts else ""
            attempt = Attempt()
            delivery.attempts.append(attempt)
            await self._send(delivery, attempt, number, before)
            self.workspace.note()
            if attempt.ack is not None:
                return

    async def _send(self, delivery: Delivery, attempt: Attempt, number: int, before: str) -> None:
        live = [socket for socket in self.connections.values() if not socket.closed]
        if not live:
            attempt.reason = "no_connection"
            return
        name = secrets.token_hex(16)
        envelope: dict[str, Any] = {
            "envelope_id": name,
            "payload": delivery.payload,
            "type": delivery.kind,
            "accepts_response_payload": delivery.kind != "events_api",
        }
        if delivery.kind == "events_api":
            envelope |= {"retry_attempt": number, "retry_reason": before}
        acked: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._pending[name] = (acked, delivery.payload)
        began = time.monotonic()
        try:
            await random.choice(live).send_json(envelope)
            attempt.ack = await asyncio.wait_for(acked, self.ack_seconds) - began
        except (TimeoutError, ConnectionError):
            attempt.reason = "timeout"
        finally:
            self._pending.pop(name, None)

    def _ack(self, message: dict[str, Any]) -> None:
        acked, payload = self._pending.get(message.get("envelope_id", ""), (None, {}))
        if acked and not acked.done() and not self.lose_ack(payload):
            acked.set_result(time.monotonic())


async def _ping(socket: web.WebSocketResponse) -> None:
    while not socket.closed:
        await asyncio.sleep(PING_SECONDS)
        await socket.ping()
