"""The one core of every front end: stream an answer, search the training data.

The model is always spoken to through the OpenAI API, whoever serves it.
"""

import os
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from bots.serve.child import OwnServer
from bots.settings import BotsSettings
from pipeline.errors import ConfigError, ExternalServiceError
from pipeline.runfile import RunFile
from search.hits import Mode, Page

if TYPE_CHECKING:
    from openai import OpenAI

    from search.searcher import Searcher

Message = Mapping[str, str]  # {"role": "system" | "user" | "assistant", "content": text}

# A server that does not even accept a connection this long is down; answers have their own deadline.
CONNECT_SECONDS = 5.0
# The openai client waits 0.5 s, then 1 s, or what Retry-After says, between tries.
TRIES_AGAIN = 2
# What openai (error code) and vLLM (message) say when a conversation is longer than the context.
TOO_LONG_CODE, TOO_LONG_WORDS = "context_length_exceeded", "maximum context length"


class ModelError(ExternalServiceError):
    """The model did not (wholly) answer; `sentence` says so to the person who asked, without internals."""

    sentence = "申し訳ありません。回答を作れませんでした。しばらくしてから、もう一度お試しください。"


class ModelDown(ModelError):
    """The server is out of reach, or ended in the middle of an answer."""

    sentence = "申し訳ありません。ただいまモデルのサーバーにつながりません。しばらくしてから、もう一度お試しください。"


class ModelBusy(ModelError):
    """The server's queue is full."""

    sentence = "申し訳ありません。ただいま混み合っています。少し待ってから、もう一度お試しください。"


class QuestionTooLong(ModelError):
    """Even without the earlier turns the question does not fit into the context."""

    sentence = "申し訳ありません。文章が長すぎて読みきれません。短く分けてお試しください。"


class AnswerTimeout(ModelError):
    """The deadline of one answer has passed."""

    sentence = "申し訳ありません。時間がかかりすぎたため、途中で終わりました。"


@dataclass(frozen=True)
class Evidence:
    """Training data that resembles a text, by both searches."""

    query: str
    vector: Page
    ngram: Page

    def pages(self) -> tuple[tuple[Mode, Page], ...]:
        """Both pages with their modes, in the order that they are shown."""
        return (("vector", self.vector), ("ngram", self.ngram))


class Core:
    """Chat and search of one run; use as a context manager."""

    def __init__(self, settings: BotsSettings, searcher: "Searcher", server: OwnServer | None) -> None:
        self.settings = settings
        self._searcher, self._server = searcher, server
        self._resources = ExitStack()
        self._searching = threading.Lock()  # the index answers in milliseconds; its caches are for one thread
        self._clients: dict[str, tuple[OpenAI, str]] = {}

    @classmethod
    def open(cls, run: RunFile, settings: BotsSettings) -> "Core":
        """Start the model server (or use the one that `[bots] base_url` names) and open the index meanwhile.

        Raises: MissingInput if the index or the model is not made.
        """
        from bots.model import model_folder
        from search.searcher import Searcher

        with ExitStack() as stack:
            server = None
            if not settings.base_url:
                model_folder(run, settings)  # a missing model is said here, in one line, before anything starts
                server = stack.enter_context(OwnServer(run))
            core = cls(settings, Searcher.open(run), server)
            core._resources = stack.pop_all()
            return core

    def __enter__(self) -> "Core":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the model server, where it is ours."""
        self._resources.close()

    def ready(self) -> None:
        """Wait until the model server answers.

        Raises: ModelDown if it does not.
        """
        import openai

        try:
            self._client()
        except openai.APIError as error:
            raise ModelDown(f"model server {self.settings.base_url}: {error.message}") from error

    def chat(self, messages: Sequence[Message]) -> Generator[str, None, None]:
        """Stream the answer to a conversation, piece by piece; closing the iterator stops the model.

        Where the conversation exceeds the model's context, its oldest turns are left out.
        Raises: ModelError when the answer cannot be made, or not to its end; pieces before it stand.
        """
        import openai

        end = time.monotonic() + self.settings.deadline_seconds
        system = [{"role": "system", "content": self.settings.system}] if self.settings.system else []
        turns = list(messages)
        try:
            client, model = self._client()
            while True:
                try:
                    stream = client.chat.completions.create(**self._request(model, [*system, *turns]))
                    break
                except openai.BadRequestError as error:
                    if not _too_long(error):
                        raise
                    turns = _without_oldest(turns)
            with stream:
                yield from _pieces(stream, end)
        except openai.APITimeoutError as error:
            raise AnswerTimeout(f"model server: silent for {self.settings.deadline_seconds:.0f} s") from error
        except openai.APIConnectionError as error:
            raise ModelDown(f"model server {self.settings.base_url or '(own)'}: out of reach: {error.__cause__}") from error
        except openai.RateLimitError as error:
            raise ModelBusy(f"model server: {error.message}") from error
        except openai.APIError as error:
            raise ModelError(f"model server: {error.message}") from error

    def search(self, query: str, mode: Mode, *, offset: int = 0, limit: int | None = None) -> Page:
        """One page of training data for a query; `limit` is `[bots] hits` unless given."""
        with self._searching:
            return self._searcher.search(query, mode, offset=offset, limit=limit or self.settings.hits)

    def evidence(self, answer: str, question: str) -> Evidence:
        """The training data that resembles an answer, or the question where the model said nothing."""
        query = answer.strip() or question.strip()
        return Evidence(query, self.search(query, "vector"), self.search(query, "ngram"))

    def _client(self) -> "tuple[OpenAI, str]":
        """A client of the server as it is now (our own gets a new port when it had to be started again)."""
        import openai

        try:
            base_url = self._server.base_url() if self._server else self.settings.base_url
        except ExternalServiceError as error:
            raise ModelDown(str(error)) from error
        if base_url not in self._clients:
            own: dict[str, Any] = {} if os.environ.get("OPENAI_API_KEY") else {"api_key": "none"}
            if self._server:  # neither the user's real key nor a proxy is any business of our loopback server
                own = {"api_key": "none", "http_client": openai.DefaultHttpxClient(trust_env=False)}
            timeout = openai.Timeout(self.settings.deadline_seconds, connect=CONNECT_SECONDS)
            client = openai.OpenAI(base_url=base_url, timeout=timeout, max_retries=TRIES_AGAIN, **own)
            self._clients[base_url] = (client, self.settings.served_model or _first_model(client))
        return self._clients[base_url]

    def _request(self, model: str, messages: Sequence[Message]) -> dict[str, Any]:
        s = self.settings
        request: dict[str, Any] = {
            "model": model,
            "messages": [dict(m) for m in messages],
            "stream": True,
            "max_tokens": s.max_tokens,
            "temperature": s.temperature,
            "top_p": s.top_p,
        }
        if s.seed is not None:
            request["seed"] = s.seed
        if s.repetition_penalty != 1:
            request["extra_body"] = {"repetition_penalty": s.repetition_penalty}
        return request


def _pieces(stream: Any, end: float) -> Iterator[str]:
    """Text of a stream's chunks, until it says that it is finished."""
    for chunk in stream:
        if time.monotonic() > end:
            raise AnswerTimeout("model server: the answer passed [bots] deadline_seconds")
        choice = chunk.choices[0] if chunk.choices else None
        if choice and choice.delta.content:
            yield choice.delta.content
        if choice and choice.finish_reason:
            return
    raise ModelDown("model server: the stream ended in the middle of an answer")


def _too_long(error: Any) -> bool:
    return error.code == TOO_LONG_CODE or TOO_LONG_WORDS in error.message


def _without_oldest(turns: list[Message]) -> list[Message]:
    """The conversation without its first question and what answered it.

    Raises: QuestionTooLong if only the last question is left.
    """
    later = [i for i, turn in enumerate(turns) if turn["role"] == "user" and i > 0]
    if not later:
        raise QuestionTooLong("model server: the last question alone exceeds the context")
    return turns[later[0] :]


def _first_model(client: "OpenAI") -> str:
    for model in client.models.list():
        return model.id
    raise ConfigError("[bots] base_url: the server lists no model; name one in [bots] served_model")
