"""A sealed folder: what a stage made, and a manifest that says what is inside and what made it.

artifacts/<stage>/<run>/
    data/            what the next stage reads
    work/            scratch of an unfinished run; gone once sealed
    receipts/        one small JSON a finished shard
    events.jsonl     progress and metrics; not part of the artifact's identity
    recipe.json      fingerprint of the run that started this folder
    manifest.json    written last: its presence is the seal
"""

import fcntl
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.errors import CorruptArtifact, MissingInput, PipelineError, RecipeDrift
from pipeline.files import digest_file, digest_json, remove_unfinished, short_digest, write_json
from pipeline.runfile import RunFile, identity

# Opening hashes every file below this total; larger artifacts are checked by size, and whole by `make verify`.
HASH_ON_OPEN_BYTES = 1 << 30
# Packages whose version can change a stage's bytes; recorded in every manifest, outside the digest.
RECORDED_PACKAGES = (
    "torch", "megatron-core", "sentencepiece", "transformers", "datasets", "ray", "pyarrow", "numpy", "numba",
    "faiss-cpu", "trl", "peft", "resiliparse", "fastwarc", "trafilatura",
)  # fmt: skip


@dataclass(frozen=True)
class Manifest:
    """A sealed artifact, opened and checked."""

    root: Path
    body: dict[str, Any]

    @property
    def data(self) -> Path:
        """The folder with the artifact's files."""
        return self.root / "data"

    @property
    def digest(self) -> str:
        """Content digest: fingerprint, inputs, statistics and every file's sha256; the same on every machine."""
        return self.body["digest"]

    @property
    def short(self) -> str:
        """The first 8 hexadecimal digits of the digest, as messages show it."""
        return short_digest(self.digest)

    @property
    def stats(self) -> dict[str, Any]:
        """What the stage counted."""
        return self.body["stats"]

    @property
    def inputs(self) -> dict[str, str]:
        """Digest of each input, by name."""
        return self.body["inputs"]


def fingerprint(settings: Any, inputs: Mapping[str, str], recipe: int) -> str:
    """`sha256:…` of what decides the bytes: settings, input digests, recipe number. No paths, hosts, workers."""
    return digest_json([identity(settings), dict(inputs), recipe])


class Artifact:
    """A folder being made by one stage of one run; use `begin_artifact`."""

    def __init__(self, root: Path, stage: str, run: RunFile, mark: str, inputs: dict[str, str], settings: Any) -> None:
        self.root, self.stage, self.run, self.fingerprint, self.inputs = root, stage, run, mark, inputs
        self.settings = settings
        self.data, self.work, self.events = root / "data", root / "work", root / "events.jsonl"
        self.sealed: Manifest | None = None
        self.started = datetime.now(UTC)
        # Kept open, so that no other folder can get its inode number.
        self._folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)

    def receipt_path(self, step: str, shard: str) -> Path:
        """Where the receipt of a finished shard stands."""
        return self.root / "receipts" / step / f"{shard}.json"

    def read_receipt(self, step: str, shard: str) -> dict[str, Any] | None:
        """Statistics of a shard that this recipe has finished, or None if it must run.

        Raises: RecipeDrift if another recipe finished it.
        """
        path = self.receipt_path(step, shard)
        if not path.exists():
            return None
        got = json.loads(path.read_text("utf-8"))
        if got["fingerprint"] != self.fingerprint:
            raise _drift(self, path, got["fingerprint"])
        return got["stats"]

    def write_receipt(self, step: str, shard: str, stats: Mapping[str, Any]) -> None:
        """Say that a shard is finished: its output files are under their final names."""
        write_json(self.receipt_path(step, shard), {"fingerprint": self.fingerprint, "stats": dict(stats)})

    def seal(self, stats: Mapping[str, Any], *, licences: Sequence[Mapping[str, str]] = ()) -> Manifest:
        """Hash every file of data/, write manifest.json last, remove work/, return the opened artifact.

        Args:
            stats: what the stage counted; deterministic, for it is part of the digest.
            licences: rows of source, licence, attribution of what went in.
        Raises: PipelineError if the folder was removed or replaced since this process began it.
        """
        self._check_folder()
        files = [
            {"path": p.relative_to(self.root).as_posix(), "bytes": p.stat().st_size, "sha256": digest_file(p)}
            for p in sorted(self.data.rglob("*"))
            if p.is_file()
        ]
        core = {
            "stage": self.stage,
            "fingerprint": self.fingerprint,
            "inputs": self.inputs,
            "stats": dict(stats),
            "licences": [dict(row) for row in licences],
            "files": files,
        }
        result = {
            "run": self.run.name,
            "settings": identity(self.settings),
            "overrides": list(self.run.overrides),
            "argv": sys.argv,
            "commit": _commit(),
            "started": self.started.isoformat(timespec="seconds"),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "python": platform.python_version(),
            "packages": _versions(),
        }
        self._check_folder()
        body = core | {"digest": digest_json(core), "made": result}
        write_json(self.root / "manifest.json", body)
        shutil.rmtree(self.work, ignore_errors=True)
        self.sealed = Manifest(self.root, body)
        return self.sealed

    def _check_folder(self) -> None:
        try:
            is_ours = os.path.samestat(self.root.stat(), os.fstat(self._folder))
        except FileNotFoundError:
            is_ours = False
        if not is_ours:
            raise PipelineError(f"{self.root}: removed while it was being made; run the same command again")

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self._folder)


@contextmanager
def begin_artifact(run: RunFile, stage: str, settings: Any, inputs: Mapping[str, str], *, recipe: int) -> Iterator[Artifact]:
    """Open the artifact of `stage` for making, alone; `.sealed` is set where it is made already.

    Raises:
        RecipeDrift: the folder was begun with other settings, inputs or recipe number.
        CorruptArtifact: it is sealed, but a file is missing or changed.
        PipelineError: another process is making it right now.
    """
    root = run.root(stage)
    mark = fingerprint(settings, inputs, recipe)
    with locked(root):
        root.mkdir(exist_ok=True)
        artifact = Artifact(root, stage, run, mark=mark, inputs=dict(inputs), settings=settings)
        try:
            _open_folder(artifact, recipe)
            yield artifact
        finally:
            artifact.close()


def _open_folder(artifact: Artifact, recipe: int) -> None:
    """Compare what the folder has with what is asked for; set `sealed`, or make the folder ready."""
    root, recipe_file = artifact.root, artifact.root / "recipe.json"
    begun = json.loads(recipe_file.read_text("utf-8")) if recipe_file.exists() else None
    now = {
        "fingerprint": artifact.fingerprint,
        "settings": identity(artifact.settings),
        "inputs": artifact.inputs,
        "recipe": recipe,
    }
    if begun and begun["fingerprint"] != artifact.fingerprint:
        raise _drift(artifact, root, begun["fingerprint"], _changes(begun, now))
    if (root / "manifest.json").exists():
        artifact.sealed = open_sealed(root)
        if artifact.sealed.body["fingerprint"] != artifact.fingerprint:  # recipe.json is gone, or is another's
            raise _drift(artifact, root, artifact.sealed.body["fingerprint"])
        return
    remove_unfinished(root)
    write_json(recipe_file, now)
    artifact.data.mkdir(exist_ok=True)
    artifact.work.mkdir(exist_ok=True)


def open_sealed(root: Path, *, verify_all: bool = False) -> Manifest:
    """Open a sealed artifact and check that it still is what its manifest says.

    Args:
        verify_all: hash every file however large; otherwise only artifacts below HASH_ON_OPEN_BYTES are hashed.
    Raises: MissingInput if it is not sealed; CorruptArtifact if a file is missing, extra or changed.
    """
    stage, name = root.parent.name, root.name
    path = root / "manifest.json"
    if not path.exists():
        raise MissingInput(f"{root}: no sealed {stage} artifact of run {name!r}; make it with `make {stage} RUN={name}`")
    redo = f"`make clean-{stage} RUN={name}` and make it again"
    try:
        body = json.loads(path.read_text("utf-8"))
        core = {k: v for k, v in body.items() if k not in ("digest", "made")}
        files = {row["path"]: row for row in body["files"]}
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptArtifact(f"{path}: not a manifest ({error!r}); {redo}") from error
    if digest_json(core) != body["digest"]:
        raise CorruptArtifact(f"{path}: its content does not match its own digest {body['digest'][:15]}; {redo}")
    sealed_as = body.get("stage"), body.get("made", {}).get("run")
    if sealed_as != (stage, name):
        raise CorruptArtifact(f"{root}: was sealed as {sealed_as[0]} of run {sealed_as[1]!r}; put it back there, or {redo}")
    inside = list((root / "data").rglob("*"))
    if links := [p for p in inside if p.is_symlink()]:
        raise CorruptArtifact(f"{links[0]}: a link, whose content is not part of what was sealed; {redo}")
    result = {p.relative_to(root).as_posix() for p in inside if p.is_file()}
    if result != files.keys():
        odd = sorted(result ^ files.keys())
        raise CorruptArtifact(f"{root}: {len(odd)} file(s) missing or not of this artifact, first {odd[0]}; {redo}")
    small = sum(row["bytes"] for row in files.values()) < HASH_ON_OPEN_BYTES
    for name_, row in files.items():
        file = root / name_
        if file.stat().st_size != row["bytes"]:
            raise CorruptArtifact(f"{file}: {file.stat().st_size} bytes, the manifest says {row['bytes']}; {redo}")
        if (small or verify_all) and digest_file(file) != row["sha256"]:
            raise CorruptArtifact(f"{file}: its content is not what was sealed (sha256 differs); {redo}")
    return Manifest(root, body)


def lock_path(root: Path) -> Path:
    """The lock of an artifact: beside its folder, so that it outlives the folder, and never removed."""
    return root.with_name(f".{root.name}.lock")


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the lock of an artifact; makes the folder of its stage.

    Raises: PipelineError if another process holds it.
    """
    root.parent.mkdir(parents=True, exist_ok=True)
    with lock_path(root).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PipelineError(f"{root}: another process is making this artifact; wait for it or stop it") from None
        yield


def _drift(artifact: Artifact, path: Path, begun: str, changes: str = "") -> RecipeDrift:
    return RecipeDrift(
        f"{path}: begun with recipe {short_digest(begun)}, this run is {short_digest(artifact.fingerprint)}{changes}; "
        f"give the run a new name, or `make clean-{artifact.stage} RUN={artifact.run.name}` to start over"
    )


def _changes(begun: dict[str, Any], now: dict[str, Any]) -> str:
    """Name the settings and inputs that differ, old -> new."""
    rows = []
    for part in ("settings", "inputs", "recipe"):
        old, new = _flat(begun.get(part), part), _flat(now.get(part), part)
        rows += [f"{k}: {old.get(k)!r} -> {new.get(k)!r}" for k in sorted(old.keys() | new.keys()) if old.get(k) != new.get(k)]
    return f" ({', '.join(rows[:3])}{', …' if len(rows) > 3 else ''})" if rows else ""


def _flat(value: Any, name: str) -> dict[str, Any]:
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in _flat(item, f"{name}.{key}").items()}
    if isinstance(value, list):
        return {k: v for i, item in enumerate(value) for k, v in _flat(item, f"{name}[{i}]").items()}
    return {name: value}


def _commit() -> dict[str, Any]:
    """Commit and dirty flag of the code, or nulls outside a git checkout."""

    def git(*words: str) -> str | None:
        done = subprocess.run(["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    try:
        status = git("status", "--porcelain", "--untracked-files=no")
        return {"sha": git("rev-parse", "HEAD"), "dirty": None if status is None else bool(status)}
    except FileNotFoundError:
        return {"sha": None, "dirty": None}


def _versions() -> dict[str, str]:
    matches = {}
    for name in RECORDED_PACKAGES:
        try:
            matches[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return matches
