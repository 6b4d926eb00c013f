"""Run files: strict, with hints, overridable, and fingerprints that see only what decides bytes."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.artifact import fingerprint
from pipeline.errors import ConfigError, MissingInput
from pipeline.runfile import TABLES, build_settings, field, load_run


@dataclass(frozen=True)
class Part:
    name: str
    weight: float = 1.0


@dataclass(frozen=True)
class Settings:
    seq_length: int
    mode: Literal["a", "b"] = "a"
    folder: Path | None = None
    workers: int = field(1, identity=False)
    parts: tuple[Part, ...] = ()

    def __post_init__(self) -> None:
        if self.seq_length < 1:
            raise ValueError(f"seq_length must be positive, got {self.seq_length}")


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "x.toml"
    path.write_text(text, "utf-8")
    return str(path)


def test_table_becomes_dataclass(tmp_path: Path) -> None:
    text = '[corpus]\nseq_length = 8\nfolder = "${DATA}/in"\n[[corpus.parts]]\nname = "p"\nweight = 2\n'
    run = load_run(write(tmp_path, text), data=str(tmp_path))
    assert run.name == "x"
    assert run.settings("corpus", Settings) == Settings(8, folder=tmp_path / "in", parts=(Part("p", 2.0),))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[corpus]\nseqlen = 8", "unknown key 'seqlen'; did you mean 'seq_length'?"),
        ("[corpus]\nseq_length = '8'", "expected int, got '8' (str)"),
        ("[corpus]\nseq_length = true", "expected int, got True (bool)"),
        ("[corpus]\nseq_length = 0", "seq_length must be positive"),
        ("[corpus]\n", r"missing required key(s) ['seq_length']"),
        ("[corpus]\nseq_length = 8\nmode = 'c'", "expected one of ['a', 'b'], got 'c'"),
        ("[corpus]\nseq_length = 8\nfolder = '${DATA}/x'", "add DATA=folder"),
        ("[corpus]\nseq_length = 8\nparts = [1]", "expected a table, got 1"),
        ("[corps]\nx = 1", "unknown table [corps]; did you mean 'corpus'?"),
        ("x = 1", "unknown table [x]"),
        ("corpus = 1", "stands outside any table"),
        ("[corpus\n", "not readable as TOML"),
        ("[ray]\n", "no [corpus] table"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_run(write(tmp_path, text)).settings("corpus", Settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_run_lists_what_exists() -> None:
    with pytest.raises(MissingInput, match="demo"):
        load_run("no-such-run")


def test_missing_data_folder(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="no such folder"):
        load_run(write(tmp_path, "[corpus]\n"), data=str(tmp_path / "none"))


def test_overrides_are_applied_and_recorded(tmp_path: Path) -> None:
    path = write(tmp_path, "[corpus]\nseq_length = 8\n")
    run = load_run(path, overrides=("corpus.seq_length=16", "corpus.mode=b", "ray.workers=3"))
    assert run.settings("corpus", Settings) == Settings(16, mode="b")
    assert run.overrides == ("corpus.seq_length=16", "corpus.mode=b", "ray.workers=3")


@pytest.mark.parametrize("text", ["corpus.x", "=1", "corpus=1", "corpse.x=1", "corpus.seq_length.x=1"])
def test_bad_overrides(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        load_run(write(tmp_path, "[corpus]\nseq_length = 8\n"), overrides=(text,))


@given(length=st.integers(1, 99), workers=st.integers(1, 99), folder=st.sampled_from([Path("a"), Path("/b")]))
def test_fingerprint_sees_only_what_decides_bytes(length: int, workers: int, folder: Path) -> None:
    ours = fingerprint(Settings(length, workers=workers, folder=folder), {"x": "1"}, 1)
    assert ours == fingerprint(Settings(length, folder=Path("c")), {"x": "1"}, 1)
    assert ours != fingerprint(Settings(length + 1, folder=folder), {"x": "1"}, 1)
    assert ours != fingerprint(Settings(length, folder=folder), {"x": "2"}, 1)
    assert ours != fingerprint(Settings(length, folder=folder), {"x": "1"}, 2)


def test_every_table_of_every_committed_run_is_known() -> None:
    for path in [*Path("runs").glob("*.toml"), *Path("tests/runs").glob("*.toml")]:
        assert load_run(str(path)).tables.keys() <= set(TABLES)


def test_build_names_the_nested_place() -> None:
    with pytest.raises(ConfigError, match=r"here parts\[1\]: unknown key 'wieght'; did you mean 'weight'"):
        build_settings({"seq_length": 1, "parts": [{"name": "a"}, {"name": "b", "wieght": 1}]}, Settings, "here")


@dataclass(frozen=True)
class FreeForm:
    changes: Mapping[str, float | bool] = dataclasses.field(default_factory=dict)


def test_free_form_tables_take_what_their_type_says(tmp_path: Path) -> None:
    run = load_run(write(tmp_path, "[corpus.changes]\na = 1\nb = false\n"), overrides=("corpus.changes.c=0.5",))
    changes = run.settings("corpus", FreeForm).changes
    assert changes == {"a": 1.0, "b": False, "c": 0.5}
    assert [type(value) for value in changes.values()] == [float, bool, float]
    assert fingerprint(FreeForm(changes), {}, 1) != fingerprint(FreeForm(), {}, 1)
    with pytest.raises(ConfigError, match=r"here changes\.a: expected float, got 'x' \(str\)"):
        build_settings({"changes": {"a": "x"}}, FreeForm, "here")
