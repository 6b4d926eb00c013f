"""Sealed corpora and tokenizers for tests of what comes after them."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.artifact import begin_artifact
from pipeline.documents import DOCUMENT_COLUMNS
from pipeline.runfile import RunFile
from tests.helpers import instruction_texts, run_file

Corpus = Mapping[str, Sequence[str]]  # file stem -> texts of its documents
LICENCES = [{"source": "ja_web", "licence": "CC0-1.0", "attribution": "試験"}]


def texts(first: int, count: int) -> list[str]:
    """Some Japanese, some of it hard: an empty text, line ends, emoji, SentencePiece's own mark."""
    hard = ["", "一行目\n二行目\n", "絵文字👩‍👩‍👧と▁と\u3000空白"]
    return (hard + instruction_texts())[first : first + count]


CORPUS = {
    "ja_man-00000": texts(0, 30),
    "ja_web-00000": texts(30, 60),
    "ja_web-00001": texts(90, 1),
    "ja_web-00002": texts(100, 40),
}


def identifier(source: str, text: str) -> str:
    return hashlib.sha256(f"{source}\0{text}".encode()).hexdigest()[:32]


def write_documents(path: Path, documents: Sequence[str], source: str) -> None:
    columns: dict[str, Any] = {name: [""] * len(documents) for name in DOCUMENT_COLUMNS}
    columns |= {"doc_id": [identifier(source, t) for t in documents], "source": [source] * len(documents), "text": documents}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({name: pa.array(column, pa.string()) for name, column in columns.items()}), path)


def make_run(folder: Path, corpus: Corpus, tokenizer: Path, *, name: str = "t", table: str = "", workers: int = 2) -> RunFile:
    """A run with a sealed corpus and tokenizer, and a [pack] table."""
    folder.mkdir(exist_ok=True)
    run = run_file(folder, f"[pack]\n{table}\n[ray]\nworkers = {workers}\n", name=name)
    with begin_artifact(run, "corpus", {}, {}, recipe=1) as artifact:
        for stem, documents in corpus.items():
            write_documents(artifact.data / "documents" / f"{stem}.parquet", documents, stem.rpartition("-")[0])
        artifact.seal({}, licences=LICENCES)
    with begin_artifact(run, "tokenizer", {}, {}, recipe=1) as artifact:
        (artifact.data / "tokenizer.model").write_bytes((tokenizer / "tokenizer.model").read_bytes())
        artifact.seal({})
    return run


def arguments(run: RunFile) -> list[str]:
    return ["--run", str(run.path), "--artifacts", str(run.artifacts)]
