"""Packing: what Megatron's own reader finds is what the tokenizer said, and nothing else decides the bytes."""

import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from megatron.core.datasets.indexed_dataset import IndexedDataset, IndexedDatasetBuilder

from pipeline.artifact import Manifest, open_sealed
from pipeline.documents import held_out_key
from pipeline.errors import BadInput, ConfigError, CorruptArtifact, MissingInput
from pipeline.runfile import RunFile
from pretrain.pack import __main__ as pack
from pretrain.pack.indexed import Indexed, open_indexed, token_dtype, write_index
from pretrain.pack.shards import EncodeShard, MergeSource, encode_shard, merge_source
from pretrain.pack.splits import Splits
from tests.helpers import run_file
from tests.pretrain.helpers.corpora import CORPUS, LICENCES, arguments, identifier, make_run, texts, write_documents
from tokenizer.encode import Tokenizer


def expected_split(documents: Sequence[str], source: str, share: float) -> dict[str, list[str]]:
    """Which texts of a source go where, by the rule: the key below the share."""
    below = {t for t in documents if held_out_key(identifier(source, t)) / 2**64 < share}
    assert 0 < len(below) < len(documents), "choose test data that needs no exception"
    return {"train": [t for t in documents if t not in below], "valid": [t for t in documents if t in below]}


def test_megatron_reads_back_every_document(packed: tuple[RunFile, Manifest], tiny_tokenizer: Path) -> None:
    tokenizer, data = Tokenizer.load(tiny_tokenizer), packed[1].data
    for source in ("ja_man", "ja_web"):
        documents = [t for stem, rows in sorted(CORPUS.items()) if stem.startswith(source) for t in rows]
        for split, kept in expected_split(documents, source, 0.1).items():
            megatron, ours = IndexedDataset(str(data / source / split)), open_indexed(data / source / split)
            rows = pq.read_table(data / source / f"{split}.parquet").to_pylist()
            assert len(megatron) == len(rows) == len(kept) == len(ours.lengths)
            for number, (text, row) in enumerate(zip(kept, rows, strict=True)):
                tokens = [*tokenizer.encode(text), tokenizer.eos_id]
                assert np.asarray(megatron[number]).tolist() == ours.document(number).tolist() == tokens
                assert row == {"doc_id": identifier(source, text), "tokens": len(tokens), "bytes": len(text.encode())}
            counted = packed[1].stats["sources"][source][split]
            assert counted == {
                "documents": len(kept),
                "tokens": len(megatron.bin_reader.read(np.uint16, -1, 0)),
                "bytes": sum(len(text.encode()) for text in kept),
            }
            assert megatron.document_indices.tolist() == list(range(len(kept) + 1))
        train = np.fromfile(data / source / "train.bin", np.uint16)
        counted = np.bincount(train, minlength=tokenizer.vocab_size)
        assert np.load(data / source / "counts.npy").tolist() == counted.tolist()


def test_the_manifest_says_what_went_in(packed: tuple[RunFile, Manifest], tiny_tokenizer: Path) -> None:
    run, sealed = packed
    assert sealed.inputs == {stage: open_sealed(run.root(stage)).digest for stage in ("corpus", "tokenizer")}
    assert sealed.body["licences"] == LICENCES
    assert sealed.stats["vocab_size"] == Tokenizer.load(tiny_tokenizer).vocab_size and sealed.stats["dtype"] == "uint16"
    assert not (sealed.root / "work").exists()


def test_the_number_of_workers_decides_nothing(
    packed: tuple[RunFile, Manifest], tmp_path: Path, tiny_tokenizer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path, CORPUS, tiny_tokenizer, table="valid_share = 0.1", workers=1)
    pack.main(arguments(run))
    assert open_sealed(run.root("pack")).digest == packed[1].digest
    assert "ja_web 検証: " in capsys.readouterr().out
    pack.main(arguments(run))
    assert "作成済みのため省略します" in capsys.readouterr().out


KILLED_AT = """
import os, signal, sys
from pathlib import Path
from pretrain.pack import __main__ as pack

left, rename = int(sys.argv[1]), Path.replace
def replace(self, target):  # every file of ours appears by one rename: die in the place of one of them
    global left
    left -= "pack" in self.parts
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)

def one_by_one(task, shards, artifact, *, step, label):
    for name in sorted(shards):
        if artifact.read_receipt(step, name) is None:
            artifact.write_receipt(step, name, task(shards[name]))
    return {name: artifact.read_receipt(step, name) for name in sorted(shards)}

Path.replace, pack.map_shards = replace, one_by_one
pack.main(sys.argv[2:])
"""


def test_killed_anywhere_the_same_bytes_come_out(
    packed: tuple[RunFile, Manifest], tmp_path: Path, tiny_tokenizer: Path
) -> None:
    # one rename for recipe.json; a corpus file: three to encode it (tokens, rows, receipt), two to mark it, two to look for
    # copies in it; one to join the fingerprints; nine a merge; and the manifest
    run = make_run(tmp_path, CORPUS, tiny_tokenizer, table="valid_share = 0.1")
    for renames in (3, 7, 6, 5, 6, 5, 9):
        killed = subprocess.run(
            [sys.executable, "-c", KILLED_AT, str(renames), *arguments(run)], capture_output=True, text=True, check=False
        )
        assert killed.returncode == -9, killed.stderr
        with pytest.raises(MissingInput, match="no sealed pack artifact"):
            open_sealed(run.root("pack"))
    pack.main(arguments(run))
    assert open_sealed(run.root("pack")).digest == packed[1].digest


def split_of(
    folder: Path, documents: Sequence[str], tokenizer: Path, share: float = 0.1, *, files: int = 2, train_share: float = 1.0
) -> dict[str, list[str]]:
    """Pack one source in this process; split -> doc_ids in order."""
    shards = {}
    for number in range(files):
        path = folder / "documents" / f"s-{number:05}.parquet"
        write_documents(path, documents[number::files], "s")
        shards[path.stem] = EncodeShard(path, "s", tokenizer, folder / "encoded" / path.stem)
    encoded = {name: encode_shard(shard) for name, shard in shards.items()}
    splits = pack.split_sources(shards, encoded, pack.PackSettings(share, train_share))
    merge_source(MergeSource("s", tuple(s.output for s in shards.values()), 1280, splits["s"], (), folder / "out"))
    return {split: pq.read_table(folder / "out" / f"{split}.parquet")["doc_id"].to_pylist() for split in ("train", "valid")}


def test_held_out_documents_stay_held_out_when_others_come(tmp_path: Path, tiny_tokenizer: Path) -> None:
    before = split_of(tmp_path / "before", texts(0, 100), tiny_tokenizer)
    after = split_of(tmp_path / "after", [f"新しい文書{n}" for n in range(100)] + texts(0, 100), tiny_tokenizer, files=3)
    assert len(before["valid"]) > 2
    assert set(before["valid"]) <= set(after["valid"]) and set(before["train"]) <= set(after["train"])


def test_a_training_share_takes_part_of_the_same_documents_and_counts_the_rest(tmp_path: Path, tiny_tokenizer: Path) -> None:
    documents = texts(0, 100)
    whole = split_of(tmp_path / "whole", documents, tiny_tokenizer)
    part = split_of(tmp_path / "part", documents, tiny_tokenizer, train_share=0.4)
    assert part["valid"] == whole["valid"]
    assert [d for d in whole["train"] if d in set(part["train"])] == part["train"]
    assert 0.2 < len(part["train"]) / len(whole["train"]) < 0.6
    low, high = 0.1 * 2**64, (0.1 + 0.4 * 0.9) * 2**64
    never_held_out = max(whole["train"], key=held_out_key)
    assert set(part["train"]) == {d for d in whole["train"] if low <= held_out_key(d) < high} | {never_held_out}
    parts = tuple(sorted((tmp_path / "part" / "encoded").glob("*.parquet")))
    splits = Splits.from_doc_ids([identifier("s", text) for text in documents], 0.1, 0.4)
    merge = MergeSource("s", tuple(p.with_suffix("") for p in parts), 1280, splits, (), tmp_path / "again")
    assert merge_source(merge)["left_out"] == {"documents": 100 - len(part["train"]) - len(part["valid"])}


@settings(max_examples=15)
@given(count=st.integers(2, 12), share=st.floats(1e-6, 1 - 1e-6))
def test_there_always_is_one_to_train_on_and_one_to_hold_out(
    tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: Path, count: int, share: float
) -> None:
    got = split_of(tmp_path_factory.mktemp("split"), texts(0, count), tiny_tokenizer, share)
    assert got["train"] and got["valid"]
    assert sorted(got["train"] + got["valid"]) == sorted(identifier("s", t) for t in texts(0, count))


def test_the_held_out_share_is_what_was_asked() -> None:
    keys = [held_out_key(identifier("s", str(number))) / 2**64 for number in range(20_000)]
    for share in (0.01, 0.02, 0.5):
        spread = (share * (1 - share) / len(keys)) ** 0.5
        assert abs(sum(key < share for key in keys) / len(keys) - share) < 5 * spread


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
@settings(max_examples=50)
@given(documents=st.lists(st.lists(st.integers(0, 65_499), max_size=9), max_size=9))
def test_files_are_byte_for_byte_megatrons(
    tmp_path_factory: pytest.TempPathFactory, dtype: type[np.integer[Any]], documents: list[list[int]]
) -> None:
    folder = tmp_path_factory.mktemp("bytes")
    builder = IndexedDatasetBuilder(str(folder / "m.bin"), dtype=dtype)
    for tokens in documents:
        builder.add_item(torch.tensor(tokens))
        builder.end_document()
    builder.finalize(str(folder / "m.idx"))
    write_index(folder / "ours.idx", np.array([len(tokens) for tokens in documents], np.int64), np.dtype(dtype))
    assert (folder / "ours.idx").read_bytes() == (folder / "m.idx").read_bytes()
    if sum(map(len, documents)):  # neither reader can map an empty file
        opened = open_indexed(folder / "m")
        assert opened.tokens.dtype == dtype
        assert [opened.document(number).tolist() for number in range(len(documents))] == documents


def test_the_type_of_a_token_follows_the_vocabulary_as_megatrons_does() -> None:
    from megatron.core.datasets.indexed_dataset import DType

    for vocab_size in (1, 8192, 65_499, 65_500, 65_536, 99_574, 1 << 20):
        assert token_dtype(vocab_size) == np.dtype(DType.optimal_dtype(vocab_size))


class Wide:
    """A tokenizer with one id a character."""

    eos_id = 2

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size

    def encode_arrays(self, batch: Iterable[str]) -> list[np.ndarray]:
        return [np.array([ord(character) for character in text], np.int32) for text in batch]


@pytest.mark.parametrize(("vocab_size", "dtype"), [(65_499, np.uint16), (65_500, np.int32), (0x110000, np.int32)])
def test_tokens_at_the_edge_of_two_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vocab_size: int, dtype: type[np.integer[Any]]
) -> None:
    monkeypatch.setattr("pretrain.pack.shards.load_tokenizer", lambda folder: Wide(vocab_size))
    documents = [chr(vocab_size - 1) * 3, "あ" + chr(vocab_size - 1)]
    write_documents(tmp_path / "s-00000.parquet", documents, "s")
    encode_shard(EncodeShard(tmp_path / "s-00000.parquet", "s", tmp_path, tmp_path / "part"))
    splits = Splits.from_doc_ids([identifier("s", text) for text in documents], 0.5, 1.0)
    merge_source(MergeSource("s", (tmp_path / "part",), vocab_size, splits, (), tmp_path / "out"))
    got: list[Indexed] = [open_indexed(tmp_path / "out" / split) for split in ("train", "valid")]
    assert all(split.tokens.dtype == dtype for split in got)
    expected = [[*map(ord, text), 2] for text in documents]
    assert sorted(split.document(0).tolist() for split in got) == sorted(expected)


@pytest.mark.parametrize("documents", [[], ["一つだけ"]])
def test_a_source_with_too_few_documents_is_refused(tmp_path: Path, tiny_tokenizer: Path, documents: list[str]) -> None:
    with pytest.raises(BadInput, match=rf"source 's': {len(documents)} document\(s\).*packing needs 2"):
        split_of(tmp_path, documents, tiny_tokenizer)


def test_bad_input_is_one_clear_line(tmp_path: Path, tiny_tokenizer: Path, ray_session: None) -> None:
    empty = make_run(tmp_path / "empty", {}, tiny_tokenizer)
    with pytest.raises(BadInput, match="the corpus has no documents"):
        pack.main(arguments(empty))
    hollow = make_run(tmp_path / "hollow", {"ja_web-00000": []}, tiny_tokenizer)
    with pytest.raises(BadInput, match="source 'ja_web': 0 document"):
        pack.main(arguments(hollow))
    share = make_run(tmp_path / "share", {}, tiny_tokenizer, table="valid_share = 1.5")
    with pytest.raises(ConfigError, match=r"valid_share = 1\.5 must lie between 0 and 1"):
        pack.main(arguments(share))
    nothing = run_file(tmp_path, "[pack]\n", name="nothing")
    with pytest.raises(MissingInput, match="no sealed corpus artifact"):
        pack.main(arguments(nothing))


def test_a_document_of_another_source_is_refused(tmp_path: Path, tiny_tokenizer: Path) -> None:
    write_documents(tmp_path / "s-00000.parquet", ["一", "二"], "other")
    with pytest.raises(CorruptArtifact, match="a document of 'other' among those of 's'"):
        encode_shard(EncodeShard(tmp_path / "s-00000.parquet", "s", tiny_tokenizer, tmp_path / "part"))


@pytest.mark.parametrize("damage", [b"MMIDIDX\0\1", b"", b"MMIDIDX\0\0" + bytes(30)])
def test_a_damaged_index_is_refused(tmp_path: Path, damage: bytes) -> None:
    write_index(tmp_path / "s.idx", np.array([2, 1]), np.dtype(np.uint16))
    (tmp_path / "s.bin").write_bytes(bytes(6))
    assert open_indexed(tmp_path / "s").lengths.tolist() == [2, 1]
    (tmp_path / "s.idx").write_bytes(damage)
    with pytest.raises(CorruptArtifact, match="not a Megatron index"):
        open_indexed(tmp_path / "s")


def test_an_index_of_other_tokens_is_refused(tmp_path: Path) -> None:
    write_index(tmp_path / "s.idx", np.array([2, 1]), np.dtype(np.uint16))
    (tmp_path / "s.bin").write_bytes(bytes(8))
    with pytest.raises(CorruptArtifact, match=r"does not end where s\.bin ends"):
        open_indexed(tmp_path / "s")


def test_dry_run_needs_no_upstream(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_file(tmp_path, "[pack]\n")
    pack.main([*arguments(run), "--dry-run"])
    assert "2.0%" in capsys.readouterr().out and not run.artifacts.exists()
