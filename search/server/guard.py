"""What is refused before a request is parsed: foreign hosts, callers without the token, large bodies, broken UTF-8."""

import json
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
# Bytes of a body: the longest text of a trace as JSON escapes, six bytes a UTF-16 unit, and its options.
MAX_BODY = 2 * 6 * 100_000 + 1000


@dataclass(frozen=True)
class Guard:
    """An ASGI application around another one.

    A browser that was led to a name which resolves to loopback sends that name as Host: `hosts` keeps it out.
    HEAD is answered as GET without the body (RFC 9110 §9.3.2).
    """

    app: App
    token: str | None = None  # what callers must send as bearer token; None: nothing is asked
    hosts: frozenset[str] = frozenset()  # names in the Host header that are served; empty: any

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        if refusal := self._refusal(scope, headers):
            await _send_answer(send, *refusal)
            return
        body = _Body(receive)
        is_head = scope["method"] == "HEAD"
        await self.app(
            {**scope, "method": "GET"} if is_head else scope, body.receive, body.answers(send, with_body=not is_head)
        )
        if body.is_too_long:
            await _send_answer(send, 413, f"the body is longer than {MAX_BODY:,} bytes")

    def _refusal(self, scope: Scope, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        """Status and reason, None for a request that is served."""
        if self.hosts and _host_name(headers.get(b"host", b"")) not in self.hosts:
            return 421, f"this server answers for {', '.join(sorted(self.hosts))}"
        if self.token is not None and not self._is_allowed(headers.get(b"authorization", b"")):
            return 401, "send the token as `Authorization: Bearer …`"
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > MAX_BODY:
            return 413, f"the body is longer than {MAX_BODY:,} bytes"
        try:
            unquote_to_bytes(scope["query_string"].replace(b"+", b" ")).decode()
            unquote_to_bytes(scope.get("raw_path") or b"").decode()
        except UnicodeDecodeError as error:
            return 422, f"the address is not UTF-8: {error.reason} at byte {error.start}"
        return None

    def _is_allowed(self, authorization: bytes) -> bool:
        kind, _, given = authorization.partition(b" ")
        return kind.lower() == b"bearer" and secrets.compare_digest(given.strip(), (self.token or "").encode())


class _Body:
    """Counts a body while it comes; to the application one that is too long looks like a caller who went away."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._bytes = receive, 0

    @property
    def is_too_long(self) -> bool:
        return self._bytes > MAX_BODY

    async def receive(self) -> Message:
        message = await self._receive()
        self._bytes += len(message.get("body", b""))
        return {"type": "http.disconnect"} if self.is_too_long else message

    def answers(self, send: Send, *, with_body: bool) -> Send:
        """Hand the answer on, without its body for HEAD; what is said of a body that is too long is dropped."""

        async def send_on(message: Message) -> None:
            if self.is_too_long:
                return
            if message["type"] == "http.response.body" and not with_body:
                message = {**message, "body": b""}
            await send(message)

        return send_on


def _host_name(host: bytes) -> str:
    """The name in a Host header, without its port."""
    name = host.decode("latin-1").lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0]


async def _send_answer(send: Send, status: int, detail: str) -> None:
    body = json.dumps({"detail": detail}, ensure_ascii=False).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
