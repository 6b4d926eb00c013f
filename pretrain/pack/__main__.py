"""Tokenize the corpus into Megatron's indexed datasets, a small share of every source held out for validation.

No document that is a copy of a held-out one, of whatever source, is trained on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import cli
from pipeline.artifact import Artifact, Manifest, begin_artifact, open_sealed
from pipeline.documents import HELD_OUT_SHARE, document_files, source_of_shard
from pipeline.errors import BadInput
from pipeline.progress import echo
from pipeline.shards import map_shards
from pretrain.pack.copies import CopyShard, FingerprintShard, find_copies, fingerprint_shard, merge_fingerprints
from pretrain.pack.indexed import token_dtype
from pretrain.pack.shards import EncodeShard, MergeSource, encode_shard, load_tokenizer, merge_source
from pretrain.pack.splits import SPLITS, Splits

RECIPE = 4


@dataclass(frozen=True)
class PackSettings:
    """`[pack]` of a run file."""

    valid_share: float = HELD_OUT_SHARE  # of each source's documents, chosen by a hash of doc_id; at least one, never all
    train_share: float = 1.0  # of the documents that are not held out, by the same hash: what a short run can read once

    copy_share: float = 0.5  # a document that holds this share of a held-out one's text is not trained on; 0: not looked for

    def __post_init__(self) -> None:
        if not 0 <= self.copy_share <= 1:
            raise ValueError(f"copy_share = {self.copy_share} must lie between 0 and 1")
        if not 0 < self.train_share <= 1:
            raise ValueError(f"train_share = {self.train_share} must lie above 0 and at most at 1")
        if not 0 < self.valid_share < 1:
            raise ValueError(f"valid_share = {self.valid_share} must lie between 0 and 1")


def main(argv: Sequence[str] | None = None) -> None:
    """Encode, merge, seal."""
    arguments = cli.stage_parser("pretrain.pack", __doc__ or "").parse_args(argv)
    run = cli.open_run(arguments)
    settings = run.settings("pack", PackSettings)
    if arguments.dry_run:
        echo(f"コーパスの各文書をトークン列にし、出典ごとに約 {settings.valid_share:.1%} を検証用に分けます")
        return
    corpus, tokenizer = open_sealed(run.root("corpus")), open_sealed(run.root("tokenizer"))
    inputs = {"corpus": corpus.digest, "tokenizer": tokenizer.digest}
    with begin_artifact(run, "pack", settings, inputs, recipe=RECIPE) as artifact:
        if cli.skip_if_sealed(artifact, "トークン列"):
            return
        shards = encode_shards(corpus, tokenizer, artifact)
        encoded = map_shards(encode_shard, shards, artifact, step="encode", label="トークン化")
        splits = split_sources(shards, encoded, settings)
        copies = copies_by_file(shards, splits, settings, artifact) if settings.copy_share else {}
        vocab_size = load_tokenizer(tokenizer.data).vocab_size
        merges = merge_shards(shards, splits, copies, vocab_size, artifact)
        sources = map_shards(merge_source, merges, artifact, step="merge", label="出典ごとに結合")
        stats = {"vocab_size": vocab_size, "dtype": token_dtype(vocab_size).name, "sources": sources}
        artifact.seal(stats, licences=corpus.body["licences"])
        echo_statistics(sources)


def encode_shards(corpus: Manifest, tokenizer: Manifest, artifact: Artifact) -> dict[str, EncodeShard]:
    """One shard a corpus file, named like it: `<source>-NNNNN`.

    Raises: BadInput if the corpus has no file.
    """
    files = document_files(corpus)
    if not files:
        raise BadInput(f"{corpus.data}: the corpus has no documents; see its statistics for what was dropped and why")
    return {
        path.stem: EncodeShard(path, source_of_shard(path.stem), tokenizer.data, artifact.work / "encoded" / path.stem)
        for path in files
    }


def split_sources(
    shards: Mapping[str, EncodeShard], encoded: Mapping[str, Mapping[str, Any]], settings: PackSettings
) -> dict[str, Splits]:
    """Which documents of each source go where.

    Args:
        encoded: what `encode_shard` returned, by the shards' names.
    Raises: BadInput if a source has fewer than two documents: one to train on, one to hold out.
    """
    splits = {}
    for source in sorted({shard.source for shard in shards.values()}):
        rows = [encoded[name] for name, shard in shards.items() if shard.source == source and encoded[name]["documents"]]
        if (documents := sum(row["documents"] for row in rows)) < 2:
            raise BadInput(
                f"source {source!r}: {documents} document(s) came out of the corpus, packing needs 2 (one to train "
                f"on, one to hold out); see the dropped documents' reasons in the corpus artifact, or remove the source"
            )
        edges = [row[edge] for row in rows for edge in ("lowest", "highest")]
        splits[source] = Splits.from_doc_ids(edges, settings.valid_share, settings.train_share)
    return splits


def copies_by_file(
    shards: Mapping[str, EncodeShard], splits: Mapping[str, Splits], settings: PackSettings, artifact: Artifact
) -> dict[str, Path]:
    """For each corpus file, a table of its training documents that duplicate held-out ones of any source."""
    folder, fingerprints = artifact.work / "copies", artifact.work / "held_out"
    sampled = {
        name: FingerprintShard(shard.documents, splits[shard.source], artifact.work / "fingerprints" / name)
        for name, shard in shards.items()
    }
    map_shards(fingerprint_shard, sampled, artifact, step="fingerprints", label="検証用の文書の指紋")
    if not fingerprints.exists():
        merge_fingerprints([shard.output for _, shard in sorted(sampled.items())], fingerprints)
    sought = {
        name: CopyShard(shard.documents, splits[shard.source], fingerprints, settings.copy_share, folder / f"{name}.parquet")
        for name, shard in shards.items()
    }
    map_shards(find_copies, sought, artifact, step="copies", label="検証用の文書との重複を探す")
    return {name: shard.output for name, shard in sought.items()}


def merge_shards(
    shards: Mapping[str, EncodeShard],
    splits: Mapping[str, Splits],
    copies: Mapping[str, Path],
    vocab_size: int,
    artifact: Artifact,
) -> dict[str, MergeSource]:
    """One merge a source, over its shards in canonical order (by name)."""
    merges = {}
    for source, split in splits.items():
        names = sorted(name for name, shard in shards.items() if shard.source == source)
        parts = tuple(shards[name].output for name in names)
        found = tuple(copies[name] for name in names if name in copies)
        merges[source] = MergeSource(
            source=source, parts=parts, vocab_size=vocab_size, splits=split, copies=found, output=artifact.data / source
        )
    return merges


def echo_statistics(sources: Mapping[str, Mapping[str, Any]]) -> None:
    """A line a source and split, for the person at the terminal."""
    names = {"train": "学習", "valid": "検証"}
    for source, splits in sources.items():
        for split in SPLITS:
            row = splits[split]
            echo(
                f"  {source} {names[split]}: {row['documents']:,} 文書  {row['tokens']:,} トークン  "
                f"{row['bytes']:,} バイト  ({row['bytes'] / row['tokens']:.2f} バイト/トークン)"
            )
        if copies := splits["copies"]["documents"]:
            echo(f"  {source} 検証用の文書の写しのため学習しない: {copies:,} 文書")
        if left_out := splits["left_out"]["documents"]:
            echo(f"  {source} 今回は使わない: {left_out:,} 文書")


if __name__ == "__main__":
    cli.stage_main(main)
