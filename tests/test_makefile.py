"""What is typed after `make` reaches the command as typed: quotes, dollars and back-quotes mean nothing to a shell."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ODD = 'it\'s `id` "x" $(id) $(shell touch {trap}) ${HOME} %, ; true \\ #'


def words(*arguments: str, environment: dict[str, str] | None = None) -> list[str]:
    """The words of the command that a verb runs."""
    command = ["make", "-s", "-o", ".venv/ready", "-o", ".venv/ready-dev", "PY=printf '%s\\0'", *arguments]
    environment = {k: v for k, v in os.environ.items() if k not in ("DOC", "URL", "HOST", "SET", "DATA", "RUN")} | (
        environment or {}
    )
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=environment)
    return done.stdout.split("\0")[:-1]


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
        ("search", "MODE", ["-m", "search", "--run", "demo", "--mode", ODD]),
        ("ask", "Q", ["-m", "bots.ask", "--run", "demo", "--question", ODD]),
        ("batch", "ITER", ["-m", "pretrain.order", "--run", "demo", "--iteration", ODD]),
        ("corpus", "DATA", ["-m", "corpus", "--run", "demo", "--data", ODD]),
        ("bench-search", "DATA", ["-m", "benchmarks.search", "--data", ODD]),
        ("index-add", "FROM", ["-m", "search.index.add", "--run", "demo", "--from", ODD]),
        ("report", "RUN", ["-m", "corpus.report", "--run", ODD]),
        ("clean", "RUN", ["-m", "pipeline.clean", "--run", ODD]),
        ("clean-corpus", "RUN", ["-m", "pipeline.clean", "--run", ODD, "--stage", "corpus"]),
        ("tokenizer-report", "WITH", ["-m", "tokenizer.report", "--run", "demo", "--with", ODD]),
        ("tokenizer-report", "TEXT", ["-m", "tokenizer.report", "--run", "demo", "--text", ODD]),
    ],
)
@pytest.mark.parametrize("more", ["", "\n二行目\t\n"])
def test_a_variable_is_one_word_as_typed(verb: str, variable: str, expected: list[str], more: str, tmp_path: Path) -> None:
    typed = ODD.format(trap=tmp_path / "ran", HOME="{HOME}") + more
    assert words(verb, f"{variable}={typed}") == [typed if word == ODD else word for word in expected]
    assert not list(tmp_path.iterdir()), "nothing in a variable runs"


@pytest.mark.parametrize(
    ("verb", "variable", "head", "option"),
    [
        ("corpus", "SET", ["-m", "corpus", "--run", "demo"], "--set"),
        ("bench-corpus", "ONLY", ["-m", "benchmarks.corpus", "--only"], ""),
    ],
)
def test_a_list_is_its_words_as_typed(verb: str, variable: str, head: list[str], option: str, tmp_path: Path) -> None:
    typed = f'a.b="1" it\'s,$(shell touch {tmp_path}/ran) `id`\n;c'
    expected = [part for word in typed.split() for part in ([option, word] if option else [word])]
    assert words(verb, f"{variable}={typed}") == head + expected
    assert not list(tmp_path.iterdir())


def test_variables_that_no_verb_has_do_not_run_either(tmp_path: Path) -> None:
    assert words("report", f"OTHER=$(shell touch {tmp_path}/ran)", f"JSON=$(shell touch {tmp_path}/ran)")[:2] == [
        "-m",
        "corpus.report",
    ]
    assert not list(tmp_path.iterdir())


def test_an_empty_run_stays_empty() -> None:
    assert words("clean", "RUN=") == words("clean", environment={"RUN": ""}) == ["-m", "pipeline.clean", "--run", ""]


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
