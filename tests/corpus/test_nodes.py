"""Two Ray nodes on this machine run one job; a worker and then a whole node are killed in the middle of it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from pipeline.artifact import open_sealed
from tests.corpus.helpers.pages import make_pages
from tests.corpus.test_stage import ROOT, decisions, make, write_run

RAY = Path(sys.executable).with_name("ray")


class Nodes:
    """Raylets started by `ray start --block`, each with all its processes below one that we know."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        # Of its own: `ray start` notes the running cluster in its temporary folder, where other jobs would find it.
        self._environment = os.environ | {"RAY_TMPDIR": str(folder), "RAY_DISABLE_IMPORT_WARNING": "1"}
        self._log = folder / "log"
        self.started: list[psutil.Popen] = []

    def start(self) -> psutil.Popen:
        port = self.address.partition(":")[2]
        where = [f"--address={self.address}"] if self.started else ["--head", f"--port={port}", "--include-dashboard=false"]
        command = [str(RAY), "start", "--block", "--num-cpus=1", "--disable-usage-stats", *where]
        with self._log.open("ab") as log:
            node = psutil.Popen(command, env=self._environment, stdout=log, stderr=log, start_new_session=True)
        self.started.append(node)
        return node

    def kill(self, node: psutil.Popen) -> None:
        """SIGKILL to the raylet, its workers and all else of a node."""
        if not node.is_running():
            return
        for process in [*node.children(recursive=True), node]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        node.wait()

    def workers(self, node: psutil.Popen) -> list[psutil.Process]:
        return [process for process in node.children(recursive=True) if any("_finish" in word for word in process.cmdline())]

    def wait_until_alive(self, count: int) -> bool:
        """Whether the cluster says it has so many nodes."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            status = [str(RAY), "status", f"--address={self.address}"]
            done = subprocess.run(status, env=self._environment, capture_output=True, text=True, check=False)
            if done.returncode == 0 and done.stdout.count("node_") >= count:
                return True
            time.sleep(0.5)
        return False


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with tempfile.TemporaryDirectory(prefix="rt", ignore_cleanup_errors=True) as folder:  # sockets need a short path
        made = Nodes(Path(folder))
        try:
            made.start()
            if not made.wait_until_alive(1):
                pytest.skip("`ray start --head` does not start on this machine")
            made.start()
            if not made.wait_until_alive(2):
                pytest.skip("`ray start --address` does not start a second node on this machine")
            yield made
        finally:
            for node in reversed(made.started):
                made.kill(node)


def wait_for(receipts: Path, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while len(list(receipts.glob("*.json"))) < count:
        assert process.poll() is None, f"the run ended before {count} receipts: {process.communicate()}"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def workers_of(nodes: Nodes, node: psutil.Popen, process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Workers of a node, as soon as it has any."""
    while not (workers := nodes.workers(node)):
        assert process.poll() is None, "the run ended before the node had a worker"
        time.sleep(0.005)
    return workers


def test_a_worker_and_a_node_die_and_no_document_is_lost_or_doubled(nodes: Nodes, tmp_path: Path, ray_session: None) -> None:
    expected = make_pages(tmp_path / "pages", originals=60)
    run = write_run(tmp_path, ("ja_web", "html", tmp_path / "pages"))
    command = [sys.executable, "-m", "corpus", "--run", str(run), "--artifacts", str(tmp_path / "two")]
    command += ["--set", f"ray.address={nodes.address}", "--set", "ray.workers=2", "--set", "ray.memory_gb=0.2"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    root = tmp_path / "two" / "corpus" / "t"
    wait_for(root / "receipts" / "judge", 2, process)
    workers_of(nodes, nodes.started[0], process)[0].send_signal(signal.SIGKILL)
    wait_for(root / "receipts" / "judge", 6, process)
    workers_of(nodes, nodes.started[1], process)  # the second node has part in the job
    nodes.kill(nodes.started[1])
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert sorted(row["url"] for row in decisions(root)) == sorted(expected)
    kept = [name for file in (root / "data" / "documents").glob("*.parquet") for name in pq.read_table(file)["url"].to_pylist()]
    assert len(kept) == len(set(kept)) and "採用" in out
    assert open_sealed(root).digest == open_sealed(make(run, tmp_path / "one")).digest
