"""What is typed after `make` reaches the command as typed: quotes, dollars and back-quotes mean nothing to a shell."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ODD = 'it\'s `id` "x" $(id) ; true'


def words(*arguments: str, environment: dict[str, str] | None = None) -> list[str]:
    """The words of the command that a verb runs."""
    command = ["make", "-s", "-o", ".venv/ready", "-o", ".venv/ready-dev", "PY=printf '%s\\n'", *arguments]
    environment = {k: v for k, v in os.environ.items() if k not in ("DOC", "URL", "HOST", "SET", "DATA", "RUN")} | (
        environment or {}
    )
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=environment)
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("verb", "variable", "expected"),
    [
        ("explain", "DOC", ["-m", "corpus.audit.explain", "--run", "demo", "--doc", ODD]),
        ("retune", "SET", ["-m", "corpus.audit.retune", "--run", "demo", "--set", ODD]),
        ("holders", "DOC", ["-m", "corpus.audit.holders", "--doc", ODD]),
        ("holders", "URL", ["-m", "corpus.audit.holders", "--url", ODD]),
        ("holders", "HOST", ["-m", "corpus.audit.holders", "--host", ODD]),
        ("search", "Q", ["-m", "search", "--run", "demo", "--query", ODD]),
        ("trace", "TEXT", ["-m", "search.commands.trace", "--run", "demo", "--text", ODD]),
        ("trace", "FILE", ["-m", "search.commands.trace", "--run", "demo", "--file", ODD]),
        ("exposure", "Q", ["-m", "search.commands.exposure", "--run", "demo", "--query", ODD]),
        ("contamination", "BENCH", ["-m", "search.commands.contamination", "--run", "demo", "--bench", ODD]),
        ("report", "RUN", ["-m", "corpus.report", "--run", ODD]),
        ("tokenizer-report", "WITH", ["-m", "tokenizer.report", "--run", "demo", "--with", ODD]),
        ("tokenizer-report", "TEXT", ["-m", "tokenizer.report", "--run", "demo", "--text", ODD]),
    ],
)
def test_a_variable_is_one_word_as_typed(verb: str, variable: str, expected: list[str]) -> None:
    assert words(verb, f"{variable}={ODD}") == expected


def test_the_environment_names_no_host() -> None:
    found = words("holders", "DOC=abc", environment={"HOST": "workstation", "URL": "x"})
    assert found == ["-m", "corpus.audit.holders", "--doc", "abc"]


def test_every_verb_is_listed_and_no_file() -> None:
    text = (ROOT / "Makefile").read_text("utf-8")
    phony = next(line for line in text.splitlines() if line.startswith(".PHONY:")).split()[1:]
    helped = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    listed = {line.split()[0] for line in helped.splitlines()}
    plain = {name for name in phony if "$" not in name and not name.endswith(")")}
    assert {"explain", "retune", "report", "tokenizer-report", "holders", "bench-corpus"} <= plain
    assert plain <= listed
