"""A stand-in for an OpenAI-compatible model server on loopback, whose answers and failures a test decides."""

import json
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

CONTEXT_ERROR = {
    "error": {
        "message": "This model's maximum context length is 64 tokens; shorten the messages",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "context_length_exceeded",
    }
}


class FakeOpenAI:
    """Serves /v1/models and streamed /v1/chat/completions; use as a context manager.

    `answer` maps the messages of a request to the pieces that are streamed. A piece "\\0" cuts the connection.
    """

    def __init__(self, answer: Callable[[list[dict[str, str]]], Iterable[str]] | None = None) -> None:
        self.answer = answer or (lambda messages: ["はい。"])
        self.requests: list[dict[str, Any]] = []  # bodies of the chat requests that were answered
        self.refusals: deque[int] = deque()  # statuses for the next chat requests
        self.longest = 10_000  # characters of all messages; a longer conversation is refused as vLLM does
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.base_url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> "FakeOpenAI":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, fake: FakeOpenAI) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fake = fake

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Callers that hang up are part of the tests; anything else is a bug of this file and is shown."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.reply(200, {"object": "list", "data": [{"id": "fake", "object": "model", "created": 0, "owned_by": "t"}]})

    def do_POST(self) -> None:
        assert isinstance(self.server, _Server)
        fake = self.server.fake
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if fake.refusals:
            self.reply(fake.refusals.popleft(), {"error": {"message": "refused", "type": "x", "code": None}})
        elif sum(len(m["content"]) for m in body["messages"]) > fake.longest:
            self.reply(400, CONTEXT_ERROR)
        else:
            fake.requests.append(body)
            self.stream(fake.answer(body["messages"]))

    def reply(self, status: int, value: dict[str, Any]) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(data)

    def stream(self, pieces: Iterable[str]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for piece in pieces:
                if piece == "\0":
                    self.close_connection = True
                    self.connection.close()
                    return
                self.event({"delta": {"content": piece}, "finish_reason": None})
            self.event({"delta": {}, "finish_reason": "stop"})
            self.chunk("data: [DONE]\n\n")
            self.chunk("")
        except OSError:  # the caller went away, as one that pressed stop does
            self.close_connection = True

    def event(self, choice: dict[str, Any]) -> None:
        body = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "fake"}
        self.chunk(f"data: {json.dumps(body | {'choices': [{'index': 0} | choice]})}\n\n")

    def chunk(self, text: str) -> None:
        data = text.encode()
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""
