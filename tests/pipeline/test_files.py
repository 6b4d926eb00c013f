"""Files appear whole or not at all, also on a full disk and when the writer is killed."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import files
from pipeline.errors import DiskFull
from pipeline.files import atomic_file, atomic_path, digest_files, remove_unfinished, write_json


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 256 KiB, where the machine lets us mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("mounting a tmpfs needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_failure_keeps_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), atomic_file(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_text() == '{\n "a": 1\n}\n'
    assert list(tmp_path.iterdir()) == [path]


def test_folder_is_replaced_whole(tmp_path: Path) -> None:
    for content in ("one", "two"):
        with atomic_path(tmp_path / "d") as folder:
            folder.mkdir()
            (folder / content).write_text(content)
    assert [p.name for p in (tmp_path / "d").iterdir()] == ["two"]


def test_really_full_disk(small_disk: Path) -> None:
    write_json(small_disk / "kept.json", 1)
    with pytest.raises(DiskFull, match=r"big\.bin: no space left") as caught, atomic_file(small_disk / "big.bin") as file:
        for _ in range(64):
            file.write(os.urandom(8192))
            file.flush()
    assert "\n" not in str(caught.value)
    assert [p.name for p in small_disk.iterdir()] == ["kept.json"]


def test_quota_counts_as_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(files, "fsync", refuse)
    with pytest.raises(DiskFull):
        write_json(tmp_path / "f", 1)
    assert not list(tmp_path.iterdir())


def test_killed_writer_leaves_nothing_that_counts(tmp_path: Path) -> None:
    code = (
        "import os,signal,sys,pathlib\nfrom pipeline.files import atomic_file\n"
        "with atomic_file(pathlib.Path(sys.argv[1])) as f:\n f.write(b'x'*9); f.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path / "f")], cwd=Path(__file__).parents[2], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "f").exists()
    assert len(list(tmp_path.iterdir())) == 1
    remove_unfinished(tmp_path)
    assert not list(tmp_path.iterdir())


def test_swept_while_others_remove_and_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed run's workers live a moment longer: a file is gone before it can be removed, a new one is there after it."""
    folder = tmp_path / f"x{files.UNFINISHED}1"
    (folder / "part").mkdir(parents=True)
    (folder / "part" / "a").write_text("a")
    late, unlink = folder / "part" / "late", os.unlink

    def raced(name: str, *, dir_fd: int | None = None) -> None:
        unlink(name, dir_fd=dir_fd)
        if name == "a":
            late.write_text("b")
            raise FileNotFoundError(errno.ENOENT, "another process was faster", name)

    monkeypatch.setattr(os, "unlink", raced)
    remove_unfinished(tmp_path)
    assert not list(tmp_path.iterdir())


def test_digest_sees_names_and_contents_but_not_places_or_order(tmp_path: Path) -> None:
    def make(root: str, **contents: str) -> list[Path]:
        paths = [tmp_path / root / name for name in contents]
        for path in paths:
            path.parent.mkdir(exist_ok=True)
            path.write_text(contents[path.name])
        return paths

    ours = digest_files(make("a", x="1", y="2"), base=tmp_path / "a")
    assert ours == digest_files(reversed(make("b", x="1", y="2")), base=tmp_path / "b")
    assert ours != digest_files(make("c", x="2", y="1"), base=tmp_path / "c")
    assert ours != digest_files(make("d", x="1", z="2"), base=tmp_path / "d")


def test_digest_memory_spares_reading_but_sees_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, memory, read = tmp_path / "x", tmp_path / "memory.json", []
    path.write_text("1")

    def count(file: Path) -> str:
        read.append(file)
        return hashlib.sha256(file.read_bytes()).hexdigest()

    monkeypatch.setattr(files, "digest_file", count)
    first = digest_files([path], base=tmp_path, cache=memory)
    assert digest_files([path], base=tmp_path, cache=memory) == first
    assert len(read) == 1
    path.write_text("2")
    os.utime(path, ns=(1, 1))
    assert digest_files([path], base=tmp_path, cache=memory) != first
    assert len(read) == 2
