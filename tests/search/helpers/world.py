"""A small world: sealed corpus, tokenizer, pack and pretrain artifacts, and what training really read, token by token."""

import hashlib
import random
import unicodedata
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.artifact import begin_artifact
from pipeline.documents import DOCUMENT_COLUMNS
from pipeline.runfile import RunFile
from pretrain.order.save import Blend, SourceIndices, save_order
from tests.helpers import run_file
from tokenizer.encode import MODEL_FILE, Tokenizer
from tokenizer.settings import TokenizerSettings
from tokenizer.train.trainer import train

PARTS = {
    "a": (
        "源氏物語",
        "紫式部",
        "平安時代",
        "の作者",
        "は",
        "を",
        "書いた。",
        "とても長い",
        "と言われる。",
        "「春はあけぼの。」",
        "\n",
    ),
    "b": (
        "ファイル",
        "コマンド",
        "を実行する。",
        "a.*[b]",
        "が",
        "🙂",
        "👨‍👩‍👧",
        "か\u3099",
        "葛\U000e0100",
        "保存",
        "できます！",
        "\n",
    ),
}
SEQUENCE, BATCH = 64, 4
TABLE = "[index]\nshard_bytes = {shard_bytes}\npassage_least = 20\npassage_most = 60\ndimensions = 16\n[ray]\nworkers = 2\n"


def sentence(source: str, rng: random.Random) -> str:
    return "".join(rng.choice(PARTS.get(source, PARTS["a"])) for _ in range(rng.randint(3, 9)))


def text(source: str, number: int) -> str:
    """A document of one to forty sentences; every seventh one has a sentence of its own."""
    rng = random.Random(f"{source} {number}")
    own = f"第{number}章は{source}だけの文である。\n次の行へ続く。" if number % 7 == 0 else ""
    return unicodedata.normalize("NFC", own + "".join(sentence(source, rng) for _ in range(rng.randint(1, 40))))


@dataclass
class World:
    """What a test needs to know the truth."""

    run: RunFile
    tokenizer: Tokenizer
    documents: dict[str, list[dict[str, str]]]  # source -> rows of the training split, in corpus order
    held_out: list[dict[str, str]]
    total: int
    read: dict[tuple[str, int], set[int]] = field(default_factory=lambda: defaultdict(set))  # (doc_id, token) -> iterations

    def rows(self) -> list[dict[str, str]]:
        """Documents of which training read something, in corpus order."""
        return [row for rows in self.documents.values() for row in rows if (row["doc_id"], -1) in self.read]

    def iterations(self, row: dict[str, str], begin: int, end: int) -> tuple[int, ...]:
        """Iterations that read characters [begin, end), from each token's bytes alone."""
        low, high = len(row["text"][:begin].encode()), len(row["text"][:end].encode())
        first_byte = list(_character_bytes(row["text"]))
        found: set[int] = set()
        at = 0
        for number, token in enumerate(self.tokenizer.encode(row["text"])):
            size = len(self.tokenizer.token_bytes(token))
            # a byte of a character stands for the whole of it
            if first_byte[at] < high and at + size > low:
                found |= self.read[row["doc_id"], number]
            at += size
        return tuple(sorted(found))


def _character_bytes(whole: str) -> list[int]:
    """For every byte, the byte where its character begins."""
    begins, at = [], 0
    for character in whole:
        size = len(character.encode())
        begins += [at] * size
        at += size
    return begins


def make_world(folder: Path, *, shard_bytes: int = 40_000, iterations: int = 25, documents: int = 40, name: str = "t") -> World:
    """Seal corpus, tokenizer, pack and pretrain of a run below `folder`; two epochs of "a", a part of "b"."""
    folder.mkdir(parents=True, exist_ok=True)
    run = run_file(folder, TABLE.format(shard_bytes=shard_bytes), name=name)
    rows = {source: [new_row(source, number) for number in range(documents)] for source in PARTS}
    with begin_artifact(run, "corpus", None, {}, recipe=1) as artifact:
        (artifact.data / "documents").mkdir()
        for source, group in rows.items():
            path = artifact.data / "documents" / f"{source}-00000.parquet"
            pq.write_table(pa.Table.from_pylist(group), path, row_group_size=documents // 2)
        corpus = artifact.seal({}, licences=[{"source": "a", "licence": "CC0", "attribution": "test"}])
    with begin_artifact(run, "tokenizer", None, {"corpus": corpus.digest}, recipe=1) as artifact:
        settings = TokenizerSettings(vocab_size=700, max_characters=50_000, character_coverage=0.98, threads=1)
        (artifact.data / MODEL_FILE).write_bytes(train([row["text"] for g in rows.values() for row in g], settings))
        tokenizer_digest = artifact.seal({}).digest
    tokenizer = Tokenizer.load(run.root("tokenizer") / "data")
    kept = {source: group[:-3] for source, group in rows.items()}  # the last three of each source are held out
    lengths = {source: [len(tokenizer.encode(row["text"])) + 1 for row in group] for source, group in kept.items()}
    with begin_artifact(run, "pack", None, {"tokenizer": tokenizer_digest}, recipe=1) as artifact:
        for source, group in kept.items():
            (artifact.data / source).mkdir()
            table = {"doc_id": [row["doc_id"] for row in group], "tokens": np.array(lengths[source], np.int32)}
            pq.write_table(pa.table(table), artifact.data / source / "train.parquet")
        pack = artifact.seal({})
    world = World(run, tokenizer, kept, [row for group in rows.values() for row in group[-3:]], iterations)
    with begin_artifact(run, "pretrain", None, {"pack": pack.digest}, recipe=1) as artifact:
        _save_order(world, lengths, artifact.data / "order", pack.data)
        artifact.seal({})
    return world


def new_row(source: str, number: int) -> dict[str, str]:
    body = text(source, number)
    values = {
        "doc_id": hashlib.sha256(f"{source}{number}".encode()).hexdigest()[:32],
        "source": source,
        "url": f"https://example.jp/{source}/{number}",
        "title": f"文書{number}",
        "text": body,
    }
    return {name: values.get(name, "") for name in DOCUMENT_COLUMNS}


def _save_order(world: World, lengths: dict[str, list[int]], folder: Path, pack: Path) -> None:
    """Two sources in turn, every sample SEQUENCE tokens of a shuffled row of documents; remember who read which token."""
    rng = np.random.default_rng(5)
    samples = world.total * BATCH
    blend = np.array([0 if k % 4 else 1 for k in range(samples)])
    inside = np.zeros(samples, np.int64)
    indices = []
    for number, (source, sizes) in enumerate(lengths.items()):
        drawn = np.flatnonzero(blend == number)
        inside[drawn] = np.arange(len(drawn))
        epochs = -(-(len(drawn) * SEQUENCE + 1) // sum(sizes))
        row = np.concatenate([rng.permutation(len(sizes)) for _ in range(epochs)])
        tokens = [(place, offset) for place, document in enumerate(row) for offset in range(sizes[document])]
        count = (len(tokens) - 1) // SEQUENCE
        shuffle = rng.permutation(count)
        starts = np.array([tokens[p * SEQUENCE] for p in range(count + 1)], np.int64)
        indices.append(SourceIndices(source, row.astype(np.int32), starts, shuffle, np.array(sizes, np.int32)))
        for j, k in enumerate(drawn.tolist()):
            p = int(shuffle[j])
            for place, offset in tokens[p * SEQUENCE : (p + 1) * SEQUENCE]:
                doc_id = world.documents[source][row[place]]["doc_id"]
                world.read[doc_id, offset].add(k // BATCH + 1)
                world.read[doc_id, -1].add(k // BATCH + 1)  # -1: any token
    consumed = np.arange(world.total + 1) * BATCH
    save_order(folder, Blend(indices, blend, inside, consumed, SEQUENCE), pack)
