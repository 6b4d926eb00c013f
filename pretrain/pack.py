"""Tokenize the corpus into Megatron's indexed datasets, a small share of every source held out for validation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline import cli
from pipeline.artifact import Artifact, Manifest, begin, open_sealed
from pipeline.documents import HELD_OUT_SHARE, document_files
from pipeline.errors import BadInput
from pipeline.progress import say
from pipeline.shards import map_shards
from pretrain.pack_indexed import token_dtype
from pretrain.pack_shards import SPLITS, EncodeShard, MergeSource, encode_shard, load_tokenizer, merge_source

RECIPE = 2


@dataclass(frozen=True)
class PackSettings:
    """`[pack]` of a run file."""

    valid_share: float = HELD_OUT_SHARE  # of each source's documents, chosen by a hash of doc_id; at least one, never all
    train_share: float = 1.0  # of the documents that are not held out, by the same hash: what a short run can read once

    def __post_init__(self) -> None:
        if not 0 < self.train_share <= 1:
            raise ValueError(f"train_share = {self.train_share} must lie above 0 and at most at 1")
        if not 0 < self.valid_share < 1:
            raise ValueError(f"valid_share = {self.valid_share} must lie between 0 and 1")


def main(argv: Sequence[str] | None = None) -> None:
    """Encode, merge, seal."""
    arguments = cli.parser("pretrain.pack", __doc__ or "").parse_args(argv)
    run = cli.open_run(arguments)
    settings = run.settings("pack", PackSettings)
    if arguments.dry_run:
        say(f"コーパスの各文書をトークン列にし、出典ごとに約 {settings.valid_share:.1%} を検証用に分けます")
        return
    corpus, tokenizer = open_sealed(run.root("corpus")), open_sealed(run.root("tokenizer"))
    inputs = {"corpus": corpus.digest, "tokenizer": tokenizer.digest}
    with begin(run, "pack", settings, inputs, recipe=RECIPE) as artifact:
        if cli.said_sealed(artifact, "トークン列"):
            return
        shards = encode_shards(corpus, tokenizer, artifact)
        map_shards(encode_shard, shards, artifact, step="encode", label="トークン化")
        vocab_size = load_tokenizer(tokenizer.data).vocab_size
        merges = merge_shards(shards, settings, vocab_size, artifact)
        sources = map_shards(merge_source, merges, artifact, step="merge", label="出典ごとに結合")
        stats = {"vocab_size": vocab_size, "dtype": token_dtype(vocab_size).name, "sources": sources}
        artifact.seal(stats, licences=corpus.body["licences"])
        report(sources)


def encode_shards(corpus: Manifest, tokenizer: Manifest, artifact: Artifact) -> dict[str, EncodeShard]:
    """One shard a corpus file, named like it: `<source>-NNNNN`.

    Raises: BadInput if the corpus has no file.
    """
    files = document_files(corpus)
    if not files:
        raise BadInput(f"{corpus.data}: the corpus has no documents; see its statistics for what was dropped and why")
    return {
        path.stem: EncodeShard(path, path.stem.rpartition("-")[0], tokenizer.data, artifact.work / "encoded" / path.stem)
        for path in files
    }


def merge_shards(
    shards: Mapping[str, EncodeShard], settings: PackSettings, vocab_size: int, artifact: Artifact
) -> dict[str, MergeSource]:
    """One merge a source, over its shards in canonical order (by name)."""
    merges = {}
    for source in sorted({shard.source for shard in shards.values()}):
        parts = tuple(shard.output for _, shard in sorted(shards.items()) if shard.source == source)
        merges[source] = MergeSource(
            source, parts, vocab_size, settings.valid_share, settings.train_share, artifact.data / source
        )
    return merges


def report(sources: Mapping[str, Mapping[str, Any]]) -> None:
    """A line a source and split, for the person at the terminal."""
    names = {"train": "学習", "valid": "検証"}
    for source, splits in sources.items():
        for split in SPLITS:
            row = splits[split]
            say(
                f"  {source} {names[split]}: {row['documents']:,} 文書  {row['tokens']:,} トークン  "
                f"{row['bytes']:,} バイト  ({row['bytes'] / row['tokens']:.2f} バイト/トークン)"
            )
        if left_out := splits["left_out"]["documents"]:
            say(f"  {source} 今回は使わない: {left_out:,} 文書")


if __name__ == "__main__":
    cli.stage_main(main)
