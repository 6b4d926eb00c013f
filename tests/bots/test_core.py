"""The core against a server over HTTP: streaming, history that grows too long, and everything that can go wrong."""

import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from bots.core import AnswerTimeout, Core, ModelBusy, ModelDown, ModelError, QuestionTooLong
from tests.bots.helpers.fakes import FakeSearcher, fake_core
from tests.fakes.openai import FakeOpenAI


@pytest.fixture
def server() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as server:
        yield server


def ask(core: Core, *texts: str) -> str:
    """One conversation: user and assistant take turns."""
    roles = ("user", "assistant")
    return "".join(core.chat([{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]))


def test_streams_and_sends_the_settings(server: FakeOpenAI) -> None:
    server.answer = lambda messages: ["雪国", "で", "あった。"]
    core = fake_core(server.base_url, system="日本語で。", max_tokens=7, temperature=0.5, seed=3, repetition_penalty=1.1)
    assert list(core.chat([{"role": "user", "content": "続きは?"}])) == ["雪国", "で", "あった。"]
    sent = server.requests[0]
    assert sent["messages"] == [{"role": "system", "content": "日本語で。"}, {"role": "user", "content": "続きは?"}]
    assert {k: sent[k] for k in ("model", "max_tokens", "temperature", "seed", "repetition_penalty", "stream")} == {
        "model": "fake", "max_tokens": 7, "temperature": 0.5, "seed": 3, "repetition_penalty": 1.1, "stream": True,
    }  # fmt: skip


def test_plain_openai_gets_no_parameter_of_others(server: FakeOpenAI) -> None:
    ask(fake_core(server.base_url), "はい?")
    assert not {"repetition_penalty", "seed"} & server.requests[0].keys()


def test_oldest_turns_are_left_out_of_a_long_conversation(server: FakeOpenAI) -> None:
    server.longest = 25
    assert ask(fake_core(server.base_url), "あ" * 10, "い" * 10, "う" * 10, "え" * 5, "お" * 10) == "はい。"
    assert [m["content"][0] for m in server.requests[0]["messages"]] == ["う", "え", "お"]


def test_question_that_is_too_long_by_itself(server: FakeOpenAI) -> None:
    server.longest = 25
    with pytest.raises(QuestionTooLong) as caught:
        ask(fake_core(server.base_url), "あ", "い", "う" * 30)
    assert "長すぎ" in caught.value.sentence


def test_passing_trouble_is_tried_again(server: FakeOpenAI) -> None:
    server.refusals.extend([503, 429])
    assert ask(fake_core(server.base_url), "はい?") == "はい。"


@pytest.mark.parametrize(("status", "error"), [(429, ModelBusy), (500, ModelError), (401, ModelError), (400, ModelError)])
def test_lasting_trouble_is_named(server: FakeOpenAI, status: int, error: type[ModelError]) -> None:
    server.refusals.extend([status] * 3)
    with pytest.raises(error):
        ask(fake_core(server.base_url), "はい?")


def test_server_that_is_down() -> None:
    with FakeOpenAI() as server:
        core = fake_core(server.base_url)
    with pytest.raises(ModelDown) as caught:
        ask(core, "はい?")
    assert "つながりません" in caught.value.sentence


def test_server_that_dies_in_the_middle(server: FakeOpenAI) -> None:
    server.answer = lambda messages: ["途中", "\0"]
    got: list[str] = []
    with pytest.raises(ModelDown):
        for piece in fake_core(server.base_url).chat([{"role": "user", "content": "?"}]):
            got.append(piece)
    assert got == ["途中"]


def test_silent_server_meets_the_deadline(server: FakeOpenAI) -> None:
    def slow(messages: Any) -> Iterable[str]:
        yield "えー"
        time.sleep(3)

    server.answer = slow
    with pytest.raises(AnswerTimeout):
        ask(fake_core(server.base_url, deadline_seconds=0.5), "?")


def test_endless_server_meets_the_deadline(server: FakeOpenAI) -> None:
    def endless(messages: Any) -> Iterable[str]:
        while True:
            yield "あ"
            time.sleep(0.02)

    server.answer = endless
    with pytest.raises(AnswerTimeout):
        ask(fake_core(server.base_url, deadline_seconds=0.5), "?")


def test_evidence_searches_the_answer_and_else_the_question(server: FakeOpenAI) -> None:
    searcher = FakeSearcher()
    core = fake_core(server.base_url, searcher, hits=2)
    found = core.evidence(" 雪国であった。\n", "続きは?")
    assert [len(page.hits) for _, page in found.pages()] == [2, 2] and found.query == "雪国であった。"
    assert core.evidence(" \n", "続きは?").query == "続きは?"
    assert [(query, mode) for query, mode, _ in searcher.asked[:2]] == [
        ("雪国であった。", "vector"),
        ("雪国であった。", "ngram"),
    ]
