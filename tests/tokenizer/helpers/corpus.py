"""A sealed corpus artifact made by hand, as the corpus stage leaves one."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.artifact import Manifest, begin_artifact
from pipeline.documents import DOCUMENT_COLUMNS
from pipeline.runfile import RunFile
from tests.helpers import instruction_texts


def documents(source: str, count: int) -> list[str]:
    """`count` documents of a few lines each, all of the repository's own text."""
    texts = instruction_texts()
    begin_at = int(hashlib.sha256(source.encode()).hexdigest(), 16) % len(texts)
    texts = texts[begin_at:] + texts[:begin_at]
    return ["\n".join(texts[place::count]) for place in range(count)]


def identifier(source: str, text: str) -> str:
    return hashlib.sha256(f"{source}{text}".encode()).hexdigest()[:32]


def write_documents(path: Path, source: str, texts: Sequence[str]) -> None:
    rows = [
        dict.fromkeys(DOCUMENT_COLUMNS, "") | {"doc_id": identifier(source, text), "source": source, "text": text}
        for text in texts
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def seal_corpus(run: RunFile, sources: Mapping[str, Sequence[str]]) -> Manifest:
    with begin_artifact(run, "corpus", None, {}, recipe=1) as artifact:
        for source, texts in sources.items():
            write_documents(artifact.data / "documents" / f"{source}-00000.parquet", source, texts)
        rows = [{"source": source, "licence": "CC0-1.0", "attribution": "tests"} for source in sources]
        return artifact.seal({}, licences=rows)
