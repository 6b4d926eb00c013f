"""Our server, spoken to by the unmodified openai client."""

import http.client
import json
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest

from bots.serve.__main__ import Server, api_key
from bots.serve.engine import Engine, Finished, GenerationJob, TextDelta, TextStream
from bots.serve.prompt import Prompter
from bots.serve.request import ApiError
from bots.settings import Serve
from pipeline.errors import ConfigError
from tests.bots.conftest import CONTEXT

ASK: list[Any] = [{"role": "user", "content": "あなたは誰ですか。"}]


@pytest.fixture(scope="module")
def client(base_url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
        yield client


def streamed(client: openai.OpenAI, **options: Any) -> tuple[str, str | None]:
    text, reason = "", None
    for chunk in client.chat.completions.create(model="tiny", messages=ASK, stream=True, **options):
        if chunk.choices:
            text += chunk.choices[0].delta.content or ""
            reason = chunk.choices[0].finish_reason or reason
    return text, reason


def whole(client: openai.OpenAI, **options: Any) -> str:
    answer = client.chat.completions.create(model="tiny", messages=ASK, **options)
    return answer.choices[0].message.content or ""


def test_greedy_equals_transformers(client: openai.OpenAI, engine: Engine) -> None:
    import torch

    prompt = torch.tensor([Prompter(engine.tokenizer, chat=True).encode([("user", ASK[0]["content"])])])
    model = engine._model
    made = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=40, do_sample=False)
    truth = engine.tokenizer.decode(made[0, prompt.shape[1] :], skip_special_tokens=True)
    text, reason = streamed(client, max_tokens=40, temperature=0)
    assert text == truth and reason == "length"
    answer = client.chat.completions.create(model="tiny", messages=ASK, max_tokens=40, temperature=0)
    assert answer.choices[0].message.content == truth
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (prompt.shape[1], 40)


def test_sampling_is_honoured_per_request(client: openai.OpenAI) -> None:
    first = whole(client, max_tokens=20, temperature=1.5, seed=1)
    assert whole(client, max_tokens=20, temperature=1.5, seed=1) == first
    assert whole(client, max_tokens=20, temperature=1.5, seed=2) != first
    greedy = whole(client, max_tokens=20, temperature=0)
    assert greedy != first
    assert whole(client, max_tokens=20, temperature=1.5, top_p=1e-6, seed=3) == greedy  # only the likeliest token is left
    long = whole(client, max_tokens=60, temperature=0)  # an untrained model soon repeats itself
    assert whole(client, max_tokens=60, temperature=0, extra_body={"repetition_penalty": 5.0}) != long


def test_stop_string_ends_the_answer_and_is_left_out(client: openai.OpenAI) -> None:
    full = whole(client, max_tokens=40, temperature=0)
    stop = full[len(full) // 2 : len(full) // 2 + 3]
    expected = full[: full.index(stop)]
    assert streamed(client, max_tokens=40, temperature=0, stop=[stop]) == (expected, "stop")
    assert whole(client, max_tokens=40, temperature=0, stop=stop) == expected


def test_usage_is_streamed_when_asked(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="tiny", messages=ASK, stream=True, max_tokens=3, temperature=0, stream_options={"include_usage": True}
    )
    last = list(stream)[-1]
    assert last.choices == [] and last.usage is not None and last.usage.completion_tokens == 3


def test_overlong_prompt_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=f"maximum context length is {CONTEXT}") as caught:
        client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "長い文。" * 200}])
    assert caught.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError, match="maximum context length"):
        client.chat.completions.create(model="tiny", messages=ASK, max_tokens=CONTEXT)


def test_answer_without_max_tokens_fills_the_context(client: openai.OpenAI) -> None:
    usage = client.chat.completions.create(model="tiny", messages=ASK, temperature=0).usage
    assert usage is not None and usage.total_tokens == CONTEXT


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n": 2}, "n=2"),
        ({"temperature": 3.0}, "temperature=3.0"),
        ({"top_p": -1.0}, "top_p"),
        ({"max_tokens": 0}, "max_tokens=0"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"logprobs": True}, "logprobs"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "robot"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "text parts"),
    ],
)
def test_what_it_cannot_do_is_refused(client: openai.OpenAI, options: dict[str, Any], words: str) -> None:
    with pytest.raises(openai.BadRequestError, match=words):
        client.chat.completions.create(**{"model": "tiny", "messages": ASK, **options})


def test_unknown_model_and_model_list(client: openai.OpenAI) -> None:
    assert [m.id for m in client.models.list()] == ["tiny"]
    with pytest.raises(openai.NotFoundError, match="this server has 'tiny'"):
        client.chat.completions.create(model="gpt-4", messages=ASK)


def post(base_url: str, body: bytes, content_type: str = "application/json") -> tuple[int, bytes]:
    where = urlsplit(base_url)
    assert where.hostname
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=30)
    connection.request("POST", "/v1/chat/completions", body, {"Content-Type": content_type})
    answer = connection.getresponse()
    got = answer.status, answer.read()
    connection.close()
    return got


def test_wire_format(base_url: str) -> None:
    body = json.dumps({"model": "tiny", "messages": ASK, "stream": True, "max_tokens": 2}).encode()
    status, got = post(base_url, body)
    events = got.decode().strip().split("\n\n")
    assert status == 200 and events[-1] == "data: [DONE]" and all(e.startswith("data: ") for e in events)
    assert json.loads(events[0][6:])["choices"][0]["delta"]["role"] == "assistant"
    assert post(base_url, b"{", "application/json")[0] == 400
    assert post(base_url, body, "text/plain")[0] == 415  # what another site's page could send without a preflight


def test_queue_is_bounded_and_cancelled_jobs_end_early(engine: Engine) -> None:
    from bots.serve.request import Sampling

    begun, ended = threading.Event(), threading.Event()
    pieces: list[TextDelta | Finished | Exception] = []

    def slow(item: TextDelta | Finished | Exception) -> None:
        pieces.append(item)
        begun.set()
        if isinstance(item, Finished):
            ended.set()
        elif len(pieces) == 1:
            go_on.wait(30)

    go_on = threading.Event()
    prompt = [5, 6, 7]
    running = GenerationJob(prompt, Sampling(temperature=0), 100, slow)
    engine.submit(running)
    assert begun.wait(30)
    others = [GenerationJob(prompt, Sampling(temperature=0), 100, lambda _: None) for _ in range(3)]
    for job in others:
        engine.submit(job)
        job.cancelled.set()
    with pytest.raises(ApiError, match="3 requests wait already") as caught:
        engine.submit(running)
    assert caught.value.status == 429
    running.cancelled.set()
    go_on.set()
    assert ended.wait(30)
    last = pieces[-1]
    assert isinstance(last, Finished) and last.tokens < 100


def test_a_failing_generation_is_told_and_the_next_one_works(
    client: openai.OpenAI, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("out of memory in /secret/place")

    with monkeypatch.context() as patch:
        patch.setattr(engine._model, "generate", broken)
        with pytest.raises(openai.InternalServerError, match="the generation failed") as caught:
            whole(client, max_tokens=2)
        assert "secret" not in str(caught.value)
        with pytest.raises(openai.APIError, match="the generation failed"):
            streamed(client, max_tokens=2)
    assert whole(client, max_tokens=2, temperature=0)


def test_key_is_needed_off_loopback(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from starlette.testclient import TestClient

    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert api_key(Serve()) is None
    with pytest.raises(ConfigError, match="not loopback"):
        api_key(Serve(host="0.0.0.0"))
    monkeypatch.setenv("OPENAI_API_KEY", "sesame")
    key = api_key(Serve(host="0.0.0.0"))
    with TestClient(Server("tiny", engine, Prompter(engine.tokenizer, chat=True), key).app()) as web:
        assert web.get("/v1/models").status_code == 401
        assert web.get("/v1/models", headers={"Authorization": "Bearer wrong"}).status_code == 401
        assert web.get("/v1/models", headers={"Authorization": "Bearer sesame"}).status_code == 200


@pytest.mark.parametrize("step", [1, 2, 3])
def test_text_stream_gives_whole_characters_and_no_stop(step: int) -> None:
    data = "雪国😀であった。終わり".encode()

    def decode(ids: list[int]) -> str:
        return bytes(ids).decode("utf-8", "replace")

    stream = TextStream(decode, ["。終", "。続"])
    pieces = [stream.put(list(data[i : i + step])) for i in range(0, len(data), step)] + [stream.end()]
    assert "".join(pieces) == "雪国😀であった" and not any("\ufffd" in p for p in pieces) and stream.stopped
    unstopped = TextStream(decode, ["。続"])
    pieces = [unstopped.put(list(data[i : i + step])) for i in range(0, len(data), step)] + [unstopped.end()]
    assert "".join(pieces) == data.decode()
