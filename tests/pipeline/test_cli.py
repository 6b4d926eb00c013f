"""How a command ends: one line for what a user can fix, whatever is in it."""

import subprocess
import sys

import pytest

from pipeline import cli
from pipeline.errors import BadInput
from pipeline.progress import echo

HOSTILE = "a\x1b[2J\u202egnp.exe\r\nerror: forged\ud800"


def test_an_error_is_one_line_whatever_it_names(capfd: pytest.CaptureFixture[str]) -> None:
    def main(_: object) -> None:
        raise BadInput(f"{HOSTILE}: not a file")

    with pytest.raises(SystemExit) as ended:
        cli.stage_main(main)
    shown = capfd.readouterr().err
    assert ended.value.code == cli.USER_ERROR
    assert shown.startswith("error: BadInput: a\ufffd[2J\ufffdgnp.exe") and shown.count("\n") == 1
    assert not {"\x1b", "\u202e", "\r"} & set(shown)


def test_a_full_disk_is_one_line() -> None:
    code = (
        "from pipeline import cli\n"
        "def main(_): open('/dev/full', 'w').write('x' * 100_000)\n"
        "cli.stage_main(main)\n"
    )  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == cli.USER_ERROR and done.stderr.count("\n") == 1
    assert "DiskFull" in done.stderr and "no space left" in done.stderr


def test_messages_keep_their_lines_and_lose_what_controls_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    echo("一行目\n\u202e二行目\x07")
    assert capsys.readouterr().out == "一行目\n\ufffd二行目\ufffd\n"
