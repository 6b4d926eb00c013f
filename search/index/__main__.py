"""Index the training data: suffix arrays, passages and vectors of every document that pretraining has read."""

from collections.abc import Sequence

from pipeline import cli
from pipeline.artifact import begin_artifact, open_sealed
from pipeline.errors import BadInput
from pipeline.progress import echo
from search.index import steps
from search.settings import IndexSettings
from search.shard.store import MODEL, VECTOR

RECIPE = 2  # bump when a change of this package changes the bytes of an index
INPUTS = ("corpus", "tokenizer", "pack", "pretrain")


def main(argv: Sequence[str] | None = None) -> None:
    """Make or resume the index of one run."""
    arguments = cli.stage_parser("search.index", __doc__ or "").parse_args(argv)
    run = cli.open_run(arguments)
    settings = run.settings("index", IndexSettings)
    if arguments.dry_run:
        kinds = f"n-gram と {settings.dimensions} 次元のベクトル"
        echo(f"索引: 学習が読んだ文書を {settings.shard_bytes:,} バイトごとに分け、{kinds}で引けるようにします")
        return
    manifests = {stage: open_sealed(run.root(stage)) for stage in INPUTS}
    inputs = {stage: manifest.digest for stage, manifest in manifests.items()}
    with begin_artifact(run, "index", settings, inputs, recipe=RECIPE) as artifact:
        if cli.skip_if_sealed(artifact, "索引"):
            return
        trained = steps.Trained.of(manifests)
        shards = steps.index_texts(artifact, manifests["corpus"], trained, settings)
        kept = {name: stats for name, stats in shards.items() if stats["passages"]}
        if not kept:
            raise BadInput(
                f"{manifests['pretrain'].root}: training read none of {manifests['corpus'].root}'s documents; nothing to index"
            )
        duplicates = steps.count_duplicates(artifact, manifests["corpus"])
        model = steps.fit_embedding(artifact, kept, settings)
        steps.index_vectors(artifact, list(kept), artifact.data / VECTOR / MODEL, settings)
        totals = steps.sum_totals(shards)
        sealed = artifact.seal(
            {**totals, **duplicates, "iterations": trained.iterations(), "model": model, "shards": kept},
            licences=manifests["corpus"].body["licences"],
        )
        echo(
            f"索引: {totals['documents']:,} 文書 {totals['passages']:,} チャンク {totals['bytes']:,} バイト "
            f"(学習がまだ読んでいない、または検証用の {totals['unread']:,} 文書を除く) ({sealed.short}、{artifact.root})"
        )


if __name__ == "__main__":
    cli.stage_main(main)
