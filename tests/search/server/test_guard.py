"""Requests that nobody honest sends, over a real socket: each is refused with a reason, none is a 500, none costs memory."""

import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from search.provenance.exposure import measure_exposure
from search.searcher import Searcher
from search.server.guard import MAX_BODY
from tests.search.helpers.world import World
from tests.search.server.test_api import get, serving
from tests.search.test_searcher import occurrences

HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


@pytest.fixture(scope="module")
def url(searcher: Searcher) -> Iterator[str]:
    with serving(searcher, hosts=HOSTS) as found:
        yield found


def send(url: str, head: bytes, body: bytes = b"") -> tuple[int, bytes]:
    """A request as bytes; status and everything that came back."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=30) as connection:
        connection.sendall(head + b"\r\n\r\n" + body)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer.status, answer.read()


@pytest.mark.parametrize(
    "body",
    [
        b'{"text": "\\ud800"}', b'{"text": "a", "min_chars": NaN}', b'{"text": "a", "documents": Infinity}', b'{"text": NaN}',
        b'{"text": "a", "min_chars": 1e400}', b'{"text": "a", "min_chars": ' + b"9" * 5000 + b"}", b"[" * 50_000, b"\xff\xfe",
        b"", b"null", b'"a"', b'{"text": ["a"]}', b'{"text": "a", "texts": "b"}',
    ],
)  # fmt: skip
def test_what_is_no_trace_is_refused(body: bytes, url: str) -> None:
    answer = requests.post(f"{url}/v1/trace", data=body, headers={"Content-Type": "application/json"}, timeout=30)
    assert answer.status_code in (400, 422) and answer.json()["detail"], answer.text


def test_a_refusal_does_not_send_back_what_came(url: str) -> None:
    answer = requests.post(f"{url}/v1/trace", json={"text": "あ" * 150_000, "more": "秘密" * 1000}, timeout=30)
    assert answer.status_code == 422 and len(answer.content) < 2000 and "秘密" not in answer.text


def test_a_long_body_is_refused_before_it_is_read(url: str) -> None:
    for head in (b"Content-Length: 500000000", b"Content-Length: x"):
        status, _ = send(url, b"POST /v1/trace HTTP/1.1\r\nHost: localhost\r\n" + head)
        assert status in (400, 413)
    chunk = b"%x\r\n" % (1 << 16) + b" " * (1 << 16) + b"\r\n"
    count = MAX_BODY // (1 << 16) + 1
    status, _ = send(url, b"POST /v1/trace HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked", chunk * count)
    assert status == 413


@pytest.mark.parametrize("query", ["q=%FF", "q=%E6%BA", "q=%ED%A0%80", "q=a&x=%80"])
def test_text_that_is_not_utf8_is_refused(query: str, url: str) -> None:
    for path in ("search", "count", "next", "exposure"):
        status, body = send(url, f"GET /v1/{path}?{query} HTTP/1.1\r\nHost: localhost".encode())
        assert status == 422 and b"not UTF-8" in body


@pytest.mark.parametrize(
    ("path", "query"),
    [("count", {"q": "a", "mode": "normalized"}), ("search", {"q": "a", "page": 2}), ("exposure", {"q": "a", "bucket": 3}),
     ("index", {"q": "a"})],
)  # fmt: skip
def test_an_unknown_parameter_is_named(path: str, query: dict[str, Any], url: str) -> None:
    assert "unknown parameters" in get(url, f"/v1/{path}", 422, **query)["detail"]


def test_a_checkpoint_beyond_the_training_is_refused(url: str, world: World) -> None:
    assert "iterations 1 to" in get(url, "/v1/search", 422, q="源氏物語", checkpoint=world.total + 1)["detail"]
    get(url, "/v1/search", q="源氏物語", checkpoint=world.total)


def test_head_is_get_without_the_body(url: str) -> None:
    whole = requests.get(f"{url}/v1/count", params={"q": "源氏物語"}, timeout=30)
    head = requests.head(f"{url}/v1/count", params={"q": "源氏物語"}, timeout=30)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == whole.headers["Content-Length"]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "", "[::2]"])
def test_a_foreign_host_is_refused(host: str, url: str) -> None:
    status, body = send(url, f"GET /v1/index HTTP/1.1\r\nHost: {host}".encode())
    assert status in (400, 421) and b"searched_bytes" not in body


@pytest.mark.parametrize("host", ["127.0.0.1", "LOCALHOST:1234", "[::1]:8010"])
def test_our_own_names_are_served(host: str, url: str) -> None:
    assert send(url, f"GET /v1/index HTTP/1.1\r\nHost: {host}".encode())[0] == 200


def test_the_token_comes_first(searcher: Searcher) -> None:
    with serving(searcher, "s3cret") as url:
        for head in (b"Content-Length: 500000000", b"Content-Length: 3"):
            status, body = send(url, b"POST /v1/trace HTTP/1.1\r\nHost: x\r\n" + head)
            assert status == 401 and b"Bearer" in body
        head = b"GET /v1/index HTTP/1.1\r\nHost: x\r\nAuthorization: bearer s3cret"
        assert send(url, head)[0] == 200


def test_white_space_around_a_string_is_part_of_it(url: str, searcher: Searcher, world: World) -> None:
    whole = [row["text"] for row in world.rows()]
    for query in ("。\n", "\n次の行", "。\n第", " ", "\n", "書いた。\n"):
        count = sum(len(occurrences(text, query)) for text in whole)
        assert get(url, "/v1/count", q=query)["occurrences"] == count == searcher.count(query)
        assert get(url, "/v1/next", q=query)["total"] == count
        found = get(url, "/v1/exposure", q=query)
        assert found == json.loads(json.dumps(measure_exposure(searcher, query).as_dict())) and found["occurrences"] == count
    assert searcher.count("。\n") < searcher.count("。")
