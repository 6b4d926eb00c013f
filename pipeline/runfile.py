"""One run, one TOML file: each stage reads its own table into a frozen dataclass, strictly."""

import dataclasses
import difflib
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pipeline.errors import ConfigError, MissingInput

T = TypeVar("T")

# The tables a run file may have: one a stage, and `ray` for where the shards run.
TABLES = ("fetch", "corpus", "tokenizer", "pack", "pretrain", "finetune", "lora", "index", "search", "bots", "publish", "ray")
# In a string of the run file this stands for the folder given as DATA=… on the command line.
DATA_MARK = "${DATA}"


def field(default: Any = dataclasses.MISSING, *, identity: bool = True) -> Any:
    """A settings field; `identity=False` keeps it out of the fingerprint (worker counts, addresses, paths)."""
    return dataclasses.field(default=default, metadata={"identity": identity})


@dataclass(frozen=True)
class RunFile:
    """A parsed run file with the overrides of the command line applied."""

    name: str  # the file's stem; names the run's folder below every stage
    path: Path
    tables: dict[str, dict[str, Any]]
    overrides: tuple[str, ...]  # as typed: "pretrain.iterations=20"
    artifacts: Path  # root of all artifacts
    data: Path | None  # what ${DATA} stands for

    def settings(self, table: str, kind: type[T]) -> T:
        """Build `kind` from `[table]`.

        Raises: ConfigError on a missing table, an unknown, missing or ill-typed key.
        """
        if table not in self.tables:
            raise ConfigError(f"{self.path}: no [{table}] table, which this command needs; it has {sorted(self.tables)}")
        return build_settings(self.tables[table], kind, f"{self.path} [{table}]", self.data)

    def has(self, table: str) -> bool:
        """Whether the run file has that table."""
        return table in self.tables

    def root(self, stage: str) -> Path:
        """Folder of this run's artifact of `stage`."""
        return self.artifacts / stage / self.name


def load_run(run: str, *, overrides: tuple[str, ...] = (), data: str | None = None, artifacts: str = "artifacts") -> RunFile:
    """Read `runs/<run>.toml`, or the file itself where `run` ends in .toml.

    Raises: MissingInput if there is no such file; ConfigError if it cannot be understood.
    """
    path = Path(run) if run.endswith(".toml") else Path("runs") / f"{run}.toml"
    if not path.is_file():
        known = sorted(p.stem for p in Path("runs").glob("*.toml"))
        raise MissingInput(f"{path}: no such run file; known runs: {known}, or give a path that ends in .toml")
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: not readable as TOML: {error}") from error
    for name, table in tables.items():
        if name not in TABLES:
            raise ConfigError(f"{path}: unknown table [{name}]{suggest_key(name, TABLES)}")
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: {name} = {table!r} stands outside any table; put it below one of {sorted(TABLES)}")
    for override in overrides:
        _override(tables, override)
    if data is not None and not Path(data).is_dir():
        raise MissingInput(f"DATA={data}: no such folder")
    return RunFile(
        name=path.stem,
        path=path,
        tables=tables,
        overrides=overrides,
        artifacts=Path(artifacts),
        data=Path(data) if data else None,
    )


def build_settings(values: Any, kind: type[T], where: str, data: Path | None = None) -> T:
    """Check `values` against the fields of dataclass `kind`, recursively, and build it."""
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: expected a table, got {values!r}")
    fields = {f.name: f for f in dataclasses.fields(typing.cast(Any, kind))}
    for key in values:
        if key not in fields:
            raise ConfigError(f"{where}: unknown key {key!r}{suggest_key(key, fields)}")
    missing = [
        f.name
        for f in fields.values()
        if f.name not in values and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"{where}: missing required key(s) {missing}")
    types_of = typing.get_type_hints(kind)
    given = {key: _coerce(value, types_of[key], f"{where} {key}", data) for key, value in values.items()}
    try:
        return kind(**given)
    except ValueError as error:  # a __post_init__ that refuses a combination of values
        raise ConfigError(f"{where}: {error}") from error


def identity(settings: Any) -> Any:
    """What of a settings object decides the bytes that come out: no paths, no field marked `identity=False`."""
    if dataclasses.is_dataclass(settings) and not isinstance(settings, type):
        return {
            f.name: identity(getattr(settings, f.name))
            for f in dataclasses.fields(settings)
            if f.metadata.get("identity", True) and not isinstance(getattr(settings, f.name), Path)
        }
    if isinstance(settings, list | tuple):
        return [identity(value) for value in settings if not isinstance(value, Path)]
    if isinstance(settings, dict):
        return {key: identity(value) for key, value in settings.items()}
    return settings


def _coerce(value: Any, want: Any, where: str, data: Path | None) -> Any:
    origin, args = typing.get_origin(want), typing.get_args(want)
    if origin in (types.UnionType, typing.Union):
        return _coerce_union(value, args, where, data)
    if origin is typing.Literal:
        if value not in args:
            raise ConfigError(f"{where}: expected one of {list(args)}, got {value!r}")
        return value
    if dataclasses.is_dataclass(want):
        return build_settings(value, typing.cast(type, want), where, data)
    if origin is tuple and isinstance(value, list):
        return tuple(_coerce(v, args[0], f"{where}[{i}]", data) for i, v in enumerate(value))
    if origin in (dict, Mapping) and isinstance(value, dict):
        return {k: _coerce(v, args[1], f"{where}.{k}", data) for k, v in value.items()}
    if want is float and type(value) is int:
        return float(value)
    if isinstance(value, str) and DATA_MARK in value:
        if data is None:
            raise ConfigError(f"{where}: {value!r} needs a data folder; add DATA=folder to the command")
        value = value.replace(DATA_MARK, str(data))
    if want is Path and isinstance(value, str):
        return Path(value)
    if type(value) is not (origin or want):
        raise ConfigError(f"{where}: expected {getattr(want, '__name__', want)}, got {value!r} ({type(value).__name__})")
    return value


def _coerce_union(value: Any, args: tuple[Any, ...], where: str, data: Path | None) -> Any:
    """A value of `X | None`, or of `X | bool`, which takes true and false as they are."""
    if bool in args and type(value) is bool:
        return value
    kinds = [kind for kind in args if kind not in (type(None), bool)]
    if len(kinds) != 1:
        raise TypeError(f"{where}: settings may be `X`, `X | None` or `X | bool`, not {args}")
    return _coerce(value, kinds[0], where, data)


def _override(tables: dict[str, dict[str, Any]], text: str) -> None:
    """Apply one `table.key=value`; the value is TOML, or a bare word taken as a string."""
    name, equals, value = text.partition("=")
    keys = name.strip().split(".")
    if not equals or len(keys) < 2 or not all(keys):
        raise ConfigError(f"--set {text}: expected table.key=value, for example pretrain.iterations=20")
    if keys[0] not in TABLES:
        raise ConfigError(f"--set {text}: unknown table [{keys[0]}]{suggest_key(keys[0], TABLES)}")
    try:
        parsed = tomllib.loads(f"v = {value}")["v"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    table = tables.setdefault(keys[0], {})
    for key in keys[1:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise ConfigError(f"--set {text}: {key!r} is a value, not a table")
    table[keys[-1]] = parsed


def suggest_key(key: str, known: Iterable[str]) -> str:
    """End of an error message about an unknown key: the known one most like it, or all that are known."""
    near = difflib.get_close_matches(key, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {sorted(known)}"
