"""A small OpenAI-compatible server of one run's model: /v1/models, /v1/chat/completions (streamed or whole), /health.

For a laptop and for tests; vLLM is the server for many users ([bots] base_url names it).
"""

import asyncio
import json
import os
import secrets
import socket
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bots.model import model_folder
from bots.serve.engine import Engine, Finished, GenerationJob, TextDelta
from bots.serve.prompt import Prompter
from bots.serve.request import ApiError, ChatRequest, Reply, parse
from bots.settings import BotsSettings, Serve
from pipeline import cli
from pipeline.errors import ConfigError
from pipeline.listening import LOOPBACK, listen
from pipeline.progress import echo

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

# A conversation of a 128 k-token context is below 1 MB; more is a mistake or an attack.
MAX_BODY = 4 << 20
RETRY_AFTER_SECONDS = 2
# How often a waiting answer looks whether its client is still there.
LOOK_SECONDS = 0.5


class Server:
    """The handlers, around one engine."""

    def __init__(self, name: str, engine: Engine, prompter: Prompter, key: str | None = None) -> None:
        """Args: key: what callers must send as bearer token; None: nothing is asked."""
        self.name, self.engine, self.prompter, self._key = name, engine, prompter, key

    def app(self) -> "Starlette":
        """The ASGI application."""
        from starlette.applications import Starlette
        from starlette.requests import Request
        from starlette.responses import JSONResponse, Response
        from starlette.routing import Route

        async def refuse(request: Request, error: Exception) -> Response:
            assert isinstance(error, ApiError)
            headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if error.status == 429 else None
            return JSONResponse(error.body(), error.status, headers)

        return Starlette(
            routes=[
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
                Route("/v1/models", self.models),
                Route("/health", self.health),
            ],
            exception_handlers={ApiError: refuse},
        )

    async def health(self, request: "Request") -> "Response":
        """Answered only once the model is loaded."""
        from starlette.responses import JSONResponse

        return JSONResponse({"status": "ok", "waiting": self.engine.waiting})

    async def models(self, request: "Request") -> "Response":
        """The one model, with its context length as vLLM tells it."""
        from starlette.responses import JSONResponse

        self._check_key(request)
        row = {"id": self.name, "object": "model", "created": 0, "owned_by": "minamoto", "max_model_len": self.engine.context}
        return JSONResponse({"object": "list", "data": [row]})

    async def chat(self, request: "Request") -> "Response":
        """POST /v1/chat/completions."""
        from starlette.responses import JSONResponse, StreamingResponse

        self._check_key(request)
        asked = parse(await _json(request))
        if asked.model != self.name:
            raise ApiError(404, f"model {asked.model!r}: this server has {self.name!r}", code="model_not_found", param="model")
        prompt = self.prompter.encode(asked.messages)
        room = self.engine.room(len(prompt), asked.sampling.max_tokens)
        inbox: asyncio.Queue[TextDelta | Finished | Exception] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def emit(item: TextDelta | Finished | Exception) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(inbox.put_nowait, item)

        job = GenerationJob(prompt, asked.sampling, room, emit)
        self.engine.submit(job)
        reply = Reply(self.name, len(prompt))
        if asked.stream:
            return StreamingResponse(_events(asked, reply, job, inbox), media_type="text/event-stream")
        text, finished = await _whole(request, job, inbox)
        return JSONResponse(reply.whole(text, finished.reason, finished.tokens))

    def _check_key(self, request: "Request") -> None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self._key is not None and not secrets.compare_digest(given.encode(), self._key.encode()):
            raise ApiError(401, "missing or wrong API key", code="invalid_api_key")


async def _json(request: "Request") -> Any:
    # A web page elsewhere may post text/plain to loopback without asking; application/json it may not.
    if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
        raise ApiError(415, "Content-Type must be application/json")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise ApiError(413, f"the request body is larger than {MAX_BODY} bytes")
    try:
        return json.loads(body)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ApiError(400, f"the request body is not JSON: {error}") from error


async def _events(
    asked: ChatRequest, reply: Reply, job: GenerationJob, inbox: "asyncio.Queue[TextDelta | Finished | Exception]"
) -> AsyncIterator[str]:
    """Server-sent events of a streamed answer; a client that goes away stops the model."""

    def event(value: dict[str, Any]) -> str:
        return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"

    try:
        yield event(reply.chunk({"role": "assistant", "content": ""}))
        while isinstance(item := await inbox.get(), TextDelta):
            yield event(reply.chunk({"content": item.text}))
        if isinstance(item, Finished):
            yield event(reply.chunk({}, item.reason))
            if asked.include_usage:
                yield event(reply.usage_chunk(item.tokens))
        else:
            yield event(ApiError(500, "the generation failed").body())
        yield "data: [DONE]\n\n"
    finally:
        job.cancelled.set()


async def _whole(
    request: "Request", job: GenerationJob, inbox: "asyncio.Queue[TextDelta | Finished | Exception]"
) -> tuple[str, Finished]:
    parts: list[str] = []
    while True:
        try:
            item = await asyncio.wait_for(inbox.get(), LOOK_SECONDS)
        except TimeoutError:
            if await request.is_disconnected():
                job.cancelled.set()
            continue
        if isinstance(item, TextDelta):
            parts.append(item.text)
        elif isinstance(item, Finished):
            return "".join(parts), item
        else:
            raise ApiError(500, "the generation failed") from item


def api_key(settings: Serve) -> str | None:
    """The key that callers must send: none on loopback, OPENAI_API_KEY elsewhere.

    Raises: ConfigError if the host is not loopback and there is no key.
    """
    if settings.host in LOOPBACK:
        return None
    if key := os.environ.get("OPENAI_API_KEY"):
        return key
    raise ConfigError(f"[bots.serve] host {settings.host!r} is not loopback: set a key for callers in OPENAI_API_KEY")


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until stopped."""
    parser = cli.stage_parser("bots.serve", __doc__ or "")
    parser.add_argument("--listen-fd", type=int, help="a socket that listens already (given by `bots.serve.child`)")
    parser.add_argument("--child", action="store_true", help="end when standard input ends")
    arguments = parser.parse_args(argv)
    run = cli.open_run(arguments)
    settings = run.settings("bots", BotsSettings)
    if arguments.dry_run:
        echo(f"モデルのサーバー: {settings.model} を http://{settings.serve.host}:{settings.serve.port}/v1 で公開します")
        return
    if arguments.child:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    folder = model_folder(run, settings)
    key = None if arguments.child else api_key(settings.serve)
    host, port = settings.serve.host, settings.serve.port
    listener = socket.socket(fileno=arguments.listen_fd) if arguments.child else listen(host, port, "bots.serve")
    engine = Engine.load(folder, threads=settings.serve.threads, waiting=settings.serve.waiting)
    prompter = Prompter(engine.tokenizer, chat=settings.model != "pretrain")
    server = Server(f"{run.name}-{settings.model}", engine, prompter, key)
    if not arguments.child:
        echo(f"モデルのサーバー: http://{settings.serve.host}:{listener.getsockname()[1]}/v1  Ctrl-C で終了します")
    try:
        _serve(server.app(), listener)
    finally:
        engine.close()


def _serve(app: "Starlette", listener: socket.socket) -> None:
    import uvicorn

    config = uvicorn.Config(app, log_level="warning", lifespan="off", timeout_graceful_shutdown=3)
    with suppress(KeyboardInterrupt):  # uvicorn ends in good order, then raises what it was ended with
        uvicorn.Server(config).run(sockets=[listener])


def _end_with_parent() -> None:
    """The other end of our standard input is the parent: end of file means that it is gone."""
    while os.read(sys.stdin.fileno(), 1):  # not sys.stdin.read: its lock would be missed when we end by ourselves
        pass
    os._exit(0)


if __name__ == "__main__":
    cli.stage_main(main)
