"""The OpenAI chat API as our server speaks it: what a request may say, and the bodies of answers and errors.

Source: https://platform.openai.com/docs/api-reference/chat. A parameter that would change the answer and that the
server cannot honour is refused, never ignored.
"""

import time
import uuid
from dataclasses import dataclass
from typing import Any

# OpenAI allows four stop strings; a longer one than this is no stop mark but a mistake.
MAX_STOPS, MAX_STOP = 4, 200
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
# Parameters that change the answer, with the only value that we honour.
ONLY = {
    "n": 1,
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "logit_bias": {},
    "logprobs": False,
    "tools": [],
    "response_format": {"type": "text"},
}


class ApiError(Exception):
    """An answer other than 200, in OpenAI's shape."""

    def __init__(self, status: int, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param

    def body(self) -> dict[str, Any]:
        """The error as the openai client reads it."""
        kind = {401: "authentication_error", 429: "rate_limit_error"}.get(self.status, "invalid_request_error")
        kind = "server_error" if self.status >= 500 else kind
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


@dataclass(frozen=True)
class Sampling:
    """How to choose tokens, and when to stop."""

    max_tokens: int | None = None  # None: as far as the context reaches
    temperature: float = 1.0  # 0: greedy
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class ChatRequest:
    """A checked request."""

    model: str
    messages: tuple[tuple[str, str], ...]  # (role, text)
    sampling: Sampling
    stream: bool
    include_usage: bool


def parse(body: Any) -> ChatRequest:
    """Check the JSON body of POST /v1/chat/completions.

    Raises: ApiError 400 naming the parameter.
    """
    if not isinstance(body, dict):
        raise ApiError(400, "the request body must be a JSON object")
    for name, value in ONLY.items():
        if body.get(name) not in (None, value):
            raise ApiError(400, f"{name}={body[name]!r} is not supported; leave it out or set it to {value!r}", param=name)
    sampling = Sampling(
        max_tokens=_number(
            body, "max_completion_tokens" if body.get("max_completion_tokens") else "max_tokens", int, 1, 1 << 20
        ),
        temperature=_number(body=body, name="temperature", kind=float, low=0, high=2, default=1.0),
        top_p=_number(body=body, name="top_p", kind=float, low=0, high=1, default=1.0),
        repetition_penalty=_number(body=body, name="repetition_penalty", kind=float, low=0.01, high=10, default=1.0),
        seed=_number(body, "seed", int, -(1 << 63), (1 << 63) - 1),
        stop=_stops(body.get("stop")),
    )
    options = body.get("stream_options") or {}
    if not isinstance(options, dict):
        raise ApiError(400, "stream_options must be an object", param="stream_options")
    model = body.get("model")
    if not isinstance(model, str):
        raise ApiError(400, "model must be a string", param="model")
    return ChatRequest(
        model, _messages(body.get("messages")), sampling, body.get("stream") is True, options.get("include_usage") is True
    )


def _number(body: dict[str, Any], name: str, kind: type, low: float, high: float, default: Any = None) -> Any:
    value = body.get(name)
    if value is None:
        return default
    right_type = type(value) is int or (kind is float and type(value) is float)
    if not right_type or not low <= value <= high:  # NaN compares false
        raise ApiError(400, f"{name}={value!r}: expected {kind.__name__} between {low} and {high}", param=name)
    return kind(value)


def _stops(value: Any) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else value or []
    good = isinstance(stops, list) and all(isinstance(s, str) and 0 < len(s) <= MAX_STOP for s in stops)
    if not good or len(stops) > MAX_STOPS:
        raise ApiError(400, f"stop: expected up to {MAX_STOPS} strings of 1..{MAX_STOP} characters", param="stop")
    return tuple(stops)


def _messages(value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, list) or not value:
        raise ApiError(400, "messages: expected a list of at least one message", param="messages")
    rows = []
    for i, message in enumerate(value):
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ROLES:
            raise ApiError(400, f"messages[{i}].role={role!r}: expected one of {sorted(ROLES)}", param=f"messages[{i}].role")
        rows.append((ROLES[role], _content(message.get("content"), f"messages[{i}].content")))
    return tuple(rows)


def _content(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(
        isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str) for part in value
    ):
        return "".join(part["text"] for part in value)
    raise ApiError(400, f"{where}: expected a string or a list of text parts", param=where)


class Reply:
    """Bodies of one answer, whole or in chunks."""

    def __init__(self, model: str, prompt_tokens: int) -> None:
        self._common = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}
        self._prompt_tokens = prompt_tokens

    def whole(self, text: str, reason: str, tokens: int) -> dict[str, Any]:
        """A `chat.completion`."""
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason, "logprobs": None}
        return {**self._common, "object": "chat.completion", "choices": [choice], "usage": self._usage(tokens)}

    def chunk(self, delta: dict[str, str], reason: str | None = None) -> dict[str, Any]:
        """A `chat.completion.chunk`."""
        choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
        return {**self._common, "object": "chat.completion.chunk", "choices": [choice]}

    def usage_chunk(self, tokens: int) -> dict[str, Any]:
        """The chunk without choices that `stream_options.include_usage` asks for."""
        return {**self._common, "object": "chat.completion.chunk", "choices": [], "usage": self._usage(tokens)}

    def _usage(self, tokens: int) -> dict[str, int]:
        prompt = self._prompt_tokens
        return {"prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens}
