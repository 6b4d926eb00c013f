"""Our own model server as a child process: started on a free loopback port, gone when we are gone."""

import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType

from pipeline.errors import ExternalServiceError
from pipeline.runfile import RunFile

# Loading torch, transformers and a 10 M model takes 7-20 s on two busy cores; a 13 B model from a slow disk minutes.
START_SECONDS = 600.0
POLL_SECONDS, CLOSE_SECONDS = 0.1, 5.0


class OwnServer:
    """`python -m bots.serve` as a child; use as a context manager.

    The parent binds the port and hands the listening socket down, so no other process can take it in between. The
    child watches its standard input: the kernel closes that pipe when we end in any way, kill -9 included.
    """

    def __init__(self, run: RunFile) -> None:
        self.run = run
        self.log = run.artifacts / "bots" / run.name / "serve.log"
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._ready = False

    def __enter__(self) -> "OwnServer":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Process id of the child, if it runs."""
        return self._child.pid if self._child and self._child.poll() is None else None

    def start(self) -> None:
        """Start the child, or start it again where it has died; returns before it has loaded the model."""
        with self._lock:
            if self.pid is None:
                self._spawn()

    def base_url(self) -> str:
        """`http://127.0.0.1:PORT/v1`, once the model is loaded.

        Raises: ExternalServiceError if the child ends or does not answer in time.
        """
        self.start()
        with self._lock:
            if not self._ready:
                self._wait()
                self._ready = True
            return f"http://127.0.0.1:{self._port}/v1"

    def close(self) -> None:
        """End the child."""
        with self._lock:
            if self._child is None:
                return
            if self._child.stdin:
                self._child.stdin.close()
            try:
                self._child.wait(CLOSE_SECONDS)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
            self._child = None

    def _spawn(self) -> None:
        self._ready = False
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with socket.create_server(("127.0.0.1", 0)) as listener, self.log.open("wb") as log:
            self._port = listener.getsockname()[1]
            self._child = subprocess.Popen(
                [sys.executable, "-m", "bots.serve", *_arguments(self.run), "--listen-fd", str(listener.fileno()), "--child"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=[listener.fileno()],
                start_new_session=True,  # Ctrl-C at the terminal stops an answer, not the model
            )

    def _wait(self) -> None:
        assert self._child is not None
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if (status := self._child.poll()) is not None:
                raise ExternalServiceError(f"model server: ended with status {status} while starting: {_last_line(self.log)}")
            if _healthy(self._port):
                return
            time.sleep(POLL_SECONDS)
        raise ExternalServiceError(f"model server: no answer within {START_SECONDS:.0f} s; see {self.log}")


def _arguments(run: RunFile) -> list[str]:
    """The command line that opens the same run."""
    words = ["--run", str(run.path), "--artifacts", str(run.artifacts)]
    words += [word for override in run.overrides for word in ("--set", override)]
    return [*words, "--data", str(run.data)] if run.data else words


def _healthy(port: int) -> bool:
    # No proxy: an environment with http_proxy set must not send loopback requests away.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/health", timeout=1.0) as answer:
            return answer.status == 200
    except OSError:  # URLError and timeouts: still loading
        return False


def _last_line(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").strip().splitlines()
    return f"{lines[-1]} (all of it: {log})" if lines else f"nothing in {log}"
