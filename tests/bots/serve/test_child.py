"""Our server as a child process: it answers, comes back after a crash, and ends with its parent."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from bots.core import Core
from bots.serve.child import OwnServer
from bots.settings import BotsSettings
from pipeline.errors import ExternalServiceError, MissingInput
from pipeline.runfile import RunFile
from tests.bots.helpers.fakes import FakeSearcher
from tests.helpers import run_file


def soon(what: Callable[[], bool], seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(0.05)
    return what()


def test_child_serves_restarts_and_ends(tiny_run: RunFile) -> None:
    settings = tiny_run.settings("bots", BotsSettings)
    with OwnServer(tiny_run) as server:
        core = Core(settings, cast(Any, FakeSearcher()), server)
        messages = [{"role": "user", "content": "あなたは誰ですか。"}]
        assert "".join(core.chat(messages))
        pid = server.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert soon(lambda: server.pid is None)
        server.start()  # as the next chat would
        assert server.pid not in (None, pid)
        pid = server.pid
    assert pid is not None and not psutil.pid_exists(pid)


def test_child_dies_with_its_killed_parent(tiny_run: RunFile) -> None:
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from bots.serve.child import OwnServer\n"
        "from pipeline.runfile import RunFile\n"
        f"run = RunFile('t', Path({str(tiny_run.path)!r}), {{}}, (), Path({str(tiny_run.artifacts)!r}), None)\n"
        "server = OwnServer(run)\n"
        "server.start()\n"
        "print(server.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert psutil.pid_exists(child)
        parent.kill()
    assert soon(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)


def test_child_that_cannot_start_says_why(tmp_path: Path) -> None:
    run = run_file(tmp_path, "[bots]\nmodel = 'lora'\n")
    with OwnServer(run) as server, pytest.raises(ExternalServiceError, match="no sealed lora artifact"):
        server.base_url()


def test_missing_model_is_one_line_before_anything_starts(tmp_path: Path) -> None:
    run = run_file(tmp_path, "[bots]\n")
    with pytest.raises(MissingInput, match="make finetune"):
        Core.open(run, replace(BotsSettings()))
