"""Files on a real HTTP server on this machine: the same documents as from the disk, and what its failures end as."""

import gzip
import http.server
import json
import random
import re
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from corpus.readers import RawDocument, input_digest, plan_shards, remote
from corpus.readers.places import local_copy, open_file, size_of
from pipeline.errors import ExternalServiceError, MissingInput
from tests.corpus.readers.test_jsonl import zstd
from tests.corpus.readers.test_readers import read, source
from tests.corpus.readers.test_warc import page, record


@dataclass
class Server:
    """Files by path, and how the server misbehaves."""

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True  # answers Range with parts
    sized: bool = True  # says how long an answer is
    failing: int = 0  # so many requests more are answered with `status`
    status: int = 503
    breaking: int = 0  # so many answers more break off …
    after: int = 0  # … after so many bytes
    encoding: str = ""  # Content-Encoding it claims
    asked: Counter[str] = field(default_factory=Counter)  # requests by method
    url: str = ""


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers HEAD and GET of `server.state`."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing at the terminal."""

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(None)

    def _answer(self, body: bytes | None) -> None:
        state: Server = self.server.state  # pyright: ignore[reportAttributeAccessIssue] -- set by `server`
        state.asked[self.command] += 1
        if state.failing:
            state.failing -= 1
            self.send_response(state.status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = state.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if wanted and state.ranges:
            begin, end = int(wanted[1]), min(int(wanted[2]) + 1, len(content))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(content)}")
            content = content[begin:end]
        else:
            self.send_response(200)
        self._send(content if body is None else None, len(content), state)

    def _send(self, content: bytes | None, size: int, state: Server) -> None:
        if state.encoding:
            self.send_header("Content-Encoding", state.encoding)
        if state.sized:
            self.send_header("Content-Length", str(size))
        elif content is not None:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if content is None:
            return
        breaks = state.breaking > 0 and state.after < len(content)
        state.breaking -= breaks
        sent = content[: state.after] if breaks else content
        self.wfile.write(sent if state.sized else b"%x\r\n%s\r\n" % (len(sent), sent))
        if breaks:
            self.close_connection = True
            self.wfile.flush()
        elif not state.sized:
            self.wfile.write(b"0\r\n\r\n")


class QuietServer(http.server.ThreadingHTTPServer):
    """A client that has enough of a file hangs up; that is no error."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server on a port of its own; tries follow one another without a pause, blocks are of 4 KiB."""
    monkeypatch.setattr(remote, "PAUSE", 0.0)
    monkeypatch.setattr(remote, "_BLOCK", 1 << 12)
    http_server = QuietServer(("127.0.0.1", 0), Handler)
    state = Server(url=f"http://127.0.0.1:{http_server.server_address[1]}")
    http_server.state = state  # pyright: ignore[reportAttributeAccessIssue] -- what the handler reads
    thread = threading.Thread(target=http_server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    http_server.shutdown()
    http_server.server_close()
    thread.join()


def contents() -> dict[str, bytes]:
    """A crawl, rows and a list of both kinds of rows; noise makes them longer than some blocks."""
    rng = random.Random(0)
    rows = [json.dumps({"text": f"{number}: {rng.randbytes(400).hex()}"}).encode() + b"\n" for number in range(60)]
    noise = [page(number) + rng.randbytes(600).hex().encode() for number in range(30)]
    return {
        "/crawl.warc.gz": b"".join(gzip.compress(record(number, html), mtime=0) for number, html in enumerate(noise)),
        "/rows.jsonl.zst": zstd(b"".join(rows)),
        "/deep/rows.jsonl": b"".join(rows[:40]),
        "/paths.gz": gzip.compress(b"deep/rows.jsonl\nrows.jsonl.zst\n"),
    }


def put(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name[1:]).parent.mkdir(parents=True, exist_ok=True)
        (folder / name[1:]).write_bytes(content)


CASES = {
    "ranges": {},
    "no ranges": {"ranges": False},
    "no size": {"ranges": False, "sized": False},
    "compressed by name": {"encoding": "gzip"},
    "busy twice": {"failing": 2},
    "breaks once": {"breaking": 1, "after": 3000},
    "breaks off twice without ranges": {"ranges": False, "breaking": 2, "after": 9000},
}


@pytest.mark.parametrize("case", CASES)
def test_documents_are_those_of_the_disk(server: Server, tmp_path: Path, case: str) -> None:
    files = contents()
    put(tmp_path, files)
    for reader, name in (("warc", "crawl.warc.gz"), ("jsonl", "rows.jsonl.zst"), ("jsonl", "deep/rows.jsonl")):
        local = read(source(reader, tmp_path / name))
        assert len(local) >= 30 and all(isinstance(item, RawDocument) for item in local)
        server.__dict__.update(Server(files, url=server.url).__dict__ | CASES[case])
        assert read(source(reader, path=f"{server.url}/{name}")) == local
        assert not server.failing
    server.__dict__.update(Server(files, url=server.url).__dict__ | CASES[case])
    listed = source("jsonl", paths=f"{server.url}/paths.gz", prefix=f"{server.url}/", shard_bytes=5000)
    assert read(listed) == read(source("jsonl", paths=str(tmp_path / "paths.gz"), prefix=f"{tmp_path}/"))
    assert len(plan_shards(listed)) == (2 if case in ("no size", "compressed by name") else 8)


@pytest.mark.parametrize("ranges", [True, False])
def test_seeking_in_a_remote_file(server: Server, ranges: bool) -> None:
    """Parquet's readers jump about: whatever is read is what is there."""
    content = random.Random(1).randbytes(50_000)
    server.files, server.ranges = {"/x": content}, ranges
    rng = random.Random(2)
    with open_file(f"{server.url}/x") as file:
        assert file.seek(-100, 2) == 49_900 and file.read() == content[-100:]
        for _ in range(30):
            at, size = rng.randrange(50_000), rng.randrange(9_000)
            file.seek(at)
            assert file.read(size) == content[at : at + size]
    assert size_of(f"{server.url}/x") == 50_000
    if not ranges:
        assert server.asked["GET"] <= 3  # copied once, not once a jump


@pytest.mark.parametrize("ranges", [True, False])
def test_a_server_that_always_breaks_off_is_one_line(server: Server, ranges: bool) -> None:
    """Bounded tries; then the address, what was expected and what was found. No document is counted as damaged."""
    server.files, server.ranges = contents(), ranges
    size = len(server.files["/crawl.warc.gz"])
    server.breaking, server.after = 1000, 2000
    for reader, name in (("warc", "crawl.warc.gz"), ("jsonl", "rows.jsonl.zst"), ("jsonl", "deep/rows.jsonl")):
        server.asked.clear()
        with pytest.raises(ExternalServiceError) as failure:
            read(source(reader, path=f"{server.url}/{name}"))
        message = str(failure.value)
        assert f"{server.url}/{name}" in message and "expected" in message and "found" in message and "\n" not in message
        assert "3 tries" in message and "run again" in message
        assert 3 <= server.asked["GET"] <= 6
    with pytest.raises(ExternalServiceError, match=f"expected {size} bytes, found"):
        with local_copy(f"{server.url}/crawl.warc.gz"):
            pass


def test_a_server_that_stays_busy_is_no_missing_file(server: Server) -> None:
    server.files, server.failing = contents(), 1000
    with pytest.raises(ExternalServiceError, match=f"{server.url}/rows.jsonl.zst: expected .* 3 tries .*status 503"):
        plan_shards(source("jsonl", path=f"{server.url}/rows.jsonl.zst"))
    assert 1000 - server.failing == 6  # HEAD and GET each time
    server.failing = 0
    [shard] = plan_shards(source("jsonl", path=f"{server.url}/rows.jsonl.zst"))
    server.failing = 1000
    with pytest.raises(ExternalServiceError, match="503"):
        read(shard.source)


def test_a_refusal_is_not_asked_again(server: Server) -> None:
    server.files, server.failing, server.status = contents(), 1000, 403
    with pytest.raises(ExternalServiceError, match="status 403"):
        plan_shards(source("jsonl", path=f"{server.url}/rows.jsonl.zst"))
    assert 1000 - server.failing == 2


def test_what_a_server_does_not_have(server: Server) -> None:
    listed = source("warc", path=f"{server.url}/none.warc.gz")
    with pytest.raises(MissingInput, match=re.escape(f"{server.url}/none.warc.gz")):
        plan_shards(listed)
    server.files["/paths"] = b"none.warc.gz\n"
    named = source("warc", paths=f"{server.url}/paths", prefix=f"{server.url}/")
    with pytest.raises(MissingInput, match=r"none\.warc\.gz: no such file"):
        read(named)
    assert input_digest(named) == input_digest(named)


def test_nobody_listens() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remote, "PAUSE", 0.0)
        with pytest.raises(ExternalServiceError, match=r"http://127\.0\.0\.1:9/a\.jsonl"):
            plan_shards(source("jsonl", path="http://127.0.0.1:9/a.jsonl"))
