"""A sealed corpus made by hand: random values of rules, verdicts by plain Python, copies with known kept representatives."""

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.files import digest_file, digest_json, write_json

RULES: list[dict[str, Any]] = [
    {"name": "japanese", "stage": "language", "bound": "least", "threshold": 0.05, "above": ["kanji"], "below": ["latin"]},
    {"name": "length", "stage": "quality", "bound": "least", "threshold": 100.0, "above": ["kanji"], "below": []},
    {"name": "kuten", "stage": "quality", "bound": "most", "threshold": 250.0, "above": ["visible"], "below": ["kuten"]},
    {"name": "repeated", "stage": "quality", "bound": "most", "threshold": 0.3, "above": ["repeated"], "below": ["visible"]},
]
STRINGS = ("doc_id", "source", "url", "host", "verdict", "stage", "rule", "detail", "duplicate_of", "charset", "flags")


def verdict(row: dict[str, Any], limits: dict[str, float]) -> str | None:
    """The first rule that a row fails, one comparison after the other."""
    for rule in RULES:
        value, limit = row[rule["name"]], limits.get(rule["name"], rule["threshold"])
        if value is None:
            return row["rule"]
        if (value < limit) if rule["bound"] == "least" else (value > limit):
            return rule["name"]
    return None


def make_rows(rng: random.Random, source: str, count: int) -> list[dict[str, Any]]:
    rows = []
    for number in range(count):
        host = f"h{rng.randrange(6)}.example"
        row: dict[str, Any] = dict.fromkeys([*STRINGS, *(rule["name"] for rule in RULES)])
        row |= {"doc_id": f"{rng.getrandbits(128):032x}", "source": source, "host": host, "masked": 0, "flags": ""}
        row |= {"url": f"https://{host}/{source}/{number}-{row['doc_id'][-8:]}", "characters": None, "charset": "utf-8"}
        if rng.random() < 0.1:
            row |= {"stage": "read", "rule": "no_text", "charset": None}
        else:
            row["characters"] = rng.randrange(10, 5000)
            # Few different values, so that some stand exactly on a threshold.
            row |= {"japanese": rng.choice([0.0, 0.04, 0.05, 0.5, 0.9]), "length": float(rng.choice([50, 99, 100, 101, 900]))}
            row |= {"kuten": rng.choice([10.0, 250.0, 250.5, 400.0]), "repeated": rng.choice([0.0, 0.1, 0.3, 0.31, 0.9])}
            row["rule"] = verdict(row, {})
            row["stage"] = next((rule["stage"] for rule in RULES if rule["name"] == row["rule"]), None)
        rows.append(row)
    return rows


def add_copies(rng: random.Random, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Turn some kept rows into copies, some of them of copies; returns the rows of clusters/."""
    kept = [row for row in rows if row["rule"] is None]
    rng.shuffle(kept)
    found = []
    for place in range(0, len(kept) // 2, 4):
        survivor, near, exact = kept[place : place + 3]
        for copy, above, kind, similarity in ((near, survivor, "near", 0.9), (exact, near, "exact", 1.0)):
            copy |= {"stage": "dedup", "rule": kind, "duplicate_of": above["doc_id"]}
            found.append({"doc_id": copy["doc_id"], "survivor": above["doc_id"], "kind": kind, "similarity": similarity})
    return found


def seal(folder: Path, shards: dict[str, list[dict[str, Any]]], clusters: list[dict[str, Any]], group: int = 7) -> Path:
    """Write data/ and the manifest; returns artifacts/corpus/t below `folder`."""
    root = folder / "corpus" / "t"
    schema = pa.schema(
        [(name, pa.string()) for name in STRINGS]
        + [("characters", pa.int64()), ("masked", pa.int64())]
        + [(rule["name"], pa.float64()) for rule in RULES]
    ).with_metadata({"minamoto.rules": json.dumps({"preset": "test", "rules": RULES, "dedup": {"min_similarity": 0.8}})})
    stats: dict[str, Any] = {"sources": {}, "copies": {}}
    for name in ("decisions", "clusters", "documents"):
        (root / "data" / name).mkdir(parents=True)
    for name, rows in shards.items():
        for row in rows:
            row["verdict"] = "kept" if row["rule"] is None else "dropped"
        pq.write_table(
            pa.Table.from_pylist(rows, schema), root / "data" / "decisions" / f"{name}.parquet", row_group_size=group
        )
        kept = [{"doc_id": row["doc_id"], "title": f"題{row['doc_id'][:4]}"} for row in rows if row["verdict"] == "kept"]
        table = pa.Table.from_pylist(kept, pa.schema([("doc_id", pa.string()), ("title", pa.string())]))
        pq.write_table(table, root / "data" / "documents" / f"{name}.parquet")
        mine = [row for row in clusters if row["doc_id"] in {row["doc_id"] for row in rows}]
        kinds = pa.schema(
            [("doc_id", pa.string()), ("survivor", pa.string()), ("kind", pa.string()), ("similarity", pa.float64())]
        )
        pq.write_table(pa.Table.from_pylist(mine, kinds), root / "data" / "clusters" / f"{name}.parquet")
        account = stats["sources"].setdefault(name.rpartition("-")[0], {"in": 0, "kept": 0, "characters": 0})
        account["in"] += len(rows)
        account["kept"] += len(kept)
        account["characters"] += sum(row["characters"] for row in rows if row["verdict"] == "kept")
    write_manifest(root, stats)
    return root


def write_manifest(root: Path, stats: dict[str, Any]) -> None:
    files = [
        {"path": path.relative_to(root).as_posix(), "bytes": path.stat().st_size, "sha256": digest_file(path)}
        for path in sorted((root / "data").rglob("*"))
        if path.is_file()
    ]
    core = {"stage": "corpus", "fingerprint": "sha256:0", "inputs": {}, "stats": stats, "licences": [], "files": files}
    made = {"run": "t", "settings": {}, "finished": "2026-01-01T00:00:00+00:00", "packages": {}}
    write_json(root / "manifest.json", core | {"digest": digest_json(core), "made": made})


def make_sealed(folder: Path, seed: int = 0, count: int = 200) -> tuple[Path, list[dict[str, Any]]]:
    """Three shards of two sources, the copies across them, and all rows."""
    rng = random.Random(seed)
    shards = {name: make_rows(rng, name.rpartition("-")[0], count) for name in ("ja_web-00000", "ja_web-00001", "ja_man-00000")}
    rows = [row for shard in shards.values() for row in shard]
    return seal(folder, shards, add_copies(rng, rows)), rows
