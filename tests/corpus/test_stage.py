"""The whole stage on a small corpus whose every verdict is known: accounting, resume, determinism, bad input."""

import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from corpus.__main__ import main
from corpus.filters.rules import load_preset
from corpus.storage.decisions import RULES_KEY
from pipeline import shards
from pipeline.artifact import open_sealed
from pipeline.documents import DOCUMENT_COLUMNS, document_files, read_documents
from pipeline.errors import BadInput, ConfigError, CorruptArtifact, MissingInput, PipelineError, RecipeDrift
from tests.corpus.helpers.pages import html, make_pages, prose, warc_record
from tests.helpers import kill_when

ROOT = Path(__file__).parents[2]
SOURCE = """
[[corpus.sources]]
name = "{name}"
reader = "{reader}"
path = "{path}"
licence = "CC0-1.0"
attribution = "made by the test"
shard_documents = 4
"""


def write_run(folder: Path, *sources: tuple[str, str, Path], more: str = "[corpus]\nmax_failed_share = 0.5\n") -> Path:
    """A run file over (name, reader, path)."""
    tables = [SOURCE.format(name=name, reader=reader, path=path.as_posix()) for name, reader, path in sources]
    (folder / "t.toml").write_text(more + "".join(tables), "utf-8")
    return folder / "t.toml"


def make(run: Path, artifacts: Path, *options: str) -> Path:
    main(["--run", str(run), "--artifacts", str(artifacts), *options])
    return artifacts / "corpus" / "t"


def decisions(root: Path) -> list[dict[str, Any]]:
    return [row for file in sorted((root / "data" / "decisions").glob("*.parquet")) for row in pq.read_table(file).to_pylist()]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> tuple[Path, dict[str, str], Path]:
    """Run file, expected verdicts and the artifact of an uninterrupted run with two workers."""
    folder = tmp_path_factory.mktemp("mixed")
    expected = make_pages(folder / "pages")
    run = write_run(folder, ("ja_web", "html", folder / "pages"))
    return run, expected, make(run, folder / "artifacts")


def test_every_record_has_the_verdict_it_deserves(mixed: tuple[Path, dict[str, str], Path]) -> None:
    _, expected, root = mixed
    rows = {row["url"]: row for row in decisions(root)}
    assert rows.keys() == expected.keys()
    for name, verdict in expected.items():
        if verdict != "copy":
            assert (rows[name]["rule"] or "") == verdict, rows[name]
    families = {
        name[:3]: [row for url, row in rows.items() if url[:3] == name[:3]] for name, v in expected.items() if v == "copy"
    }
    assert families
    for family in families.values():
        fates = Counter(row["rule"] for row in family)
        assert fates[None] == 1 and fates["near"] >= 1 and fates["near"] + fates["exact"] == 2
        survivor = next(row for row in family if row["verdict"] == "kept")
        assert {row["duplicate_of"] for row in family if row["rule"] == "near"} <= {row["doc_id"] for row in family}
        assert survivor["duplicate_of"] is None


def test_accounts_balance_and_files_hold_what_they_say(mixed: tuple[Path, dict[str, str], Path]) -> None:
    _, expected, root = mixed
    sealed = open_sealed(root)
    account = sealed.stats["sources"]["ja_web"]
    rows = decisions(root)
    assert account["in"] == len(expected) == len(rows) == account["kept"] + sum(account["dropped"].values())
    assert account["dropped"] == dict(Counter(row["rule"] for row in rows if row["verdict"] == "dropped"))
    documents = [row for file in document_files(sealed) for row in read_documents(file)]
    assert {row["doc_id"] for row in documents} == {row["doc_id"] for row in rows if row["verdict"] == "kept"}
    assert all(tuple(row) == DOCUMENT_COLUMNS and row["text"] and row["title"].startswith("日誌") for row in documents)
    assert sum(len(row["text"]) for row in documents) == account["characters"]
    assert {row["charset"] for row in documents} == {"utf-8", "cp932", "euc_jp", "iso2022_jp"}
    assert not any("top" in row["text"] for row in documents)  # the menu is not text
    assert sealed.body["licences"] == [{"source": "ja_web", "licence": "CC0-1.0", "attribution": "made by the test"}]
    assert "CC0-1.0" in (sealed.data / "NOTICE").read_text("utf-8")
    assert not (root / "work").exists()


def test_decisions_carry_every_value_and_its_threshold(mixed: tuple[Path, dict[str, str], Path]) -> None:
    _, _, root = mixed
    for row in decisions(root):
        values = [row[rule.name] for rule in load_preset("minamoto").rules]
        assert all(value is None for value in values) == (row["stage"] == "read")
        assert (row["verdict"] == "kept") == (row["rule"] is None) == (row["stage"] is None)
    file = next((root / "data" / "decisions").glob("*.parquet"))
    about = json.loads(pq.read_schema(file).metadata[RULES_KEY])
    limits = {rule["name"]: (rule["bound"], rule["threshold"]) for rule in about["rules"]}
    assert limits["kana"] == ("least", 0.05) and about["dedup"]["min_similarity"] == 0.8 and about["preset"] == "minamoto"


def test_again_is_skipped_and_said(mixed: tuple[Path, dict[str, str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    run, _, root = mixed
    make(run, root.parents[1])
    assert "作成済みのため省略します" in capsys.readouterr().out


def test_kill_and_again_gives_the_bytes_of_an_uninterrupted_run(
    mixed: tuple[Path, dict[str, str], Path], tmp_path: Path
) -> None:
    """Killed while judging, killed while joining bands, finished with one worker; the fixture had two and no kill."""
    run, _, whole = mixed
    command = [sys.executable, "-m", "corpus", "--run", str(run), "--artifacts", str(tmp_path), "--set", "ray.workers=1"]
    root = tmp_path / "corpus" / "t"
    for step, at_least in (("judge", 2), ("bands", 3)):
        kill_when(command, lambda step=step, least=at_least: count_receipts(root / "receipts" / step) >= least)
        assert not (root / "manifest.json").exists()
        assert any((root / "receipts" / step).glob("*.json")), f"killed too early to test resuming in {step}"
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert open_sealed(root).digest == open_sealed(whole).digest
    assert "入力" in done.stdout and "採用" in done.stdout
    assert not list(root.rglob("*.unfinished-*"))


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 8))])
def test_killed_at_random_points_in_any_order_of_shards(
    seed: int, mixed: tuple[Path, dict[str, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL at a random point, twice over, shards started in a random order, 1, 2 or 5 at once; then to the end."""
    run, _, whole = mixed
    rng = random.Random(seed)
    root = tmp_path / "corpus" / "t"
    steps = len(list((whole / "receipts").rglob("*.json")))
    for attempt in range(2):
        code = (
            "import random, sys; from pipeline import shards; from corpus.__main__ import main; "
            f"shards._order = lambda names: random.Random({seed * 10 + attempt}).sample(names, len(names)); main(sys.argv[1:])"
        )
        command = [sys.executable, "-c", code, "--run", str(run), "--artifacts", str(tmp_path)]
        command += ["--set", f"ray.workers={rng.choice((1, 2, 5))}"]
        done = len(list((root / "receipts").rglob("*.json")))
        least = rng.randint(done + 1, (steps + done) // 2)
        kill_when(command, lambda least=least: count_receipts(root / "receipts") >= least, later=rng.uniform(0, 0.1))
    monkeypatch.setattr(shards, "_order", lambda names: rng.sample(names, len(names)))
    make(run, tmp_path, "--set", f"ray.workers={rng.choice((1, 2, 5))}")
    assert open_sealed(root).digest == open_sealed(whole).digest


def count_receipts(folder: Path) -> int:
    return len(list(folder.rglob("*.json")))


def warc(folder: Path) -> tuple[Path, list[bytes]]:
    rng = random.Random(9)
    records = [
        warc_record(f"https://a.example/{i}", html(prose(rng, 30), charset=charset), charset)
        for i, charset in enumerate(("cp932", "euc_jp", "utf-8", "cp932", "utf-8", "iso2022_jp"))
    ]
    folder.mkdir(exist_ok=True)
    return folder / "crawl.warc.gz", records


def test_same_page_twice_and_the_same_page_at_two_addresses(tmp_path: Path, ray_session: None) -> None:
    path, records = warc(tmp_path)
    rng = random.Random(9)
    first, second = prose(rng, 30), prose(rng, 30)
    assert first != second
    longer = html(second + prose(random.Random(10), 20))  # a later capture of the second page
    path.write_bytes(b"".join([*records, records[0], warc_record("https://a.example/1", longer)]))
    root = make(write_run(tmp_path, ("ja_cc", "warc", path)), tmp_path)
    rows = decisions(root)
    assert Counter(row["rule"] for row in rows) == {None: 6, "url": 2}
    assert len(rows) == 8
    kept = [row for row in rows if row["url"] == "https://a.example/1" and row["verdict"] == "kept"]
    assert [row["characters"] for row in kept] == [max(r["characters"] for r in rows if r["url"] == "https://a.example/1")]


@pytest.mark.parametrize("damage", ["truncated", "corrupt"])
def test_a_damaged_warc_loses_what_is_damaged_and_says_so(damage: str, tmp_path: Path, ray_session: None) -> None:
    path, records = warc(tmp_path)
    if damage == "truncated":
        path.write_bytes(b"".join(records)[: -len(records[-1]) // 2])
    else:
        middle = records[2]
        broken = middle[:30] + bytes(byte ^ 0x5A for byte in middle[30:-30]) + middle[-30:]
        path.write_bytes(b"".join([*records[:2], broken, *records[3:]]))
    root = make(write_run(tmp_path, ("ja_cc", "warc", path)), tmp_path)
    rows = decisions(root)
    lost = [row for row in rows if row["verdict"] == "dropped"]
    assert [row["verdict"] for row in rows].count("kept") == 5
    assert len(lost) >= 1 and {row["stage"] for row in lost} == {"read"}
    assert {row["rule"] for row in lost} <= {"damaged_record", "truncated_record"}
    with pytest.raises(BadInput, match=r"source ja_cc: \d+ of \d+ records are damaged .* max_failed_share = 5.0%"):
        make(write_run(tmp_path, ("ja_cc", "warc", path), more=""), tmp_path / "strict")


def test_an_empty_corpus_names_the_biggest_reason(tmp_path: Path, ray_session: None) -> None:
    make_pages(tmp_path / "pages", originals=4)
    run = write_run(tmp_path, ("ja_web", "html", tmp_path / "pages"))
    with pytest.raises(BadInput, match=r"ja_web: none of 11 documents is left, most by 'kuten'"):
        make(run, tmp_path, "--set", "corpus.rules.kuten=0.5")


@pytest.mark.parametrize(
    ("option", "error", "words"),
    [
        ("corpus.max_faild_share=0.1", ConfigError, "unknown key 'max_faild_share'; did you mean 'max_failed_share'"),
        ("corpus.rules.kana=2.0", ConfigError, "kana = 2.0: expected a share from 0 to 1"),
        ("corpus.dedup.bands=0", ConfigError, "must be 1 or more"),
        ("corpus.sources=[]", ConfigError, "expected one or more"),
        ("corpus.rules.length=90", RecipeDrift, "settings.rules.length: None -> 90.0"),
    ],
)
def test_what_a_user_can_mend(
    option: str, error: type[PipelineError], words: str, mixed: tuple[Path, dict[str, str], Path]
) -> None:
    run, _, root = mixed
    with pytest.raises(error, match=words.replace(".", r"\.")):
        make(run, root.parents[1], "--set", option)


def test_a_missing_folder_is_one_line_and_exit_2(tmp_path: Path) -> None:
    run = write_run(tmp_path, ("ja_web", "html", tmp_path / "nowhere"))
    with pytest.raises(MissingInput, match="nowhere"):
        make(run, tmp_path)
    command = [sys.executable, "-m", "corpus", "--run", str(run), "--artifacts", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("error: MissingInput: ")


def test_a_damaged_artifact_is_noticed(mixed: tuple[Path, dict[str, str], Path], tmp_path: Path) -> None:
    run, _, root = mixed
    file = next((root / "data" / "documents").glob("*.parquet"))
    good = file.read_bytes()
    try:
        file.write_bytes(good[:40] + bytes([good[40] ^ 1]) + good[41:])
        with pytest.raises(CorruptArtifact, match=file.name):
            make(run, root.parents[1])
    finally:
        file.write_bytes(good)


def test_dry_run_needs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path, ("ja_web", "html", tmp_path / "nowhere"))
    root = make(run, tmp_path, "--dry-run")
    assert "ja_web" in capsys.readouterr().out
    assert not root.exists()
