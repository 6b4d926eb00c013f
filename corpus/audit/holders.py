"""`make holders`: which sealed artifacts contain a document, a page or a host.

A corpus is searched by its decisions, packed data and an index by their own tables of documents. A tokenizer or a model
holds no documents: it is named where it was made from something that does, for what it has learned cannot be looked up.
"""

import argparse
import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.increment.removals import Selection, host_of, read_selection
from pipeline import cli
from pipeline.artifact import Manifest
from pipeline.errors import ConfigError, CorruptArtifact, MissingInput
from pipeline.files import short_digest
from pipeline.progress import echo

# Stages in the order in which they build on each other; an artifact only has inputs from earlier ones.
STAGES = ("corpus", "tokenizer", "pack", "pretrain", "finetune", "lora", "index")
# Files in which a stage names its documents.
TABLES = {"pack": "*/*.parquet", "index": "passages/*/documents.arrow"}
NAMES = {
    "corpus": "コーパス",
    "tokenizer": "トークナイザー",
    "pack": "トークン列",
    "pretrain": "事前学習モデル",
    "finetune": "追加学習モデル",
    "lora": "LoRAモデル",
    "index": "索引",
}
SHOWN = 10


@dataclass(frozen=True)
class Row:
    """A decision on a document that was asked for."""

    doc_id: str
    source: str
    url: str
    verdict: str
    rule: str | None


@dataclass(frozen=True)
class Holder:
    """An artifact that contains what was asked for, or was made from one that does."""

    stage: str
    run: str
    digest: str
    certain: bool  # its own tables name a document; else it was made from what does
    documents: tuple[str, ...] = ()  # doc_ids it holds
    dropped: tuple[Row, ...] = ()  # corpus: came in, but does not be in its documents
    through: tuple[str, ...] = ()  # names of the inputs by which it came


def holders(artifacts: Path, selection: Selection) -> list[Holder]:
    """Every artifact below `artifacts` that contains what the selection chooses, in the order of stages and runs.

    Raises: MissingInput if there is no sealed corpus; CorruptArtifact if a manifest cannot be read.
    """
    sealed = [manifest for stage in STAGES for manifest in _sealed(artifacts / stage)]
    if not any(_stage(manifest) == "corpus" for manifest in sealed):
        raise MissingInput(f"{artifacts}: no sealed corpus below it; give the folder of all artifacts with --artifacts")
    matches: list[Holder] = []
    tainted: set[str] = set()
    documents: set[str] = set()
    for manifest in sealed:
        if _stage(manifest) == "corpus":
            holder = _of_corpus(manifest, selection)
            documents.update(holder.documents if holder else ())
        else:
            holder = _of_later(manifest, tainted, documents)
        if holder:
            matches.append(holder)
            if holder.documents or not holder.certain:
                tainted.add(manifest.digest)
    return matches


def _of_corpus(manifest: Manifest, selection: Selection) -> Holder | None:
    rows = list(_decisions(manifest, selection))
    if not rows:
        return None
    kept = tuple(row.doc_id for row in rows if row.verdict == "kept")
    dropped = tuple(row for row in rows if row.verdict != "kept")
    return Holder(stage="corpus", run=manifest.root.name, digest=manifest.digest, certain=True, documents=kept, dropped=dropped)


def _of_later(manifest: Manifest, tainted: set[str], documents: set[str]) -> Holder | None:
    stage = _stage(manifest)
    through = tuple(sorted(name for name, digest in manifest.inputs.items() if digest in tainted))
    if not through:
        return None
    if stage not in TABLES:
        return Holder(stage, manifest.root.name, manifest.digest, False, through=through)
    existing = sorted(
        {name for path in sorted(manifest.data.glob(TABLES[stage])) for name in _doc_ids(path) if name in documents}
    )
    return Holder(stage, manifest.root.name, manifest.digest, True, tuple(existing), through=through) if existing else None


def _likely(batch: Any, selection: Selection) -> Any:
    """Rows that a selection may choose: a host is in its urls, so that most rows need not become Python objects."""
    import pyarrow as pa
    import pyarrow.compute as pc

    masks = [
        pc.call_function("is_in", [batch[name]], pc.SetLookupOptions(pa.array(sorted(values), pa.string())))
        for name, values in (("doc_id", selection.docs), ("url", selection.urls))
    ]
    for host in (*selection.hosts, *selection.domains):
        options = pc.MatchSubstringOptions(host, ignore_case=True)
        masks.append(pc.call_function("match_substring", [batch["url"]], options))
    return batch.filter(functools.reduce(lambda one, other: pc.call_function("or", [one, other]), masks))


def _decisions(manifest: Manifest, selection: Selection) -> Iterator[Row]:
    import pyarrow.parquet as pq

    for path in sorted((manifest.data / "decisions").glob("*.parquet")):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=["doc_id", "source", "url", "verdict", "rule"]):
                for row in _likely(batch, selection).to_pylist():
                    if selection.of(row["doc_id"], row["url"], host_of(row["url"])):
                        yield Row(**row)


def _doc_ids(path: Path) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.suffix == ".parquet":
        return pq.read_table(path, columns=["doc_id"])["doc_id"].to_pylist()
    with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as file:
        return file.read_all()["doc_id"].to_pylist()


def _sealed(folder: Path) -> list[Manifest]:
    """Artifacts of a stage by their manifests; their files are not hashed, for they are only looked into."""
    matches = []
    for path in sorted(folder.glob("*/manifest.json")):
        try:
            body = json.loads(path.read_text("utf-8"))
            matches.append(Manifest(path.parent, {**body, "digest": body["digest"], "inputs": body["inputs"]}))
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptArtifact(f"{path}: not a manifest ({error!r}); remove this artifact and make it again") from error
    return matches


def _stage(manifest: Manifest) -> str:
    return manifest.root.parent.name


def _lines(found: Sequence[Holder], asked: str) -> Iterator[str]:
    if not found:
        yield f"{asked}: どの成果物にも入っていません"
        return
    yield f"{asked} を含む成果物:"
    for holder in found:
        head = f"  {NAMES[holder.stage]} {holder.stage}/{holder.run} ({short_digest(holder.digest)})"
        if not holder.certain:
            yield f"{head}: 含む可能性があります ({', '.join(holder.through)} から作成)"
            continue
        if holder.documents:
            names = ", ".join(holder.documents[:SHOWN]) + (" …" if len(holder.documents) > SHOWN else "")
            yield f"{head}: {len(holder.documents):,} 文書 {names}"
        else:
            yield f"{head}: 本文は含みません"
        for row in holder.dropped[:SHOWN]:
            yield f"    入力にあり、除外済み: {row.doc_id} ({row.rule}) {row.url}"
        if len(holder.dropped) > SHOWN:
            yield f"    ほかに除外済み {len(holder.dropped) - SHOWN:,} 件"


def _json(found: Sequence[Holder]) -> str:
    rows: list[dict[str, Any]] = [
        {
            "stage": holder.stage,
            "run": holder.run,
            "digest": holder.digest,
            "holds": "yes" if holder.documents else "may" if not holder.certain else "no",
            "documents": list(holder.documents),
            "dropped": [vars(row) for row in holder.dropped],
            "through": list(holder.through),
        }
        for holder in found
    ]
    return json.dumps(rows, ensure_ascii=False, indent=1)


def main(argv: Sequence[str] | None = None) -> None:
    """Answer one question."""
    parser = argparse.ArgumentParser(prog="python -m corpus.audit.holders", description=__doc__)
    parser.add_argument("--artifacts", default="artifacts", help="root folder of all artifacts")
    parser.add_argument("--doc", default="", help="a doc_id")
    parser.add_argument("--url", default="", help="a URL, as decisions/ has it")
    parser.add_argument("--host", default="", help="a host, or *.<domain> for a domain and all hosts below it")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(argv)
    entries = [f"{mark}:{value}" for mark in ("doc", "url", "host") if (value := getattr(arguments, mark))]
    if not entries:
        raise ConfigError(
            "holders: nothing to look for; give one of DOC=<doc_id>, URL=<url>, HOST=<host> (--doc, --url, --host)"
        )
    result = holders(Path(arguments.artifacts), read_selection(entries))
    if arguments.json:
        echo(_json(result))
        return
    for line in _lines(result, ", ".join(entries)):
        echo(line)


if __name__ == "__main__":
    cli.stage_main(main)
