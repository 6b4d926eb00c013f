"""The HTTP API over a real socket: the same answers as the Searcher's."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
import uvicorn

from pipeline.errors import ConfigError
from pipeline.listening import listen
from search.provenance.exposure import measure_exposure
from search.provenance.trace import TraceSettings, trace_text
from search.searcher import Searcher
from search.server import serve
from search.server.api import make_app
from search.server.serve import SearchSettings, read_token
from tests.search.helpers.world import World
from tests.search.test_searcher import QUERIES, occurrences


@contextmanager
def serving(searcher: Searcher, token: str | None = None, hosts: frozenset[str] = frozenset()) -> Iterator[str]:
    with listen("127.0.0.1", 0, "search") as listener:
        server = uvicorn.Server(uvicorn.Config(make_app(searcher, token, hosts), log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def url(searcher: Searcher) -> Iterator[str]:
    with serving(searcher) as found:
        yield found


def get(url: str, path: str, status: int = 200, **query: Any) -> Any:
    answer = requests.get(url + path, params=query, timeout=30)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_answers_are_the_searchers(url: str, searcher: Searcher, world: World) -> None:
    whole = [row["text"] for row in world.rows()]
    for query in QUERIES:
        for mode in ("ngram", "vector"):
            assert get(url, "/v1/search", q=query, mode=mode, offset=1, limit=3) == (
                searcher.search(query, mode, offset=1, limit=3).as_dict()  # type: ignore[arg-type]
            )
        folded = query.replace("か\u3099", "が")
        counts = [len(occurrences(text, folded)) for text in whole]
        found = get(url, "/v1/count", q=query)
        assert (found["occurrences"], found["documents"]) == (sum(counts), sum(count > 0 for count in counts))
        assert found["index"] == searcher.texts.digest
        behind = get(url, "/v1/next", q=query)
        assert behind["total"] == sum(counts) == sum(count for _, count in behind["next"])
        assert [count for _, count in behind["next"]] == sorted((count for _, count in behind["next"]), reverse=True)


def test_a_hit_was_seen_by_a_checkpoint_or_not(url: str, searcher: Searcher, world: World) -> None:
    plain = searcher.search("源氏物語", "ngram", limit=100).hits
    for checkpoint in (0, world.total // 2, world.total):
        hits = get(url, "/v1/search", q="源氏物語", limit=100, checkpoint=checkpoint)["hits"]
        assert [hit["seen"] for hit in hits] == [any(i <= checkpoint for i in hit.iterations) for hit in plain]


def test_a_document_and_the_index(url: str, searcher: Searcher, world: World) -> None:
    row = world.rows()[2]
    found = get(url, f"/v1/documents/{row['doc_id']}")
    assert tuple(found["iterations"]) == world.iterations(row, 0, len(row["text"]))
    assert (found["url"], found["title"], found["source"]) == (row["url"], row["title"], row["source"])
    assert "no such document" in get(url, "/v1/documents/" + "0" * 32, 404)["detail"]
    about = get(url, "/v1/index")
    assert about["documents"] == len(world.rows()) and about["searched_bytes"] == searcher.texts.searched_bytes
    assert (about["index"], about["total_iterations"]) == (searcher.texts.digest, world.total)


def test_traces_and_exposures_are_those_of_the_api(url: str, searcher: Searcher, world: World) -> None:
    text = "源氏物語の作者は第7章はaだけの文である。と思う"
    answer = requests.post(f"{url}/v1/trace", json={"text": text, "min_chars": 5, "documents": 2}, timeout=30)
    expected = trace_text(searcher, text, TraceSettings(min_chars=5, documents=2))
    assert answer.json() == json.loads(json.dumps(expected.as_dict()))
    assert "第7章はaだけの文である。" in {span["text"] for span in answer.json()["spans"]}
    found = get(url, "/v1/exposure", q="源氏物語", buckets=5)
    assert found == json.loads(json.dumps(measure_exposure(searcher, "源氏物語", buckets=5).as_dict()))
    for bad in ({}, {"text": ""}, {"text": "あ", "min_chars": 0}, {"text": "あ", "least": 5}, {"text": "あ" * 100_001}):
        assert requests.post(f"{url}/v1/trace", json=bad, timeout=30).status_code == 422


def test_absence_is_an_answer(url: str, searcher: Searcher) -> None:
    found = get(url, "/v1/search", q="鱻麤龘")
    assert (found["total"], found["searched_bytes"], found["index"]) == (
        0,
        searcher.texts.searched_bytes,
        searcher.texts.digest,
    )


@pytest.mark.parametrize(
    "query",
    [{}, {"q": ""}, {"q": " "}, {"q": "あ", "mode": "fuzzy"}, {"q": "あ", "limit": 0}, {"q": "あ", "limit": 10**6},
     {"q": "あ", "offset": -1}, {"q": "あ", "offset": "x"}, {"q": "あ" * 10_001}, {"q": "あ", "mode": "normalized"}],
)  # fmt: skip
def test_bad_requests_are_refused(url: str, query: dict[str, Any]) -> None:
    assert get(url, "/v1/search", 422, **query)["detail"]
    assert get(url, "/v1/documents/zz", 422)["detail"]


def test_the_schema_names_every_path(url: str) -> None:
    schema = get(url, "/openapi.json")
    assert set(schema["paths"]) == {
        "/v1/index", "/v1/search", "/v1/count", "/v1/next", "/v1/trace", "/v1/exposure", "/v1/documents/{doc_id}"
    }  # fmt: skip
    assert {row["name"] for row in schema["paths"]["/v1/search"]["get"]["parameters"]} == {
        "q", "mode", "offset", "limit", "checkpoint"
    }  # fmt: skip
    assert all(method["description"] for path in schema["paths"].values() for method in path.values())


def test_without_the_token_nothing_is_said(searcher: Searcher) -> None:
    with serving(searcher, "s3cret") as url:
        for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": "Basic s3cret"}):
            answer = requests.get(f"{url}/v1/search?q=源", headers=headers, timeout=30)
            assert answer.status_code == 401 and "源" not in answer.text
        answer = requests.get(f"{url}/v1/search?q=源", headers={"Authorization": "Bearer s3cret"}, timeout=30)
        assert answer.status_code == 200 and answer.json()["total"] > 0


def test_beyond_loopback_a_token_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_token(SearchSettings()) is None
    with pytest.raises(ConfigError, match="set a token"):
        read_token(SearchSettings(host="0.0.0.0"))
    monkeypatch.setenv(serve.TOKEN, "t")
    assert read_token(SearchSettings(host="0.0.0.0")) == "t"


def test_an_address_in_use_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError, match=r"--set search\.port="):
        listen("127.0.0.1", taken.getsockname()[1], "search")
    with pytest.raises(ValueError, match="port must be"):
        SearchSettings(port=70_000)


def test_a_dry_run_serves_nothing(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    serve.main(["--run", str(world.run.path), "--artifacts", str(world.run.artifacts), "--dry-run"])
    assert "http://127.0.0.1:8010/v1" in capsys.readouterr().out
