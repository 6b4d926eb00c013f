"""The commands: settings, dry runs, and what is said when something is missing; and the app's manifest."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import bots
from bots.__main__ import tokens
from bots.ask import main as ask_main
from bots.chat import main as chat_main
from bots.serve.__main__ import main as serve_main
from bots.settings import BotsSettings, Serve
from pipeline.errors import ConfigError
from pipeline.listening import listen
from tests.helpers import run_file

TABLE = "[bots]\nmodel = 'finetune'\nquestion = '富士山とは?'\n"


def test_missing_tokens_are_one_line() -> None:
    with pytest.raises(ConfigError, match=r"SLACK_BOT_TOKEN=xoxb-… and SLACK_APP_TOKEN=xapp-…"):
        tokens({})
    with pytest.raises(ConfigError, match="set SLACK_APP_TOKEN=xapp-…"):
        tokens({"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_APP_TOKEN": "xoxb-2"})
    assert tokens({"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_APP_TOKEN": "xapp-1"}) == ("xoxb-1", "xapp-1")


def test_make_bot_without_tokens_exits_2_at_once(tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    path.write_text(TABLE, "utf-8")
    command = [sys.executable, "-X", "importtime", "-m", "bots", "--run", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": ""}, check=False)
    said = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert done.returncode == 2 and len(said) == 1 and said[0].startswith("error: ConfigError: Slack tokens are missing")
    assert not any(name in done.stderr for name in ("slack_bolt", "torch", "openai"))  # nothing heavy was imported to say so


@pytest.mark.parametrize(("main", "words"), [(ask_main, "富士山とは?"), (chat_main, "対話"), (serve_main, "127.0.0.1:8000")])
def test_dry_run_needs_no_artifact(tmp_path: Path, capsys: pytest.CaptureFixture[str], main: object, words: str) -> None:
    path = tmp_path / "t.toml"
    path.write_text(TABLE, "utf-8")
    assert callable(main)
    main(["--run", str(path), "--dry-run"])
    assert words in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("temprature = 1", "did you mean 'temperature'"),
        ("temperature = 9.0", "temperature must be"),
        ("top_p = 0.0", "top_p above 0"),
        ("hits = 0", "hits 1..20"),
        ("model = 'gpt'", "expected one of"),
        ("serve = {port = 99999}", "port must be"),
        ("slack = {workers = 0}", "workers must be"),
    ],
)
def test_bad_settings_are_named(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        run_file(tmp_path, f"[bots]\n{line}\n").settings("bots", BotsSettings)


def test_taken_port_is_one_line() -> None:
    host = Serve().host
    with listen(host, 0, "bots.serve") as first, pytest.raises(ConfigError, match=r"--set bots\.serve\.port"):
        listen(host, first.getsockname()[1], "bots.serve")


def test_manifest_has_what_the_app_uses() -> None:
    manifest = json.loads((Path(bots.__file__).parent / "slack-manifest.json").read_text("utf-8"))
    settings = manifest["settings"]
    assert settings["socket_mode_enabled"] and settings["interactivity"]["is_enabled"]
    assert set(settings["event_subscriptions"]["bot_events"]) == {"app_mention", "message.im", "agent_session_stopped"}
    scopes = set(manifest["oauth_config"]["scopes"]["bot"])
    assert {"app_mentions:read", "im:history", "chat:write", "channels:history", "assistant:write"} <= scopes
    assert manifest["features"]["agent_view"]["agent_description"]
