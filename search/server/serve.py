"""Serve the index over HTTP: on loopback to anybody there, elsewhere to those who send the token in MINAMOTO_SEARCH_TOKEN."""

import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline import cli
from pipeline.errors import ConfigError
from pipeline.listening import LOOPBACK, listen
from pipeline.progress import echo

if TYPE_CHECKING:
    from search.server.guard import Guard

TOKEN = "MINAMOTO_SEARCH_TOKEN"
SHUTDOWN_SECONDS = 3


@dataclass(frozen=True)
class SearchSettings:
    """`[search]`: where the index is served."""

    host: str = "127.0.0.1"
    port: int = 8010

    def __post_init__(self) -> None:
        if not 0 <= self.port < 1 << 16:
            raise ValueError(f"port must be 0..65535, found {self.port}")


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until stopped."""
    arguments = cli.stage_parser("search.server.serve", __doc__ or "").parse_args(argv)
    run = cli.open_run(arguments)
    settings = run.settings("search", SearchSettings) if run.has("search") else SearchSettings()
    if arguments.dry_run:
        echo(f"検索のサーバー: {run.root('index')} を http://{settings.host}:{settings.port}/v1 で公開します")
        return
    token = read_token(settings)
    from search.searcher import Searcher
    from search.server.api import make_app

    app = make_app(Searcher.open(run), token, frozenset(LOOPBACK) if settings.host in LOOPBACK else frozenset())
    with listen(settings.host, settings.port, "search") as listener:
        echo(f"検索のサーバー: http://{settings.host}:{listener.getsockname()[1]}/v1  Ctrl-C で終了します")
        _serve(app, listener)


def read_token(settings: SearchSettings) -> str | None:
    """The token that callers must send: none on loopback.

    Raises: ConfigError if the host is not loopback and there is no token.
    """
    if settings.host in LOOPBACK:
        return None
    if token := os.environ.get(TOKEN):
        return token
    raise ConfigError(f"[search] host {settings.host!r} is not loopback: set a token for callers in {TOKEN}")


def _serve(app: "Guard", listener: socket.socket) -> None:
    import uvicorn

    config = uvicorn.Config(app, log_level="warning", lifespan="off", timeout_graceful_shutdown=SHUTDOWN_SECONDS)
    with suppress(KeyboardInterrupt):  # uvicorn ends in good order, then raises what it was ended with
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    cli.stage_main(main)
