"""A whole run of documents without the training: corpus, tokenizer, pack, the order that Megatron's data sets give, and index.

What search is measured on where a hit needs its document and its iterations.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.artifact import begin_artifact, open_sealed
from pipeline.documents import DOCUMENT_COLUMNS
from pipeline.runfile import RunFile, load_run

NAME, FILES = "works", 4
# LLM-jp's order of magnitude, and a vocabulary that trains in a minute; three epochs.
SEQ_LENGTH, BATCH, EPOCHS, VOCABULARY, CHARACTERS = 2048, 8, 3.0, 8000, 2_000_000
RUN = f"""
[tokenizer]
recipe = "bpe"
vocab_size = {VOCABULARY}
max_characters = {CHARACTERS}
[pack]
[index]
shard_bytes = {{shard_bytes}}
[ray]
workers = {{workers}}
"""


def make_run(
    folder: Path, documents: Sequence[str], *, shard_bytes: int, workers: int = 1, like: RunFile | None = None
) -> RunFile:
    """A sealed run of the documents; what is there already is taken as it is.

    Args:
        like: a run of the same documents, of which all but the index is taken over.
    """
    from pretrain.pack import __main__ as pack
    from search.index import __main__ as index
    from tokenizer import __main__ as tokenizer

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{NAME}.toml"
    path.write_text(RUN.format(shard_bytes=shard_bytes, workers=workers), "utf-8")
    artifacts = folder / "artifacts"
    for stage in ("corpus", "tokenizer", "pack", "pretrain"):
        if like:
            shutil.copytree(like.root(stage), artifacts / stage / NAME, dirs_exist_ok=True)
    run, line = load_run(str(path), artifacts=str(artifacts)), ["--run", str(path), "--artifacts", str(artifacts)]
    with Path(os.devnull).open("w") as quiet, contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        _corpus(run, documents)
        tokenizer.main(line)
        pack.main(line)
        _order(run)
        index.main(line)
    return run


def _corpus(run: RunFile, documents: Sequence[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with begin_artifact(run, "corpus", None, {"documents": str(len(documents))}, recipe=1) as artifact:
        if artifact.sealed:
            return
        (artifact.data / "documents").mkdir(exist_ok=True)
        for number in range(FILES):
            rows = [_row(place, documents[place]) for place in range(number, len(documents), FILES)]
            path = artifact.data / "documents" / f"works-{number:05}.parquet"
            pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=64)
        artifact.seal({})


def _row(number: int, text: str) -> dict[str, str]:
    about = {"doc_id": hashlib.sha256(str(number).encode()).hexdigest()[:32], "source": "works", "title": f"work {number}"}
    return {name: (about | {"text": text, "url": f"https://example.org/{number}"}).get(name, "") for name in DOCUMENT_COLUMNS}


def _order(run: RunFile) -> None:
    """The order in which training of EPOCHS would read the pack."""
    import torch.distributed as dist

    from pretrain.batches import BatchSchedule
    from pretrain.pack.indexed import open_indexed
    from pretrain.train import data
    from tokenizer.symbols import EOS_ID

    pack = open_sealed(run.root("pack"))
    with begin_artifact(run, "pretrain", None, {"pack": pack.digest}, recipe=1) as artifact:
        if artifact.sealed:
            return
        tokens = len(open_indexed(pack.data / "works" / "train").tokens)
        iterations = int(EPOCHS * tokens / SEQ_LENGTH / BATCH)
        settings = data.DataSettings(SEQ_LENGTH, iterations, BatchSchedule(BATCH), 1234, {"works": 1.0})
        with TemporaryDirectory() as folder:
            dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=0, world_size=1)
            data.build_datasets(pack.data, settings, eos_id=EOS_ID, cache=Path(folder)).save_order(artifact.data / "order")
            dist.destroy_process_group()
        artifact.seal({})
